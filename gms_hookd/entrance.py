"""Who is let in: how many connections, in all and per address, and how much memory."""

import logging
import resource
from collections.abc import Callable

from gms_hookd.limits import Limits
from gms_hookd.quota import Quota

CONTROL_CONNECTIONS = 128
OTHER_DESCRIPTORS = 512  # git's pipes, the store, control and late connections
NOTE_TIME = 10.0
log = logging.getLogger(__name__)


class Entrance:
    """Places for connections, and room for the bytes of large bodies.

    `exempt` says which addresses stand for many peers; unix sockets do too. The control
    socket has places of its own, so that it is open when the others are full.
    """

    def __init__(self, limits: Limits, exempt: Callable[[str], bool] | None) -> None:
        def many(peer: str) -> bool:
            return not peer or (exempt is not None and exempt(peer))

        total = max(1, min(limits.connections, _descriptors() - OTHER_DESCRIPTORS))
        share = max(1, min(limits.per_address, total // 2))
        self._places = Quota(total, share, many)
        self._control = Quota(CONTROL_CONNECTIONS, CONTROL_CONNECTIONS)
        self._memory = Quota(limits.held, limits.held // 2, many)
        self._turned_away = 0
        self._next_note = 0.0

    def enter(self, peer: str, control: bool) -> bool:
        """Take a place, if there is one."""
        entered = (self._control if control else self._places).take(peer)
        self._turned_away += not entered
        return entered

    def leave(self, peer: str, control: bool) -> None:
        """Give a place back."""
        (self._control if control else self._places).give_back(peer)

    def hold(self, peer: str, before: int, size: int) -> bool:
        """Count `size` bytes for `peer` instead of `before`, if there is room.

        Without room nothing is counted any more.
        """
        if before:
            self._memory.give_back(peer, before)
        return not size or self._memory.take(peer, size)

    @property
    def held(self) -> int:
        """Bytes of large bodies."""
        return self._memory.held

    def note(self, now: float) -> None:
        """Say now and then how many were turned away."""
        if self._turned_away and now >= self._next_note:
            self._next_note = now + NOTE_TIME
            log.warning("connections turned away count=%d", self._turned_away)
            self._turned_away = 0


def lift_descriptor_limit(limits: Limits) -> None:
    """Let this process open as many sockets as `limits` allow, as far as it may."""
    wanted = limits.connections + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
