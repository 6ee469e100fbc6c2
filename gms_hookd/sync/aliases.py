"""Aliases at a target that does not tell which of its refs are symbolic.

By protocol v0 a host tells of HEAD only, and by none of what leads to no ref yet. What
a push to an alias moves or makes is seen by a look after it, and remembered, so that it
is not pushed to again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gms_hookd.git.push import sees
from gms_hookd.git.refspec import MANY_TIPS, Scope, named, with_tips
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.model import RefResult
from gms_hookd.sync import plan
from gms_hookd.sync.job import ALIAS, to_restore
from gms_hookd.sync.plan import Move, Views

NOT_THERE = "the target said that it took it, and has it not"


def aliases_of(known: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases that are remembered: ref -> the ref that it stands for."""
    marks = ((ref, tip.partition(ALIAS)[2]) for ref, tip in known.items())
    return {ref: real for ref, real in marks if real}


def found_before(marked: Mapping[str, str], listing: Listing) -> dict[str, str]:
    """Return the remembered aliases that still may be some.

    An alias has the tip of the ref that it stands for. Where the target tells which
    refs are symbolic, only those that lead nowhere have to be remembered.
    """
    tips = listing.refs
    return {
        ref: real
        for ref, real in marked.items()
        if tips.get(ref) == tips.get(real) and (listing.blind or real not in tips)
    }


def found_out(
    done: list[Move], moves: Sequence[Move], views: Views, target: Remote, run: int
) -> list[Move]:
    """Judge again what was done, by what has moved along with it.

    done are some of the moves; what moved along was moved by this run, too. Nothing is
    put back: somebody else may have moved the other ref in that moment. Raises
    GitError.
    """
    doubts = plan.doubtful(moves, views)
    tips = {m.new for m in done if m.acts and m.new and m.ref in doubts}
    if not tips:
        return done
    now = target.refs(with_tips(tips))
    return by_ends(done, plan.moved_along(done, now, moves, views), run)


def seen_made(
    made: Sequence[Move], moves: Sequence[Move], views: Views, target: Remote, run: int
) -> list[Move]:
    """Judge what was created, some of the moves, by where it is to be found.

    A push to an alias that leads to no ref makes that ref; and what the target said it
    took may not be there at all. Raises GitError.
    """
    if not views.blind:
        listing = target.listing(named([m.ref for m in made]))
        judged = by_ends(made, ends(listing.symrefs), run)
        return _found(judged, listing.refs, target)
    kinds, now = {_kind(m.ref) for m in made}, target.refs(_as_made(made))
    alike = {ref: oid for ref, oid in now.items() if _kind(ref) in kinds}
    judged = by_ends(made, plan.moved_along(made, alike, moves, views), run)
    return _found(judged, now, target)


def _found(done: list[Move], now: Mapping[str, str], target: Remote) -> list[Move]:
    """Refuse what is still as it was.

    A branch or tag may yet come, where copies are read; other refs may be for reviews.
    """
    left = {m.ref: m for m in done if m.acts and now.get(m.ref) == m.old}
    made = [m for m in left.values() if m.old is None]
    for ref in sees(target, made) if made else ():
        left.pop(ref, None)
    return [_not_there(m) if m.ref in left else m for m in done]


def _not_there(move: Move) -> Move:
    passes = _kind(move.ref) in ("heads", "tags")
    return plan.refused(move, NOT_THERE, transient=passes, unknown=passes)


def _as_made(made: Sequence[Move]) -> Scope:
    tips = {m.new for m in made if m.new}
    few = len(tips) <= MANY_TIPS
    return with_tips(tips) if few else named([m.ref for m in made])


def _kind(ref: str) -> str:
    return ref.split("/")[1]


def ends(symrefs: Mapping[str, str]) -> dict[str, str]:
    """Return what each symbolic ref leads to in the end."""
    return {ref: plan.stands_for(ref, symrefs) for ref in symrefs}


def by_ends(done: Iterable[Move], reals: Mapping[str, str], run: int) -> list[Move]:
    """Judge moves by the refs that they have moved: reals, alias -> the ref it moved.

    Those get a move of their own, unless they were to move so anyway.
    """
    moves = list(done)
    after = {m.ref: m.new for m in moves}
    led = [(m, reals[m.ref]) for m in moves if m.ref in reals]
    judged = {m.ref: m for m in moves}
    for move, real in led:
        resolved = real in after and after[real] == move.new
        judged[move.ref] = _resolved(move, real) if resolved else _alias(move, real)
        if not resolved:
            judged[real] = _real(move, real, run)
    return list(judged.values())


def told_by_host(move: Move, real: str) -> Move:
    """Refuse a move of what the host says to be an alias, and has not moved."""
    return replace(plan.refused(move, plan.an_alias(real)), conflict=True, alias=real)


def _resolved(move: Move, real: str) -> Move:
    tip, reason = move.new, plan.an_alias(real)
    return Move(move.ref, RefResult.UNCHANGED, tip, tip, reason, alias=real)


def _alias(move: Move, real: str) -> Move:
    what = "moved, too" if move.old else "was created"
    reason = f"{plan.an_alias(real)}, which {what}"
    return replace(plan.refused(move, reason), conflict=True, alias=real)


def _real(move: Move, real: str, run: int) -> Move:
    how = (
        f"moved with {move.ref}, an alias of it"
        if move.old
        else plan.made_through(move.ref)
    )
    reason = f"{how}; {to_restore(run, real)}"
    return Move(real, move.result, move.old, move.new, reason)
