"""What an operator wants to know at once: the queue, and what does not go well."""

from collections.abc import Mapping
from typing import NamedTuple

from gms_hookd.model import Delivery, Run, RunStatus, Task
from gms_hookd.store import deliveries, notices, runs, tasks
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.notices import Tally

MOST = 20  # failing tasks and runs under way that are shown; all are counted
REFUSED = 5  # refused deliveries that are shown
SCHEDULED = 5  # tasks whose schedules are met next that are shown
_LAST_ENDED = (
    "SELECT max(id) FROM runs WHERE task_id=t.id"
    " AND status IN ('success','conflict','failed','cancelled')"
)
# A task that is switched off fails no more: somebody has seen to it.
_FAILING = (
    f"FROM tasks t JOIN runs r ON r.id=({_LAST_ENDED})"
    " WHERE t.enabled AND r.status IN ('conflict','failed')"
)
_RETRIED = (
    "FROM runs r WHERE r.status IN ('queued','running') AND r.failures>0"
    f" AND r.task_id NOT IN (SELECT t.id {_FAILING})"
)


class FailingTask(NamedTuple):
    """A task whose last run did not end well, or whose run is tried again.

    `run` is that run; `waiting` the queued one, with the time of its next try.
    """

    run: Run
    waiting: Run | None


class Overview(NamedTuple):
    """The state of the queue; what is shown is cut, what is counted is not."""

    queued: int
    oldest: Run | None
    running: int
    under_way: tuple[Run, ...]
    failing: int
    failing_tasks: tuple[FailingTask, ...]
    retried: int
    retried_tasks: tuple[FailingTask, ...]
    refused: tuple[Delivery, ...]
    notices: Mapping[str, Tally]
    scheduled: tuple[Task, ...]


def overview(db: Connection) -> Overview:
    """Return what the store knows of the queue, failing tasks and refused requests."""
    return Overview(
        queued=_count(db, "FROM runs WHERE status='queued'"),
        oldest=next(iter(_oldest(db, RunStatus.QUEUED, 1)), None),
        running=_count(db, "FROM runs WHERE status='running'"),
        under_way=_oldest(db, RunStatus.RUNNING, MOST),
        failing=_count(db, _FAILING),
        failing_tasks=_failing(db, _FAILING),
        retried=_count(db, _RETRIED),
        retried_tasks=_failing(db, _RETRIED),
        refused=tuple(deliveries.refused(db, REFUSED)),
        notices=notices.tallies(db),
        scheduled=tuple(tasks.soonest(db, SCHEDULED)),
    )


def _count(db: Connection, which: str) -> int:
    found: int = db.execute(f"SELECT count(*) {which}").fetchone()[0]
    return found


def _oldest(db: Connection, status: RunStatus, limit: int) -> tuple[Run, ...]:
    query = "SELECT id FROM runs WHERE status=? ORDER BY id LIMIT ?"
    rows = db.execute(query, (status, limit)).fetchall()
    return tuple(runs.get(db, row[0]) for row in rows)


def _failing(db: Connection, which: str) -> tuple[FailingTask, ...]:
    query = f"SELECT r.id,r.task_id {which} ORDER BY r.id DESC LIMIT ?"
    rows = db.execute(query, (MOST,)).fetchall()
    return tuple(
        FailingTask(runs.get(db, run_id), _queued(db, task_id))
        for run_id, task_id in rows
    )


def _queued(db: Connection, task_id: int) -> Run | None:
    found = runs.history(db, task_id, RunStatus.QUEUED, 1)
    return found[0] if found else None
