"""What other threads leave for the thread that owns a loop."""

import socket
from collections import deque
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class WakeupQueue(deque[T]):
    """Items in the order they came; the descriptor is readable when there are any.

    `post` and `wake` are for any thread, the rest for the loop's. While it is `awake`
    and going to look into the queue, writers are spared to wake it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.awake = False
        self._reading_end, self._writing_end = socket.socketpair()
        self._reading_end.setblocking(False)
        self._writing_end.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._reading_end.fileno()

    def post(self, item: T) -> None:
        """Leave `item` for the loop."""
        self.append(item)
        if not self.awake:
            self.wake()

    def wake(self) -> None:
        """Wake the loop, once until it has heard it."""
        if not self.awake:
            self.awake = True
            with suppress(OSError):  # full: a wake is on its way; closed: nobody waits
                self._writing_end.send(b"!")

    def drain_pipe(self) -> None:
        """Read what made the descriptor readable."""
        self._reading_end.recv(64)

    def close(self) -> None:
        """Give the descriptors back; what is still posted is never taken."""
        self._reading_end.close()
        self._writing_end.close()
