"""What an undo does to each ref of a target: all that a run did there, or nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gms_hookd.git.refspec import Refspec, Selection, WantedRef
from gms_hookd.model import Ref, RefResult, Undo
from gms_hookd.sync import plan
from gms_hookd.sync.plan import Move, Views

_TOGETHER = "atomic"  # in what a host says of refs that it declines for another's sake


def selection_of(undo: Undo) -> Selection:
    """Select the refs that a run changed, by their names at the target."""
    specs = tuple(Refspec(row.ref, row.ref, force=True) for row in undo.refs)
    return Selection(specs, (), force=True)


def wanted_of(undo: Undo) -> dict[str, WantedRef]:
    """Return what the target is to have again."""
    rows = (row for row in undo.refs if row.old)
    return {row.ref: WantedRef(row.old or "", True, row.ref) for row in rows}


def decide_undo(undo: Undo, views: Views) -> tuple[Move, ...]:
    """Class every ref: put back what is as the run left it; all of them, or none."""
    moves = [_back(row, undo.run, views) for row in undo.refs]
    return all_or_none(plan.without_harm(moves, views))


def _back(row: Ref, run: int, views: Views) -> Move:
    now = views.target.get(row.ref)
    if now == row.old or (row.in_doubt and now != row.new):
        return Move(row.ref, RefResult.UNCHANGED, now, now)
    if real := views.symrefs.get(row.ref):
        reason = f"it is an alias of {real} at the target now"
        return _conflict(row, now, reason, alias=real)
    if now != row.new:
        return _conflict(row, now, _moved_since(row, run, now))
    alias = plan.alias_of(row.ref, views) if row.old is None else None
    if alias and plan.made_through(alias) not in (row.reason or ""):
        return _conflict(row, now, f"{alias} is an alias of it at the target")
    return Move(row.ref, _result(row), now, row.old)


def _moved_since(row: Ref, run: int, now: str | None) -> str:
    there = f"it is {now[:10]} at the target" if now else "the target has it not"
    left = f"left it at {row.new[:10]}" if row.new else "deleted it"
    return f"{there}, and run {run} {left}"


def _result(row: Ref) -> RefResult:
    if row.old is None:
        return RefResult.DELETED
    return RefResult.FORCED if row.new else RefResult.CREATED


def _conflict(row: Ref, now: str | None, reason: str, alias: str | None = None) -> Move:
    move = Move(row.ref, RefResult.REJECTED, now, row.old, reason)
    return replace(move, conflict=True, alias=alias)


def all_or_none(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Hold back what is to be done where something cannot be, which goes first."""
    made = sorted(moves, key=lambda m: m.result is not RefResult.REJECTED)
    bad = next((m for m in made if m.result is RefResult.REJECTED), None)
    if bad is None:
        return tuple(made)
    why = f"held back: {bad.ref} cannot be undone"
    return tuple(
        replace(plan.refused(m, why), conflict=bad.conflict, transient=bad.transient)
        if m.acts
        else m
        for m in made
    )


def reverse(move: Move) -> Move:
    """Return the move that takes another back."""
    result = RefResult.FORCED
    if move.old is None:
        result = RefResult.DELETED
    elif move.new is None:
        result = RefResult.CREATED
    return Move(move.ref, result, move.new, move.old)


def in_phases(moves: Sequence[Move]) -> list[Sequence[Move]]:
    """Put moves into as few pushes as can be: a ref cannot take the place of another.

    Deletions go first where feat needs the place of feat/one, or the other way round.
    """
    gone = {m.ref for m in moves if m.result is RefResult.DELETED}
    made = {m.ref for m in moves if m.result is RefResult.CREATED}
    below = {f for ref in gone for f in plan.folders(ref)}
    if not below & made and not any(
        gone.intersection(plan.folders(ref)) for ref in made
    ):
        return [moves] if moves else []
    last = [m for m in moves if m.result is not RefResult.DELETED]
    return [[m for m in moves if m.result is RefResult.DELETED], last]


def blamed(moves: Sequence[Move]) -> tuple[Move, ...]:
    """Name the ref that the host declined, where it declined all for its sake.

    What it keeps because it is its default branch is not undone either.
    """
    kept = [plan.refused(m, m.reason or "") if _is_kept(m) else m for m in moves]
    bad = [m for m in kept if m.result is RefResult.REJECTED]
    guilty = [m for m in bad if _TOGETHER not in (m.reason or "")]
    if not guilty:
        return tuple(kept)
    why = f"held back: {guilty[0].ref} cannot be undone; --ref undoes others alone"
    return tuple(
        replace(m, reason=why) if m in bad and m not in guilty else m
        for m in (*guilty, *(m for m in kept if m not in guilty))
    )


def _is_kept(move: Move) -> bool:
    return move.declined and move.result is RefResult.UNCHANGED
