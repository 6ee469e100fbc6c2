"""How long to wait before the next try, of a run and of a notice.

Half of a wait is fixed, half is by chance, so that what failed together does not come
back together; it is never shorter than a host asked for.
"""

from dataclasses import dataclass

FIRST, CAP = 10.0, 12 * 3600.0  # seconds between tries of a notice


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` tries in all; the wait doubles from `base` to `cap` seconds.

    A host that asks for more time gets `longest` seconds at most.
    """

    attempts: int = 5
    base: float = 10.0
    cap: float = 900.0
    longest: float = 3600.0

    def delay_after(
        self, failures: int, chance: float, asked: float | None = None
    ) -> float | None:
        """Return the seconds until the next try after `failures` ones; None: no more.

        Half of the wait is fixed, half is `chance` (0 to 1), so that what failed
        together does not come back together. It is no shorter than the `asked` seconds
        of a Retry-After.
        """
        if failures >= self.attempts:
            return None
        whole = min(self.cap, self.base * 2.0 ** min(failures - 1, 30))
        own = whole / 2 + whole / 2 * chance
        return max(own, min(asked or 0.0, self.longest))


def backoff(attempts: int, chance: float, asked: float | None) -> float:
    """Return the seconds until the next try of a notice, as was asked for at least."""
    whole = min(CAP, FIRST * 2.0 ** min(attempts, 30))
    return max(whole / 2 + whole / 2 * chance, FIRST, asked or 0.0)
