"""Aliases at a target that does not tell which of its refs are symbolic.

By protocol v0 a host tells of HEAD only. What a push to an alias moves along is seen by
a look after it, and remembered, so that it is not pushed to again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gms_hookd.git.refspec import with_tips
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.sync.job import ALIAS, to_restore
from gms_hookd.sync.plan import Move, Views, doubtful, moved_along, refused


def aliases_of(known: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases that are remembered: ref -> the ref that it stands for."""
    marks = ((ref, tip.partition(ALIAS)[2]) for ref, tip in known.items())
    return {ref: real for ref, real in marks if real}


def found_before(marked: Mapping[str, str], listing: Listing) -> dict[str, str]:
    """Return the remembered aliases that still may be some.

    An alias has the tip of the ref that it stands for; where the target tells which
    refs are symbolic, nothing has to be remembered.
    """
    tips, found = listing.refs, marked.items() if listing.blind else ()
    return {ref: real for ref, real in found if tips.get(ref) == tips.get(real)}


def found_out(
    done: list[Move],
    moves: Sequence[Move],
    views: Views,
    target: Remote,
    run: int,
) -> list[Move]:
    """Judge again what was done, by what has moved along with it.

    done are some of the moves; what moved along was moved by this run, too. Nothing is
    put back: somebody else may have moved the other ref in that moment. Raises
    GitError.
    """
    doubts = doubtful(moves, views)
    tips = {m.new for m in done if m.acts and m.new and m.ref in doubts}
    if not tips:
        return done
    now = target.refs(with_tips(tips))
    along = moved_along(done, now, moves, views)
    judged = [_alias(m, along[m.ref]) if m.ref in along else m for m in done]
    return judged + [_real(m, along[m.ref], run) for m in done if m.ref in along]


def _alias(move: Move, real: str) -> Move:
    reason = f"an alias of {real} at the target, which moved, too"
    return replace(refused(move, reason), conflict=True, alias=real)


def _real(move: Move, real: str, run: int) -> Move:
    reason = f"moved with {move.ref}, an alias of it; {to_restore(run, real)}"
    return Move(real, move.result, move.old, move.new, reason)
