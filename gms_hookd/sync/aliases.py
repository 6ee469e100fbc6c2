"""Aliases at a target that does not tell which of its refs are symbolic.

By protocol v0 a host tells of HEAD only. What a push to an alias moves along is seen by
a look after it, and remembered, so that it is not pushed to again.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gms_hookd.git.cache import Cache
from gms_hookd.git.refspec import with_tips
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.sync.job import ALIAS
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
    cached: Cache,
) -> list[Move]:
    """Judge again what was done, by what has moved along with it.

    done are some of the moves. Nothing is put back: somebody else may have moved the
    other ref in that moment. Raises GitError.
    """
    doubts = doubtful(moves, views)
    tips = {m.new for m in done if m.acts and m.new and m.ref in doubts}
    if not tips:
        return done
    now = target.refs(with_tips(tips))
    along = moved_along(done, now, moves, views)
    return [
        _alias(m, along[m.ref], target, cached) if m.ref in along else m for m in done
    ]


def _alias(move: Move, real: str, target: Remote, cached: Cache) -> Move:
    lease = f"--force-with-lease={real}:{move.new}"
    place = f"--git-dir={cached.path}"
    argv = ("git", place, "push", lease, target.url, f"{move.old}:{real}")
    told = f"an alias of {real} at the target, which moved, too"
    verdict = refused(move, f"{told}; to put that back: {shlex.join(argv)}")
    return replace(verdict, conflict=True, alias=real)
