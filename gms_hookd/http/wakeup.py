"""What other threads leave for the thread that owns a loop."""

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class WakeupQueue(Generic[T]):
    """Items in the order they came; the descriptor is readable when there are any.

    `post` and `wake` are for any thread, the rest for the loop's.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._reading_end, self._writing_end = socket.socketpair()
        self._reading_end.setblocking(False)
        self._writing_end.setblocking(False)
        self._woken = False

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._reading_end.fileno()

    def post(self, item: T) -> None:
        """Leave `item` for the loop."""
        self._items.append(item)
        if not self._woken:
            self.wake()

    def wake(self) -> None:
        """Wake the loop, once until it has heard it."""
        if not self._woken:
            self._woken = True
            with suppress(OSError):  # full: a wake is on its way; closed: nobody waits
                self._writing_end.send(b"!")

    def drain_pipe(self) -> None:
        """Read what made the descriptor readable."""
        self._reading_end.recv(64)

    def disarm(self) -> None:
        """Spare writers the wake: the loop is awake and will look into the queue."""
        self._woken = True

    def arm(self) -> None:
        """Let the bell be rung again; what came before is there to be taken."""
        self._woken = False

    def take(self) -> Iterator[T]:
        """Yield and remove what is there."""
        while self._items:
            yield self._items.popleft()

    def close(self) -> None:
        """Give the descriptors back; what is still posted is never taken."""
        self._reading_end.close()
        self._writing_end.close()
