"""When a failed attempt is tried again: a decision as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` tries in all; the wait doubles from `base` to `cap` seconds."""

    attempts: int = 5
    base: float = 10.0
    cap: float = 900.0

    def delay_after(self, failures: int, chance: float) -> float | None:
        """Tell the seconds until the next try after `failures` ones; None: no more.

        Half of the wait is fixed, half is `chance` (0 to 1), so that what failed
        together does not come back together.
        """
        if failures >= self.attempts:
            return None
        whole = min(self.cap, self.base * 2.0 ** min(failures - 1, 30))
        return whole / 2 + whole / 2 * chance
