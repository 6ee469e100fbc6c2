"""The service manager's protocol: what it hands over at start, what we notify it of.

Everything comes from the environment and pid that the caller passes; without a service
manager there is nothing to tell and nothing is handed over.
"""

import os
import socket
import stat
import time
from collections.abc import Mapping

FIRST_FD = 3
SEND_TIMEOUT = 5.0
OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def notify(environ: Mapping[str, str], *lines: str) -> bool:
    """Tell the service manager, say `READY=1`; never raises, False if nobody heard."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        _send("\0" + address[1:] if address[0] == "@" else address, _message(lines))
    except OSError:
        return False
    return True


def _message(lines: tuple[str, ...]) -> bytes:
    # A line break inside a status text would begin a second assignment.
    flat = (" ".join(line.splitlines()) for line in lines)
    return "\n".join(flat).encode(errors="replace")


def _send(address: str, message: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(SEND_TIMEOUT)
        sender.connect(address)
        sender.send(message)


def reloading() -> tuple[str, str]:
    """Return the lines which begin a reload; `READY=1` ends it, also a failed one."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return "RELOADING=1", f"MONOTONIC_USEC={now}"


def extend(seconds: float) -> str:
    """Return the line which asks for `seconds` more to start, reload or stop."""
    return f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}"


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return how long the service manager waits for a sign of life, None: for ever."""
    microseconds = _number(environ.get("WATCHDOG_USEC"))
    meant = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    return microseconds / 1e6 if microseconds and meant else None


def listen_sockets(
    environ: Mapping[str, str], pid: int, first: int = FIRST_FD
) -> list[tuple[str, socket.socket]]:
    """Take over the listening sockets passed to this process, each with its name."""
    if environ.get("LISTEN_PID") != str(pid):
        return []
    count = _number(environ.get("LISTEN_FDS"))
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    taken = ((name, _listening(first + i)) for i, name in enumerate(names[:count]))
    return [(name, passed) for name, passed in taken if passed]


def _listening(fd: int) -> socket.socket | None:
    # Files and sockets from the manager's fd store come in the same list.
    try:
        os.set_inheritable(fd, False)
        return _socket(fd) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
    except OSError:
        return None


def _socket(fd: int) -> socket.socket | None:
    passed = socket.socket(fileno=fd)
    accepts = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if passed.family in FAMILIES and passed.type == socket.SOCK_STREAM and accepts:
        return passed
    passed.detach()
    return None


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what was meant for this process alone."""
    kept = (n for n in environ if n not in OWN and not n.startswith("LISTEN_"))
    return {name: environ[name] for name in kept}


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
