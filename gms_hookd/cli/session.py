"""What every command has at hand: where the state is, the terminal, the API.

With a daemon running the API is asked over its control socket; without one this
process holds the state directory meanwhile and asks an application of its own.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from gms_hookd.cli.api_client import Api, OverSocket, get
from gms_hookd.cli.terminal import Style, as_json
from gms_hookd.contract import control_socket
from gms_hookd.http.control import PATIENCE, listens
from gms_hookd.service.identity import act_as_service, service_user

if TYPE_CHECKING:  # a command that asks the daemon does not load it
    from gms_hookd.service.service import Service

Args = SimpleNamespace
SLOW = 3600.0  # seconds for an answer that may take long


class Session(NamedTuple):
    """What a command has at hand: environment, output, where the state is.

    `file` is the configuration that the command line names.
    """

    environ: Mapping[str, str]
    out: TextIO
    style: Style
    file: str | None
    state: str

    def say(self, text: object) -> None:
        """Print a line."""
        print(text, file=self.out, flush=True)

    def show(self, args: Args, value: Any, text: Callable[[Any, Style], str]) -> int:
        """Print an answer of the API, as text or as it is."""
        self.say(as_json(value) if args.json else text(value, self.style))
        return 0


class Opened(NamedTuple):
    """The API of the running daemon, or of the service opened in this process."""

    api: Api
    service: "Service | None" = None


@contextmanager
def opened(session: Session, patience: float = math.inf) -> Iterator[Opened]:
    """Find the daemon, or hold the state directory in its place meanwhile.

    The daemon gets `patience` seconds for an answer at most.
    """
    socket = control_socket(session.state)
    if listens(socket, min(patience, PATIENCE)):
        act_as_service(session.state)
        yield Opened(OverSocket(socket, patience))
        return
    own = in_process()
    act_as_service(session.state)
    with ExitStack() as stack:
        try:
            found: Opened = stack.enter_context(own.opened(session))
        except own.StateBusy:
            if not listens(socket, min(patience, PATIENCE)):
                raise
            found = Opened(OverSocket(socket, patience))  # it has started meanwhile
        yield found


def in_process() -> Any:
    """Import what a daemon is made of: it takes ten times as long as to ask one."""
    return import_module("gms_hookd.cli.in_process")


def ready_to_act(session: Session) -> None:
    """Import what a command may need as the user of the service, if it is to be that.

    The program may lie where only root can read it.
    """
    if service_user(session.state):
        in_process()


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
