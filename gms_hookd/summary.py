"""The sum of a run, drawn from what became of each ref."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from gms_hookd.model import Ref, RefResult, RunStatus
from gms_hookd.order import DOUBT, Order, Outcome
from gms_hookd.plan import Move, deletions

RANGES = 20  # changed refs that a commit range names


def summarised(
    order: Order,
    moves: Sequence[Move],
    guard: str,
    *,
    pinned: Sequence[tuple[str, str, str, str]] = (),
    right: Mapping[str, str] = MappingProxyType({}),
    gone: Collection[str] = (),
) -> Outcome:
    """Draw the sum of a run from what became of each ref.

    right is what the target had as it should be; gone names what was pushed once and
    is no longer there.
    """
    before = {**order.known, **right}
    for ref in gone:
        before.pop(ref, None)
    status = _status(moves, guard)
    return Outcome(
        status,
        refs=_listed(moves),
        commit_range="" if guard else commit_range(moves),
        error_message="" if status is RunStatus.SUCCESS else _message(moves, guard),
        transient=status is RunStatus.FAILED and any(m.transient for m in moves),
        known=order.known if guard else remembered(before, moves),
        pinned=tuple(pinned),
        held=deletions(moves) if guard else None,
    )


def commit_range(moves: Sequence[Move]) -> str:
    """Name what changed: OLD..NEW, NEW for a new ref, OLD.. for a deleted one."""
    ranges = [_range(m) for m in moves if m.acts]
    more = len(ranges) - RANGES
    tail = [f"... {more} more"] if more > 0 else []
    return " ".join(ranges[:RANGES] + tail)


def remembered(known: Mapping[str, str], moves: Sequence[Move]) -> dict[str, str]:
    """Bring what we last pushed up to date.

    A symbolic ref stays in doubt, for a push to it by memory would move another ref.
    """
    after = dict(known)
    for move in moves:
        if move.alias:
            after.pop(move.ref, None)
            if move.new:
                after[move.ref] = DOUBT + (move.old or "")
        elif move.conflict:
            after[move.ref] = DOUBT + after.get(move.ref, "").removeprefix(DOUBT)
        elif move.result is RefResult.REJECTED:
            continue
        elif move.new:
            after[move.ref] = move.new
        else:
            after.pop(move.ref, None)
    return after


def _status(moves: Sequence[Move], guard: str) -> RunStatus:
    if guard or any(m.conflict for m in moves):
        return RunStatus.CONFLICT
    rejected = any(m.result is RefResult.REJECTED for m in moves)
    return RunStatus.FAILED if rejected else RunStatus.SUCCESS


def _message(moves: Sequence[Move], guard: str) -> str:
    if guard:
        return f"held back: {guard}; `task sync TASK --yes` does it all the same"
    bad = [m for m in moves if m.result is RefResult.REJECTED]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{bad[0].ref}: {bad[0].reason}{more}"


def _listed(moves: Sequence[Move]) -> tuple[Ref, ...]:
    return tuple(Ref(m.ref, m.result, m.old, m.new, m.reason) for m in moves)


def _range(move: Move) -> str:
    if move.old and move.new:
        return f"{move.old}..{move.new}"
    return move.new or f"{move.old}.."
