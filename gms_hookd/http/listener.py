"""Sockets that accept: TCP of both families, unix sockets, those lent by systemd."""

import dataclasses
import errno
import logging
import os
import select
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gms_hookd.http.tls import Context
from gms_hookd.safetext import quoted

BACKLOG = 1024
ACCEPT_BATCH = 64
log = logging.getLogger(__name__)
Accepted = tuple[socket.socket, str]  # and the address of its peer


class Accepting(socket.socket):
    """A listening socket that finds out once, not at each `accept`, what it accepts."""

    def __init__(self, listening: socket.socket) -> None:
        self._kind = listening.family, listening.type, listening.proto
        super().__init__(*self._kind, fileno=listening.detach())

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection, which blocks, and the address of its peer."""
        # The step below `accept` of the base; typeshed does not know it.
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        return socket.socket(*self._kind, fileno=descriptor), address


@dataclass(frozen=True, slots=True)
class Listener:
    """One accepting socket.

    `control`: file permissions stand in for a token. `lent`: the service manager keeps
    the socket and hands it to our successor, so it is never shut. `file` is what its
    path led to at first, None where it has none.
    """

    socket: socket.socket
    name: str
    control: bool = False
    lent: bool = False
    tls: Context | None = None
    file: os.stat_result | None = None

    def is_in_place(self) -> bool:
        """Return whether who connects to its path still gets here."""
        if self.file is None or self.socket.fileno() < 0:
            return True
        now = _file_of(self.socket)
        return now is not None and os.path.samestat(now, self.file)

    def close(self) -> None:
        """Stop listening; the file of a unix socket goes too, if it is still ours."""
        own = self.file is not None and self.socket.fileno() >= 0 and not self.lent
        if own and self.is_in_place():
            with suppress(OSError):
                Path(self.socket.getsockname()).unlink()
        self.socket.close()


class Acceptor:
    """Takes connections from listeners, whose descriptors `epoll` watches."""

    def __init__(self, listeners: Sequence[Listener], epoll: select.epoll) -> None:
        self._listeners = {each.socket.fileno(): each for each in listeners}
        self._epoll = epoll
        self._paused = True

    def listener(self, descriptor: int) -> Listener | None:
        """Return the listener that has this descriptor, if one does."""
        return self._listeners.get(descriptor)

    def accept(self, listener: Listener, most: int = ACCEPT_BATCH) -> list[Accepted]:
        """Return who waits at `listener`; where nothing is left for it, pause."""
        return list(self._accepted(listener, most))

    def _accepted(self, listener: Listener, most: int) -> Iterator[Accepted]:
        try:
            for _ in range(most):
                accepted, address = listener.socket.accept()
                yield accepted, _peer(address)
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._pause_after(error)

    def _pause_after(self, error: OSError) -> None:
        """Stop accepting for a moment: no descriptor or memory is left."""
        if not self._paused:
            line, why = "cannot accept connections reason=%s", quoted(error.strerror)
            log.error(line, why, extra={"seldom": True})  # it is met again at once
            self.pause()

    def pause(self) -> None:
        """Accept nothing until `resume`: whoever comes waits in the backlog."""
        if not self._paused:
            self._paused = True
            for descriptor in self._listeners:
                self._epoll.unregister(descriptor)

    def resume(self) -> None:
        """Accept again."""
        if self._paused:
            self._paused = False
            for descriptor in self._listeners:
                self._epoll.register(descriptor, select.EPOLLIN)

    def last(self) -> Iterator[tuple[Listener, list[Accepted]]]:
        """Accept who waits in the backlogs, for there is no next time."""
        for listener in self._listeners.values():
            # Closing would reset who waits; on a lent socket our successor takes them.
            yield listener, self.accept(listener, 0 if listener.lent else BACKLOG)

    def close(self) -> None:
        """Close the listeners."""
        # A lent socket stays open elsewhere, and epoll would keep watching it.
        self.pause()
        for listener in self._listeners.values():
            listener.close()

    def reload_tls(self, context: Context) -> None:
        """Greet new connections with another certificate."""
        for descriptor, listener in self._listeners.items():
            if listener.tls is not None:
                changed = dataclasses.replace(listener, tls=context)
                self._listeners[descriptor] = changed


def listen(spec: str, *, control: bool = False, tls: Context | None = None) -> Listener:
    """Listen on "HOST:PORT", "[V6]:PORT", ":PORT" (every address) or "unix:PATH".

    TLS is for TCP only.

    Raises ValueError: `spec` has another form. OSError: not possible here and now.
    """
    if spec.startswith("unix:"):
        bound = Accepting(_unix(spec.removeprefix("unix:"), control))
        return Listener(bound, spec, control, file=_file_of(bound))
    host, colon, port = spec.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{spec!r} is neither HOST:PORT nor unix:PATH")
    sock = _tcp(host.removeprefix("[").removesuffix("]"), int(port))
    return adopt(sock, lent=False, tls=tls)


def adopt(
    sock: socket.socket, *, lent: bool = True, tls: Context | None = None
) -> Listener:
    """Make a listener of a socket that listens already."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        name = f"unix:{sock.getsockname()}"
        file = _file_of(sock)
        return Listener(Accepting(sock), name, lent=lent, file=file)
    # Accepted sockets inherit it; a small answer must not wait for an ACK.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host, port = sock.getsockname()[:2]
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Listener(Accepting(sock), name, lent=lent, tls=tls)


def _tcp(host: str, port: int) -> socket.socket:
    if host in ("", "*", "::"):
        return _every_address(port)
    # As bytes, since for a text Python loads the tables of international names.
    found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return socket.create_server(address, family=family, backlog=BACKLOG)


def _every_address(port: int) -> socket.socket:
    if not socket.has_dualstack_ipv6():
        return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104
    return socket.create_server(
        ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
    )


def _unix(path: str, control: bool) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
        Path(path).chmod(0o600 if control else 0o660)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket file of a dead process; a live one is left for bind to find."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            refused = probe.connect_ex(path) == errno.ECONNREFUSED
        if refused:
            Path(path).unlink()


def _file_of(sock: socket.socket) -> os.stat_result | None:
    """Return what the path of a unix socket leads to; None where there is nothing."""
    path = sock.getsockname()
    if not path or isinstance(path, bytes):  # an abstract one has no file
        return None
    try:
        return os.stat(path)
    except OSError:
        return None


def _peer(address: object) -> str:
    """Return the address of the other end, empty for a unix socket."""
    if not isinstance(address, tuple):
        return ""
    host = str(address[0])
    if ":" not in host:
        return host
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host
