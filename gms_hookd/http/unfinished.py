"""Requests that are in memory and not whole: who gives way when there are too many."""

from gms_hookd.http.connection import READING, Connection
from gms_hookd.http.limits import ConnectionLimiter


class UnfinishedRequests:
    """The connections that have one, oldest first; the bytes are for `limiter`."""

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self._limiter = limiter
        self._oldest_first: dict[Connection, None] = {}

    def hold(self, connection: Connection, size: int) -> bool:
        """Count what `connection` has as `size` bytes, from the first one on.

        Where all have too much together the oldest goes: who means it needs a moment.
        Returns whether there is room.
        """
        before, connection.held = connection.held, 0
        while not self._limiter.hold(connection.peer, before, size):
            before = 0
            if not self._make_room(connection, size):
                self._oldest_first.pop(connection, None)
                return False
        self._note(connection, size)
        return True

    def _note(self, connection: Connection, size: int) -> None:
        connection.held = size
        if size:
            self._oldest_first.setdefault(connection)
        else:
            self._oldest_first.pop(connection, None)

    def _make_room(self, connection: Connection, size: int) -> bool:
        """Let the oldest other one give way; False where that would not help."""
        others = (c for c in self._oldest_first if c is not connection)
        oldest = next((c for c in others if c.state is READING), None)
        # With room for all, it is the share of one address that is used up.
        if oldest is None or self._limiter.has_room(size):
            return False
        oldest.give_way()
        return True
