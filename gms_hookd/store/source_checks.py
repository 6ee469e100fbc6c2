"""When both sides of each task are to be looked at, and what was last found there."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from gms_hookd.model import RunStatus, Task
from gms_hookd.store import runs, tasks
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.rows import column, value


class Check(NamedTuple):
    """A task whose source and target are to be looked at, and what is known of it.

    `tips` is what our last push left at the target, `digest` stands for what both had
    when a check last queued a run; `status` and `ended_at` (ms) are the last run's.
    """

    task: Task
    tips: Mapping[str, str]
    digest: bytes | None
    status: RunStatus | None
    ended_at: int


def begin(db: Connection, now: int, spread: int) -> None:
    """Have the tasks that were ever synced checked within `spread` ms from now."""
    db.execute(
        "INSERT INTO checks(task_id,due_ms) SELECT DISTINCT task_id,"
        " :now+abs(random())%:spread FROM tips WHERE task_id IN (SELECT id FROM tasks)"
        " ON CONFLICT(task_id) DO UPDATE SET due_ms=excluded.due_ms",
        {"now": now, "spread": max(spread, 1)},
    )


_DUE = (
    "SELECT t.id FROM tasks t LEFT JOIN checks c ON c.task_id=t.id"
    " WHERE t.enabled AND t.most IS NULL"
    " AND coalesce(c.due_ms,t.created_ms+:interval)"
    "  NOT BETWEEN :now+1 AND :now+2*:interval"
    " AND NOT EXISTS(SELECT 1 FROM runs r WHERE r.status='queued'"
    "  AND r.task_id=t.id)"
    " AND NOT EXISTS(SELECT 1 FROM runs r WHERE r.status='running'"
    "  AND r.task_id=t.id)"
    " AND NOT EXISTS(SELECT 1 FROM runs r WHERE r.status='running'"
    "  AND r.cache=t.cache)"
)


def due(
    db: Connection,
    now: int,
    interval: int,
    limit: int,
    busy: Iterable[int] = (),
    *,
    hosts: Collection[str] = (),
) -> list[Check]:
    """List the checks that are due, of tasks that neither run nor wait to.

    Left out are the tasks that are `busy`, and those of some `hosts`. A task that was
    never checked is due `interval` ms after it was made. What is due later than any
    check is put off comes of a clock that was set back.
    """
    others, named = tasks.besides(hosts)
    query = f"{_DUE}{others} ORDER BY coalesce(c.due_ms,t.created_ms) LIMIT :limit"
    most = limit + len(tuple(busy))
    values = {"now": now, "interval": interval, "limit": most, "besides": named}
    others_at_work = set(busy)
    ids = [each for each in column(db, query, values) if each not in others_at_work]
    return [_check(db, task_id) for task_id in ids[:limit]]


def _check(db: Connection, task_id: int) -> Check:
    last = runs.last(db, task_id)
    return Check(
        task=tasks.get(db, task_id),
        tips=runs.tips(db, task_id),
        digest=value(db, "SELECT digest FROM checks WHERE task_id=?", (task_id,)),
        status=last.status if last else None,
        ended_at=(last.end_time or 0) if last else 0,
    )


def postpone(db: Connection, task: Task, due: int) -> None:
    """Have the task checked again at `due` (ms), unless it is gone or changed."""
    if not tasks.still(db, task):
        return
    db.execute(
        "INSERT INTO checks(task_id,due_ms) VALUES(:id,:due)"
        " ON CONFLICT(task_id) DO UPDATE SET due_ms=excluded.due_ms",
        {"id": task.id, "due": due},
    )


def in_step(db: Connection, task: Task) -> None:
    """Forget what a check found once: should it come again, that is news."""
    db.execute("UPDATE checks SET digest=NULL WHERE task_id=?", (task.id,))


def catch_up(db: Connection, task: Task, digest: bytes, now: int) -> int | None:
    """Queue a run for what a check found; its id, or None if the task is another now.

    A task that is gone, disabled, or has got another source, target or refspecs is.
    """
    if not tasks.still(db, task):
        return None
    run_id = runs.trigger(db, task.id, runs.NewRun("reconcile"), now)
    db.execute("UPDATE checks SET digest=? WHERE task_id=?", (digest, task.id))
    return run_id
