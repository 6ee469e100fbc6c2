"""The listening sockets of a loop: watched while there is room, then left to wait."""

import dataclasses
import logging
import select
import socket
from collections.abc import Iterator, Sequence

from gms_hookd.http.listener import BACKLOG, Listener
from gms_hookd.http.tls import Context
from gms_hookd.safetext import quoted

ACCEPT_BATCH = 64
log = logging.getLogger(__name__)
Accepted = tuple[socket.socket, str]  # and the address of its peer


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
            log.error("cannot accept connections reason=%s", quoted(error.strerror))
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


def _peer(address: object) -> str:
    """Return the address of the other end, empty for a unix socket."""
    if not isinstance(address, tuple):
        return ""
    host = str(address[0])
    if ":" not in host:
        return host
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host
