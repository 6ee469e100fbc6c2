"""What every command has at hand: the configuration, the state, the terminal.

How a command reaches the API: the running daemon's, or that of its own process.

With a daemon running the API is asked over its control socket; without one this
process holds the state directory meanwhile and asks an application of its own.
"""

import math
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from gms_hookd.cli import api_client
from gms_hookd.cli.api_client import Api, get
from gms_hookd.cli.terminal import Style, as_json
from gms_hookd.config.load import load_config, webhook_secrets
from gms_hookd.config.records import Config
from gms_hookd.config.sources import Name
from gms_hookd.http.client import PATIENCE
from gms_hookd.service.identity import act_as_service
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import (
    SERVICE_STATE,
    StateDirectory,
    control_socket,
)

Args = SimpleNamespace
SERVICE_CREDENTIALS = Path("/run/credentials/gms-hookd.service")


@dataclass(frozen=True, slots=True)
class Session:
    """What a command has at hand: environment, output, configuration, state."""

    environ: Mapping[str, str]
    out: TextIO
    style: Style
    file: str | None
    state: Path

    def say(self, text: object) -> None:
        """Print a line."""
        print(text, file=self.out, flush=True)

    def config(self, without: Collection[Name] = (), **overrides: object) -> Config:
        """Read the configuration, as the service's user does, but for some settings.

        Raises ConfigError.
        """
        act_as_service(self.state)
        return load_config(
            with_credentials(self.environ, self.state),
            file=self.file,
            state=self.state,
            overrides=overrides,
            without=without,
        )

    def webhook_secrets(self) -> tuple[str, ...]:
        """Read the secrets of GMS's hook, and no other. Raises ConfigError."""
        act_as_service(self.state)
        environ = with_credentials(self.environ, self.state)
        return webhook_secrets(environ, file=self.file, state=self.state)

    def show(self, args: Args, value: Any, text: Callable[[Any, Style], str]) -> int:
        """Print an answer of the API, as text or as it is."""
        self.say(as_json(value) if args.json else text(value, self.style))
        return 0


def with_credentials(environ: Mapping[str, str], state: Path) -> Mapping[str, str]:
    """Let root see the secrets which systemd has handed to the service of this state.

    Without them a command would sign with another secret than the daemon expects.
    """
    usable = state == SERVICE_STATE and os.access(SERVICE_CREDENTIALS, os.R_OK)
    if "CREDENTIALS_DIRECTORY" in environ or not usable:
        return environ
    return {**environ, "CREDENTIALS_DIRECTORY": str(SERVICE_CREDENTIALS)}


@contextmanager
def held(path: Path) -> Iterator[StateDirectory]:
    """Hold the state directory. Raises StateBusy."""
    state = StateDirectory.open(path)
    try:
        yield state
    finally:
        state.close()


SLOW = 3600.0  # seconds for an answer that may take long
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Opened:
    """The API of the running daemon, or of the service opened in this process."""

    api: Api
    service: Service | None = None


@contextmanager
def opened(session: Session, patience: float = math.inf) -> Iterator[Opened]:
    """Find the daemon, or hold the state directory in its place meanwhile.

    The daemon gets `patience` seconds for an answer at most.
    """
    act_as_service(session.state)
    socket = control_socket(session.state)
    if api_client.listens(socket, min(patience, PATIENCE)):
        yield Opened(api_client.OverSocket(socket, patience))
        return
    settings = session.config()
    with held(session.state) as state, interruptible():
        service = Service.open(settings, state, session.environ)
        try:
            yield Opened(api_client.InProcess(service.app.handle), service)
        finally:
            service.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let what ends a process end a command as Ctrl-C does, its git included."""
    defaults = [n for n in ENDINGS if signal.getsignal(n) is signal.SIG_DFL]
    for number in defaults:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in defaults:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def api_of(session: Session, patience: float = math.inf) -> Iterator[Api]:
    """Give the API, wherever it is; a daemon gets so many seconds for an answer."""
    with opened(session, patience) as found:
        yield found.api


def which(task: str) -> dict[str, int | str]:
    """Return how the API is asked for TASK: an id, or else a name."""
    number = task.isascii() and task.isdigit()
    return {"id": int(task)} if number else {"name": task}


def task_id(api: Api, task: str) -> int:
    """Return the id of TASK."""
    by = which(task)
    return int(by["id"] if "id" in by else get(api, "task", **by)["id"])
