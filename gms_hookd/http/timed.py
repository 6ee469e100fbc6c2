"""Sockets that are done by a given time and a given size, whatever the peer does.

A timeout of Python's sockets is that of one call: a peer that sends a byte now and then
is waited for without end. What reads through a file asks `recv_into` each time, which
here first looks at what is left.
"""

import socket
import ssl
import time
from pathlib import Path
from typing import Any

LARGEST = 1 << 20  # bytes that a peer may send in all


class Budget:
    """What is left of time (seconds) and size (bytes) of an exchange."""

    def __init__(self, seconds: float, size: int = LARGEST) -> None:
        self.renew(seconds)
        self._size = size

    def renew(self, seconds: float) -> None:
        """Give it so much time from now on."""
        self._until = time.monotonic() + seconds

    def left(self) -> float:
        """Return how many seconds are left. Raises TimeoutError when none is."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def spend(self, size: int) -> int:
        """Count bytes that came. Raises OSError when they are too many."""
        self._size -= size
        if self._size < 0:
            raise OSError("the peer sends too much")
        return size


class TimedSocket(socket.socket):
    """A socket with a budget."""

    budget: Budget

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Read what is there, within the budget."""
        self.settimeout(self.budget.left())
        return self.budget.spend(super().recv_into(*args, **kwargs))

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Send it all, within the budget: this timeout is that of the whole call."""
        self.settimeout(self.budget.left())
        super().sendall(*args, **kwargs)


class TimedTlsSocket(ssl.SSLSocket):
    """The same, in TLS."""

    budget: Budget

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Read what is there, within the budget."""
        self.settimeout(self.budget.left())
        return self.budget.spend(super().recv_into(*args, **kwargs))

    def send(self, *args: Any, **kwargs: Any) -> int:
        """Send a part, within the budget; `sendall` does it by this."""
        self.settimeout(self.budget.left())
        return super().send(*args, **kwargs)


def connected(host: str, port: int, budget: Budget) -> TimedSocket:
    """Return a socket that is connected, to whichever address answers. Raises OSError.

    One that is silent leaves the others their share of the time.
    """
    failure = OSError("the name has no address")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for untried, (family, kind, protocol, _, address) in enumerate(found):
        timed = TimedSocket(family, kind, protocol)
        timed.budget = budget
        try:
            timed.settimeout(budget.left() / (len(found) - untried))
            timed.connect(address)
        except OSError as error:
            timed.close()
            failure = error
        else:
            return timed
    raise failure


def secured(
    plain: TimedSocket, host: str, budget: Budget, ca_file: Path | None
) -> ssl.SSLSocket:
    """Return it in TLS, the host proven by the system's certificates or `ca_file`.

    Raises OSError (ssl.SSLError is one).
    """
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.sslsocket_class = type("_Timed", (TimedTlsSocket,), {"budget": budget})
    plain.settimeout(budget.left())
    # Its timeout is that of the whole handshake.
    return context.wrap_socket(plain, server_hostname=host)
