"""What a sync is asked to do, what it answers, and the shape of what carries it out.

The sum of a run, drawn from what became of each ref.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.model import (
    Ref,
    RefResult,
    RunStatus,
    Task,
    Undo,
    commit_range,
    over_attempts,
)
from gms_hookd.runlog import RunLog
from gms_hookd.safetext import one_line
from gms_hookd.sync.plan import Move, deletions, refused, wants_force

MESSAGE = 1500  # characters of an error and its remedy
UNCERTAIN = "?"  # before a known id: the target was seen to differ, so read it first
REFUSED = "!"  # before a known id: the target would not have another one
ALIAS = "@"  # after a known id, before the ref that this one is an alias of


class SyncJob(NamedTuple):
    """What a run is to do: known is what we last pushed, target ref -> object id.

    confirmed names the deletions that a person has seen and wants, as ref -> object id,
    whatever a guard thinks of them; None where nobody was asked.
    hint is the object id that the trigger named. With verify the target is read even
    where nothing seems to have changed. trusted: known was found to be so lately enough
    to be believed of a target that is not on this machine. asked is the number of the
    last delivery that wants the run, None where others want it, too; newest that of the
    last one there was when it began. run is its number, 0 where none is
    kept; before is what its earlier attempts did. undo is what it is to put back at the
    target, in place of a sync. by_hand: a person has asked for it.
    """

    task: Task
    known: Mapping[str, str] = MappingProxyType({})
    confirmed: Mapping[str, str] | None = None
    hint: str | None = None
    verify: bool = False
    trusted: bool = True
    asked: int | None = None
    newest: int = 0
    run: int = 0
    attempt: int = 1
    before: tuple[Ref, ...] = ()
    undo: Undo | None = None
    by_hand: bool = False


def without_mark(known: str) -> str:
    """Return the object id that is remembered, "" for none."""
    return known.lstrip(UNCERTAIN + REFUSED).partition(ALIAS)[0]


class SyncResult(NamedTuple):
    """What became of a run; known is what to hand to the next one.

    pinned lists the tips that were overwritten or deleted at the target: the ref, its
    old object id, the ref of the cache that keeps it.
    there is, of a probe, what the target has of what it should have, and of what it
    should not have; None where it refused to say.
    seen: known was found to be so, of all refs that the target should have.
    held names the deletions that a guard held back, None where none did; of a look at
    what an undo needs, the old tips that are no longer kept.
    unable: it failed for want of git here, which says nothing about the task.
    kind: the class of the failure.
    """

    status: RunStatus
    refs: tuple[Ref, ...] = ()
    commit_range: str = ""
    error_message: str = ""
    transient: bool = False
    unable: bool = False
    known: Mapping[str, str] = MappingProxyType({})
    retry_after: float | None = None
    pinned: tuple[tuple[str, str, str], ...] = ()
    held: Mapping[str, str] | None = None
    seen: bool = False
    there: Mapping[str, str] | None = None
    kind: str = ""


class Unreadable(NamedTuple):
    """Why a repository cannot be read, and what we know to do about it.

    `answered` tells whether the host did, at all.
    """

    error: str
    remedy: str = ""
    answered: bool = False


def to_restore(run: int, ref: str) -> str:
    """Return the command that brings back what a ref of the target was.

    A name with bytes that are no UTF-8 cannot be given as an argument.
    """
    argv = ("gms-hookd", "run", "undo", str(run))
    if any("\ud800" <= letter <= "\udfff" for letter in ref):
        return f"to restore, with all else that it did: {shlex.join(argv)}"
    return f"to restore: {shlex.join((*argv, '--ref', ref))}"


def failure(job: SyncJob, log: RunLog, error: GitError) -> SyncResult:
    """Return what becomes of a run that an error ended, and say so in its log."""
    message = one_line(log.clean(str(error)), MESSAGE)
    log.line(f"failed: {message}")
    stopped = error.kind is ErrorKind.STOPPED
    status = RunStatus.CANCELLED if stopped else RunStatus.FAILED
    return SyncResult(
        status,
        error_message=message,
        transient=error.transient,
        unable=error.kind is ErrorKind.GIT,
        known=job.known,
        retry_after=error.retry_after,
        kind=error.kind.value,
    )


class TargetChanges(NamedTuple):
    """What a look at the target has told of what we knew.

    right is what was read as it should be, or not as we knew it; gone names what was
    pushed once and is no longer there.
    """

    right: Mapping[str, str] = MappingProxyType({})
    gone: Collection[str] = ()


NO_CHANGES = TargetChanges()


def summarised(
    job: SyncJob,
    moves: Sequence[Move],
    guard: str = "",
    changes: TargetChanges = NO_CHANGES,
    *,
    planned: bool = False,
    record: Mapping[str, Ref] = MappingProxyType({}),
) -> SyncResult:
    """Draw the sum of a run from what became of each ref, or is planned to.

    record is what the run did over all its attempts, this one included.
    """
    known = {**job.known, **changes.right}
    known = {ref: oid for ref, oid in known.items() if ref not in changes.gone}
    status = _status(moves, guard)
    failed = status is RunStatus.FAILED
    carried_out = [_held_back(m) for m in moves] if guard and not planned else moves
    refs = listed(carried_out, record)
    return SyncResult(
        status,
        refs=refs,
        commit_range=commit_range(record.values() if guard else refs),
        error_message=_message(moves, guard, job)
        if status is not RunStatus.SUCCESS
        else "",
        transient=failed and any(m.transient for m in moves),
        known=job.known if guard else remembered(known, moves),
        held=deletions(moves) if guard else None,
        kind=ErrorKind.POLICY.value if failed else "",
    )


def _held_back(move: Move) -> Move:
    if not move.acts:
        return move
    return refused(move, f"held back: it would have been {move.result}")


def without_secrets(result: SyncResult, log: RunLog) -> SyncResult:
    """Return a result whose texts may be kept; a ref named like a secret is forgotten.

    What is forgotten is read from the target before the next push.
    """
    reasons = {ref.reason for ref in result.refs if ref.reason}
    clean = {reason: log.clean(reason) for reason in reasons}
    refs = tuple(
        replace(ref, reason=clean[ref.reason]) if ref.reason else ref
        for ref in result.refs
    )
    result = result._replace(refs=refs, error_message=log.clean(result.error_message))
    names = (*result.known, *(result.held or ()), *(ref.ref for ref in refs))
    if not log.holds("\n".join(names)):
        return result
    return _without_names(result, log)


def _without_names(result: SyncResult, log: RunLog) -> SyncResult:
    held = result.held
    return result._replace(
        refs=tuple(replace(ref, ref=log.clean(ref.ref)) for ref in result.refs),
        known={r: oid for r, oid in result.known.items() if not log.holds(r)},
        held=held and {r: oid for r, oid in held.items() if not log.holds(r)},
    )


def remembered(known: Mapping[str, str], moves: Sequence[Move]) -> dict[str, str]:
    """Bring what we last pushed up to date.

    What may have arrived after all stays in doubt, and so does a symbolic ref: a push
    to it by memory would move another ref.
    """
    after = dict(known)
    for move in moves:
        oid = _known_after(move, after.pop(move.ref, None))
        if oid is not None:
            after[move.ref] = oid
    return after


def _known_after(move: Move, before: str | None) -> str | None:
    """Return what is known of a ref after a move; None for nothing."""
    if move.alias:
        alias = UNCERTAIN + (move.old or "") + ALIAS + move.alias
        return alias if move.new else None
    if move.conflict or move.unknown:
        return UNCERTAIN + without_mark(before or "")
    if move.declined:
        return REFUSED + (move.old or "")
    return before if move.result is RefResult.REJECTED else move.new or None


def _status(moves: Sequence[Move], guard: str) -> RunStatus:
    if guard:
        return RunStatus.CONFLICT
    if any(m.transient for m in moves):  # what is no conflict is worth another attempt
        return RunStatus.FAILED
    if any(m.conflict for m in moves):
        return RunStatus.CONFLICT
    rejected = any(m.result is RefResult.REJECTED for m in moves)
    return RunStatus.FAILED if rejected else RunStatus.SUCCESS


def _message(moves: Sequence[Move], guard: str, job: SyncJob) -> str:
    task = shlex.quote(job.task.name)
    run = f"gms-hookd task sync {task}"
    if guard:
        return f"held back: {guard}; `{run} --yes` does it all the same"
    bad = [m for m in moves if m.result is RefResult.REJECTED]
    bad.sort(key=lambda m: not m.transient)
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    said = f"{bad[0].ref}: {bad[0].reason}{more}"
    if not wants_force(bad[0]):
        return said
    choice = "bring that into the source, or overwrite it (`run undo` takes it back)"
    return f"{said}; {choice}: gms-hookd task set {task} force=true && {run}"


def listed(
    moves: Sequence[Move], record: Mapping[str, Ref], *, whole: bool = True
) -> tuple[Ref, ...]:
    """Return what became of each ref over all attempts.

    record has what this attempt did, too. Where the moves are not the whole of it, what
    was found of other refs earlier still holds.
    """
    rows = {m.ref: _row(m, record.get(m.ref)) for m in moves}
    others = (row for row in record.values() if row.ref not in rows)
    return (*rows.values(), *(r for r in others if r.acted or r.in_doubt or not whole))


def _row(move: Move, done: Ref | None) -> Ref:
    row = Ref(move.ref, move.result, move.old, move.new, move.reason)
    return done if done and move.acts else over_attempts(done, row)
