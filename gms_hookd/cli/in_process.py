"""The API where no daemon runs: of an application that this process opens meanwhile."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gms_hookd import log
from gms_hookd.cli import configuration
from gms_hookd.cli.api_client import ApiRequest
from gms_hookd.cli.session import Opened, Session
from gms_hookd.contract import API, control_socket
from gms_hookd.futures import Future
from gms_hookd.http.control import JSON_HEADERS, PATIENCE, listens, one_line_errors
from gms_hookd.http.message import Request, Response
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateBusy, StateDirectory

MOMENT = 5.0  # seconds: for so long a command may have it, or a daemon that starts
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class InProcess:
    """The API of an application which this process itself has opened."""

    handle: Callable[[Request, Callable[[Response], None]], None]

    def ask(self, call: ApiRequest) -> tuple[int, Any]:
        """Return status and JSON of one call, made as the control socket makes it."""
        path, head = API + call.path, JSON_HEADERS
        request = Request(call.method, path, call.search, head, call.raw, control=True)
        with one_line_errors("the application", call.patience):
            replied: Future[Response] = Future()
            self.handle(request, replied.set_result)
            answer = replied.result(call.patience)
            return answer.status, json.loads(answer.body)

    def read(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET, made as the control socket makes it."""
        with one_line_errors("the application", PATIENCE):
            replied: Future[Response] = Future()
            self.handle(Request("GET", path, control=True), replied.set_result)
            answer = replied.result(PATIENCE)
            return answer.status, answer.body


@contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[StateDirectory]:
    """Hold it; a command that has it is waited for. Raises StateBusy."""
    state = _free(Path(path), time.monotonic() + MOMENT)
    try:
        yield state
    finally:
        state.close()


def _free(path: Path, end: float) -> StateDirectory:
    """Hold it as soon as no command does; at once there is no hope with a daemon."""
    while True:
        try:
            return StateDirectory.open(path)
        except StateBusy:
            if time.monotonic() > end or listens(control_socket(path)):
                raise
        time.sleep(0.1)


@contextmanager
def opened(session: Session) -> Iterator[Opened]:
    """Hold the state directory, and open what answers there.

    Raises StateError, ConfigError, StoreError.
    """
    log.silence()
    config = configuration.read(session)
    with held(session.state) as state, interruptible():
        service = Service.open(config, state, session.environ)
        try:
            yield Opened(InProcess(service.app.handle), service)
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
