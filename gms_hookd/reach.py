"""How a command reaches the API: the running daemon's, or that of its own process.

With a daemon running the API is asked over its control socket; without one this
process holds the state directory meanwhile and asks an application of its own.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gms_hookd import client
from gms_hookd.client import Api, get
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import control_socket
from gms_hookd.session import Session, held

SLOW = 3600.0  # seconds for an answer that may take long
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Opened:
    """The API of the running daemon, or of the service opened in this process."""

    api: Api
    service: Service | None = None


@contextmanager
def opened(session: Session) -> Iterator[Opened]:
    """Find the daemon, or hold the state directory in its place meanwhile."""
    socket = control_socket(session.state)
    if client.listens(socket):
        yield Opened(client.OverSocket(socket))
        return
    settings = session.config()
    with held(session.state) as state, interruptible():
        service = Service.open(settings, state, session.environ)
        try:
            yield Opened(client.InProcess(service.app.handle), service)
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
def api_of(session: Session) -> Iterator[Api]:
    """Give the API, wherever it is."""
    with opened(session) as found:
        yield found.api


def which(task: str) -> dict[str, int | str]:
    """Return how the API is asked for TASK: an id, or else a name."""
    number = task.isascii() and task.isdigit()
    return {"id": int(task)} if number else {"name": task}


def task_id(api: Api, task: str) -> int:
    """Return the id of TASK."""
    by = which(task)
    return int(by["id"] if "id" in by else get(api, "task", **by)["id"])
