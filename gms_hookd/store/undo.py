"""Ordering the undo of a run: what may be undone, and the run that does it.

An undo is a run of its task, and the only one meanwhile: its task is disabled with it,
and cannot be changed before it has ended.
"""

from collections.abc import Collection
from typing import NamedTuple

from gms_hookd.errors import Conflict, Invalid
from gms_hookd.model import FINAL, Ref, Run, RunStatus, Task, Undo
from gms_hookd.store import runs, tasks
from gms_hookd.store.dbthread import Connection


class UndoRequest(NamedTuple):
    """A run to be undone, of this task, and what of it."""

    run: Run
    task: Task
    undo: Undo


def find(db: Connection, run_id: int, names: Collection[str] | None) -> UndoRequest:
    """Find what an undo would put back: of these refs, or of all.

    Raises NotFound, Conflict where it cannot be undone, Invalid for a ref that it did
    not change.
    """
    run = runs.get(db, run_id)
    if run.status not in FINAL:
        raise Conflict(f"run {run.id} has not ended yet: {run.status}")
    task = tasks.get(db, run.task_id)
    _refuse_other_target(db, run, task)
    _refuse_beside_others(db, task)
    return UndoRequest(run, task, Undo(run.id, _chosen(run, names)))


def _refuse_other_target(db: Connection, run: Run, task: Task) -> None:
    (target,) = db.execute("SELECT target FROM runs WHERE id=?", (run.id,)).fetchone()
    if target != task.target:
        known = f"pushed to {target}" if target else "does not say where it pushed to"
        raise Conflict(f"run {run.id} {known}; the task's target is {task.target}")


def _refuse_beside_others(db: Connection, task: Task) -> None:
    tasks.refuse_amid_undo(db, task.id)
    for other in runs.history(db, task.id, RunStatus.RUNNING, 1):
        raise Conflict(
            f"run {other.id} of this task is under way: wait until it has ended, or"
            f" `gms-hookd run cancel {other.id}`"
        )


def _chosen(run: Run, names: Collection[str] | None) -> tuple[Ref, ...]:
    changed = {row.ref: row for row in run.refs if row.acted or row.in_doubt}
    if not changed:
        raise Conflict(f"run {run.id} changed nothing: there is nothing to undo")
    if names is None:
        return tuple(changed.values())
    full = [_full(name, changed) for name in names]
    for name in full:
        if name not in changed:
            some = ", ".join(sorted(changed)[:5])
            raise Invalid(f"refs: run {run.id} did not change {name}, but {some}"[:500])
    return tuple(changed[name] for name in dict.fromkeys(full))


def _full(name: str, changed: Collection[str]) -> str:
    """Return the ref that is meant: by its whole name, or by that of a branch."""
    return name if name in changed else "refs/heads/" + name.removeprefix("refs/heads/")


def order(db: Connection, run_id: int, names: Collection[str] | None, now: int) -> Run:
    """Queue the run that undoes another, and disable their task."""
    run, task, undo = find(db, run_id, names)
    why = f"run {run.id} of the task is to be undone"
    tasks.disable(db, task.id, why, now)
    run_id = runs.insert(db, task.id, runs.NewRun("undo", undo=undo), now)
    return runs.get(db, run_id)
