"""What every command has at hand: the configuration, the state, the terminal."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from gms_hookd.config.load import load_config
from gms_hookd.config.records import Config
from gms_hookd.look import Look, as_json
from gms_hookd.service.state_dir import StateDirectory

Args = SimpleNamespace
SERVICE_STATE = Path("/var/lib/gms-hookd")
SERVICE_CREDENTIALS = Path("/run/credentials/gms-hookd.service")


@dataclass(frozen=True, slots=True)
class Session:
    """What a command has at hand: environment, output, configuration, state."""

    environ: Mapping[str, str]
    out: TextIO
    look: Look
    file: str | None
    state: Path

    def say(self, text: object) -> None:
        """Print a line."""
        print(text, file=self.out, flush=True)

    def config(self, **overrides: object) -> Config:
        """Read the configuration. Raises ConfigError."""
        return load_config(
            with_credentials(self.environ, self.state),
            file=self.file,
            state=self.state,
            overrides=overrides,
        )

    def show(self, args: Args, value: Any, text: Callable[[Any, Look], str]) -> int:
        """Print an answer of the API, as text or as it is."""
        self.say(as_json(value) if args.json else text(value, self.look))
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
