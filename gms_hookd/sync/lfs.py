"""Large files: where commits hold only pointers to them, they go along.

With git-lfs at hand the objects are brought before the refs are pushed. Where it is
missing, or the source lacks an object, or the target has no LFS, the refs are pushed
all the same and the run's log has one warning; strict: nothing is pushed then.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from gms_hookd.git import lfs
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.model import RefResult
from gms_hookd.sync.context import SyncContext
from gms_hookd.sync.plan import Move

STRICT = "strict"
NAMED = 3  # objects that a warning names


class Missed(NamedTuple):
    """How many objects stay behind, and why."""

    objects: int
    reason: str

    @property
    def warning(self) -> str:
        """Say it in the log of a run."""
        return (
            f"warning: {self.objects} LFS pointers were pushed without their objects:"
            f" {self.reason}"
        )


def carry(
    context: SyncContext, moves: Sequence[Move], known: Iterable[str]
) -> Missed | None:
    """Carry what the moves need to the target, which has the known commits.

    Returns what could not be carried, where that is no failure. Raises GitError.
    """
    tips = list(dict.fromkeys(m.new for m in moves if m.acts and m.new))
    if not tips or context.lfs == "off":
        return None
    old = [m.old for m in moves if m.result is RefResult.UPDATED and m.old]
    found = lfs.pointers(context.cache.git, tips, old, known)
    if not found:
        return None
    context.log.line(f"the commits point to {len(found)} LFS objects")
    missed = _carried(context, tips, found)
    if missed and context.lfs == STRICT:
        said = f"{missed.objects} LFS objects cannot be carried (sync.lfs is strict)"
        raise GitError(ErrorKind.POLICY, f"{said}: {missed.reason}")
    return missed


def _carried(
    context: SyncContext, tips: Sequence[str], found: Collection[str]
) -> Missed | None:
    if not lfs.at_hand(context.cache.git):
        return Missed(len(found), "install git-lfs")
    with context.cache.loading():
        lacking = lfs.fetch(context.source, tips)
    missed = Missed(len(lacking), f"the source lacks {_named(lacking)}")
    if lacking and context.lfs == STRICT:
        return missed
    if words := lfs.push(context.target, tips, some=bool(lacking)):
        return Missed(len(found), f"the target has no LFS: {words}")
    return missed if lacking else None


def _named(objects: Collection[str]) -> str:
    some = ", ".join(sorted(objects)[:NAMED])
    return some if len(objects) <= NAMED else f"{some}, ..."
