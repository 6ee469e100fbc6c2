"""What an operator wants to know at once: the queue, and what does not go well."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gms_hookd.model import Delivery, Run, RunStatus, Task
from gms_hookd.store import deliveries, notices, runs, tasks
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.notices import Tally
from gms_hookd.store.rows import column, value

MOST = 20  # failing tasks and runs under way that are shown; all are counted
REFUSED = 5  # refused deliveries that are shown
SCHEDULED = 5  # tasks whose schedules are met next that are shown
_LAST_ENDED = f"SELECT max(id) FROM runs WHERE task_id=t.id AND {runs.ENDED}"
# A task that is switched off fails no more: somebody has seen to it.
_FAILING = (
    f"FROM tasks t JOIN runs r ON r.id=({_LAST_ENDED})"
    " WHERE t.enabled AND r.status IN ('conflict','failed')"
)
_RETRIED = "FROM runs r WHERE r.status IN ('queued','running') AND r.failures>0"


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
    # Of 10,000 tasks the last runs are looked for once: that takes 25 ms.
    failing = _ids(db, _FAILING)
    known = {task_id for _, task_id in failing}
    retried = [pair for pair in _ids(db, _RETRIED) if pair[1] not in known]
    return Overview(
        queued=_count(db, "FROM runs WHERE status='queued'"),
        oldest=next(iter(_oldest(db, RunStatus.QUEUED, 1)), None),
        running=_count(db, "FROM runs WHERE status='running'"),
        under_way=_oldest(db, RunStatus.RUNNING, MOST),
        failing=len(failing),
        failing_tasks=_failing(db, failing),
        retried=len(retried),
        retried_tasks=_failing(db, retried),
        refused=tuple(deliveries.refused(db, REFUSED)),
        notices=notices.tallies(db),
        scheduled=tuple(tasks.soonest(db, SCHEDULED)),
    )


def _count(db: Connection, which: str) -> int:
    return int(value(db, f"SELECT count(*) {which}"))


def _oldest(db: Connection, status: RunStatus, limit: int) -> tuple[Run, ...]:
    query = "SELECT id FROM runs WHERE status=? ORDER BY id LIMIT ?"
    ids = column(db, query, (status, limit))
    return tuple(runs.brief(db, run_id) for run_id in ids)


def _ids(db: Connection, which: str) -> list[tuple[int, int]]:
    """Return the ids of runs and of their tasks, the newest first."""
    query = f"SELECT r.id,r.task_id {which} ORDER BY r.id DESC"
    return db.execute(query).fetchall()


def _failing(
    db: Connection, found: Sequence[tuple[int, int]]
) -> tuple[FailingTask, ...]:
    return tuple(
        FailingTask(runs.brief(db, run_id), _queued(db, task_id))
        for run_id, task_id in found[:MOST]
    )


def _queued(db: Connection, task_id: int) -> Run | None:
    query = "SELECT id FROM runs WHERE status='queued' AND task_id=?"
    run_id = value(db, query, (task_id,))
    return runs.brief(db, run_id) if run_id else None
