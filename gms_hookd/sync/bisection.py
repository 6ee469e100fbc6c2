"""Finds what a target declines, where it judges a push as a whole.

A hook that declines one ref declines with it all that came along. So halves are pushed:
where one is taken, the other must be guilty; where it is declined, the other waits, to
be pushed with all that waits once a guilty ref is found. One of 1,000 costs 12 pushes.
"""

from collections.abc import Collection, Generator, Sequence
from typing import NamedTuple

FEW = 8  # refs that are tried one by one
FRUITLESS = 3  # refs declined alone, with nothing taken, that stand for all the rest
MOST = 200  # pushes in one search


class Seen(NamedTuple):
    """Which refs of a push were declined, and which of all refs the host has named."""

    declined: Collection[str]
    named: Collection[str] = ()


Steps = Generator[list[str], Seen, None]


class Search:
    """What to push next, by what became of what was pushed before.

    The refs, two at least, were declined together. Each is pushed until it is taken or
    declined alone. `todo` is empty at the end; `open` are those for which it came too
    early: after MOST pushes, or where everything is declined.
    """

    def __init__(self, refs: Sequence[str], named: Collection[str] = ()) -> None:
        self.open = set(refs)
        self._steps = _apart(list(refs), named)
        self.todo = next(self._steps)
        self._pushes = 0
        self._alone = 0
        self._taken = False

    @property
    def fruitless(self) -> bool:
        """Whether the target seems to decline whatever it is sent."""
        return self._alone >= FRUITLESS and not self._taken

    def saw(self, seen: Seen) -> None:
        """Go on with what is known of the push of `todo`."""
        taken = [ref for ref in self.todo if ref not in seen.declined]
        self._pushes += 1
        self._taken = self._taken or bool(taken)
        self._alone += len(self.todo) == 1 and not taken
        self.open.difference_update(self.todo if len(self.todo) == 1 else taken)
        over = self.fruitless or self._pushes >= MOST or not self.open
        self.todo = [] if over else self._next(seen)

    def _next(self, seen: Seen) -> list[str]:
        try:
            return self._steps.send(seen)
        except StopIteration:
            return []


def _apart(refs: list[str], named: Collection[str]) -> Steps:
    suspects, waiting, tried = refs, list[list[str]](), refs
    while len(suspects) > 1:
        tried, others = _split(suspects, named)
        declined, named = yield tried
        if guilty := [ref for ref in tried if ref in declined]:
            suspects = guilty
            waiting.append(others)
        else:
            suspects = others
    if tried != suspects:
        yield suspects
    yield from _waiting(waiting)


def _waiting(parts: list[list[str]]) -> Steps:
    """Push parts of which nothing is known: all at once, then each of them."""
    together = [ref for part in parts for ref in part]
    declined: Collection[str] = together
    if len(parts) > 1:
        declined, _ = yield together
    for part in reversed(parts if declined else []):
        left = [ref for ref in part if ref in declined]
        seen = (yield left) if left else Seen(())
        again = [ref for ref in left if ref in seen.declined]
        if len(again) > 1:
            yield from _apart(again, seen.named)


def _split(refs: list[str], named: Collection[str]) -> tuple[list[str], list[str]]:
    """Part suspects in two, by what the host has said if it named some of them."""
    pointed = [ref for ref in refs if ref in named]
    if 0 < len(pointed) <= FEW:
        others = [ref for ref in refs if ref not in named]
        return (others, pointed) if others else (pointed[:1], pointed[1:])
    middle = len(refs) // 2
    return refs[:middle], refs[middle:]
