"""Tells, without any git, that a run has nothing to do.

Only where that is beyond doubt: what a webhook named was synced before, or the source
is on this machine and its files say so. The target is on this machine and was looked
at, or it is as remembered, and that is not long ago. Runs by hand read both sides.
"""

from collections.abc import Mapping

from gms_hookd.git.refs import has_object, local_head, local_refs
from gms_hookd.git.refspec import Selection, WantedRef
from gms_hookd.git.url import GitUrl
from gms_hookd.model import RefResult
from gms_hookd.sync import plan
from gms_hookd.sync.job import SyncJob, SyncResult, TargetChanges, summarised
from gms_hookd.sync.plan import Move, Views


def nothing_to_do(
    job: SyncJob, selection: Selection, source: GitUrl, target: GitUrl
) -> SyncResult | None:
    """Give the outcome of such a run; None where git has to look."""
    if job.verify or not job.known or job.attempt > 1:
        return None
    if not (target.local or job.trusted):
        return None
    named = _named(job, selection)
    if named and not moved(target, named):
        moves = [Move(r, RefResult.UNCHANGED, oid, oid) for r, oid in named.items()]
        return summarised(job, moves)
    return _as_before(job, selection, source, target) if source.local else None


def moved(target: GitUrl, tips: Mapping[str, str]) -> bool:
    """Tell whether a target on this machine may have other tips than these."""
    return target.local and not has_object(target.path, tips)


def _named(job: SyncJob, selection: Selection) -> Mapping[str, str]:
    """Give the one ref of a task, if the trigger names what it was last synced to."""
    single = selection.single
    if not single or not job.hint or job.known.get(single.dst) != job.hint:
        return {}
    return {single.dst: job.hint}


def _as_before(
    job: SyncJob, selection: Selection, source: GitUrl, target: GitUrl
) -> SyncResult | None:
    served = _served(selection, source)
    wanted = selection.wanted(served or {})
    if not wanted or any(job.known.get(r) != w.oid for r, w in wanted.items()):
        return None
    there = _there(job, selection, target)
    if there is None or _head_follows(selection, source, target, wanted):
        return None
    views = Views(wanted, there, job.known, job.task.prune, selection)
    if views.changing:
        return None
    moves = plan.decide(views, {})
    if any(m.result is not RefResult.UNCHANGED for m in moves):
        return None
    gone = job.known.keys() - there.keys() if job.task.prune else ()
    return summarised(job, moves, changes=TargetChanges(gone=gone))


def _served(selection: Selection, source: GitUrl) -> Mapping[str, str] | None:
    if selection.takes_head:
        return None
    every = any(s.glob for s in selection.specs)
    return local_refs(source.path, None if every else selection.exact.values())


def _there(
    job: SyncJob, selection: Selection, target: GitUrl
) -> Mapping[str, str] | None:
    """Tell what the target has; what else it has matters only if that is to go."""
    if not target.local:
        return None if job.task.prune else job.known
    every = job.task.prune or any(s.glob for s in selection.specs)
    return local_refs(target.path, None if every else selection.exact)


def _head_follows(
    selection: Selection,
    source: GitUrl,
    target: GitUrl,
    wanted: Mapping[str, WantedRef],
) -> bool:
    """Tell whether the default branch of a target on this machine may be due."""
    there = local_head(target.path) if target.local else None
    own = local_head(source.path) if there else None
    name = next((ref for ref, want in wanted.items() if want.source == own), None)
    if there is None or name in (None, there):
        return False
    return selection.origin_by_glob(name or "") or not local_refs(target.path, [there])
