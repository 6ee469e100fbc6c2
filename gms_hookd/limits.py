"""What peers may cost us."""

from dataclasses import dataclass

from gms_hookd.http1 import HEAD, IDLE, Phase


@dataclass(frozen=True, slots=True)
class Limits:
    """What peers may cost; times are in seconds and absolute.

    `body` and `held` are bytes: of one body, and of all large ones that are not
    answered yet. A connection over `connections` or `per_address` is told 503, but may
    still ask for one of `always`.
    """

    body: int = 25 * 1024 * 1024
    held: int = 200 * 1024 * 1024
    connections: int = 16_384
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

    def time_to_begin(self, late: bool) -> float:
        """Return how many seconds a new connection has for its first head."""
        return self.late_time if late else self.head_time
