"""How much all peers together, and one peer alone, may hold of something.

What peers may cost us.

Who is let in: how many connections, in all and per address, and how much memory.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gms_hookd.auth.ratelimit import block
from gms_hookd.http.descriptors import CONNECTIONS, descriptors, places
from gms_hookd.http.http1 import HEAD, IDLE, Phase


class Quota:
    """A limit on a sum and a limit on the share of one address.

    An exempt address has no share of its own, only the sum; those of one `block` count
    as one.
    """

    def __init__(
        self,
        total: int,
        share: int,
        exempt: Callable[[str], bool] | None = None,
        block: Callable[[str], str] = str,
    ) -> None:
        self.held = 0
        self._block = block
        self.total, self._share = total, share
        self._exempt = exempt
        self._shares: dict[str, int] = {}

    def take(self, peer: str, amount: int = 1) -> bool:
        """Take `amount` for `peer` if that leaves both limits kept."""
        key = self._block(peer)
        share = self._shares.get(key, 0) + amount
        if self.held + amount > self.total:
            return False
        if share > self._share and not (self._exempt and self._exempt(peer)):
            return False
        self.held += amount
        self._shares[key] = share
        return True

    def give_back(self, peer: str, amount: int = 1) -> None:
        """Give back what was taken."""
        key = self._block(peer)
        self.held -= amount
        self._shares[key] -= amount
        if not self._shares[key]:
            del self._shares[key]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What peers may cost; times are in seconds and absolute.

    `body` and `held` are bytes: of one body, and of all large ones that are not
    answered yet. A connection over `connections` or `per_address` is answered 503, but
    may still ask for one of `always`.
    """

    body: int = 25 * 1024 * 1024
    held: int = 200 * 1024 * 1024
    connections: int = CONNECTIONS
    per_address: int = 1_024
    always: frozenset[str] = frozenset({"/healthz"})
    head_time: float = 10.0
    body_time: float = 30.0
    # The longest ?wait= is 300.
    answer_time: float = 330.0
    send_time: float = 30.0
    # Longer than the 60 s for which nginx keeps an idle connection to us.
    idle_time: float = 65.0
    linger_time: float = 5.0
    # A peer that shut its sending side may still wait for a quick answer.
    gone_time: float = 5.0
    # Who is over the limits, or has connected just before we stop, gets this to ask.
    late_time: float = 0.5

    def time_for(self, phase: Phase) -> float:
        """Return how many seconds a kept connection has for `phase` of a request."""
        if phase is IDLE:
            return self.idle_time
        return self.head_time if phase is HEAD else self.body_time


NOTE_TIME = 10.0
log = logging.getLogger(__name__)


class ConnectionLimiter:
    """Places for connections, and room for the bytes of unfinished requests.

    `exempt` says which addresses stand for many peers; unix sockets do too. The control
    socket has places of its own, so that it is open when the others are full.
    """

    def __init__(
        self, limits: ConnectionLimits, exempt: Callable[[str], bool] | None
    ) -> None:
        def many(peer: str) -> bool:
            return not peer or (exempt is not None and exempt(peer))

        total, self.late, control = places(descriptors(), limits.connections)
        share = max(1, min(limits.per_address, total // 2))
        self._places = Quota(total, share, many, block)
        self._control = Quota(control, control)
        self._memory = Quota(limits.held, limits.held // 2, many, block)
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

    def has_room(self, size: int) -> bool:
        """Tell whether all together may hold so many bytes more."""
        return self._memory.held + size <= self._memory.total

    @property
    def held(self) -> int:
        """Bytes of unfinished requests."""
        return self._memory.held

    def note(self, now: float) -> None:
        """Say now and then how many were turned away."""
        if self._turned_away and now >= self._next_note:
            self._next_note = now + NOTE_TIME
            log.warning("connections turned away count=%d", self._turned_away)
            self._turned_away = 0
