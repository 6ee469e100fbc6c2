"""What metrics tell of the store: the queue, and how each task fares."""

from collections.abc import Mapping
from typing import NamedTuple

from gms_hookd.model import RunStatus
from gms_hookd.store import runs
from gms_hookd.store.dbthread import Connection, Row
from gms_hookd.store.rows import column, value

MOST_TASKS = 1000
MOST_RUNS = 200  # of a task, among which its last success is looked for
_ENDED = (
    f"SELECT status,ended_ms FROM runs WHERE task_id=? AND {runs.ENDED}"
    f" ORDER BY id DESC LIMIT {MOST_RUNS}"
)
# By itself sqlite would go through all notices of each target.
_WAITING = (
    "SELECT target,count(*) FROM notices INDEXED BY notices_waiting"
    " WHERE status='waiting' GROUP BY target"
)
_FAILED = (RunStatus.FAILED, RunStatus.CONFLICT)


class TaskGauges(NamedTuple):
    """When a task last succeeded (ms, 0: not lately), and how often it failed since."""

    task_id: int
    last_success: int
    failures: int


class Gauges(NamedTuple):
    """The queue, `oldest` since when (ms), the first tasks, and how many more.

    `notices` are those that wait, by target.
    """

    queued: int
    running: int
    oldest: int | None
    tasks: tuple[TaskGauges, ...]
    not_shown: int
    notices: Mapping[str, int]


def _runs(db: Connection, status: RunStatus) -> Row:
    query = "SELECT count(*),min(created_ms) FROM runs WHERE status=?"
    found: Row = db.execute(query, (status,)).fetchone()
    return found


def gauges(db: Connection) -> Gauges:
    """Return what the store says now."""
    query = f"SELECT id FROM tasks WHERE most IS NULL ORDER BY id LIMIT {MOST_TASKS}"
    shown = tuple(_of_task(db, task_id) for task_id in column(db, query))
    queued, since = _runs(db, RunStatus.QUEUED)
    running, _ = _runs(db, RunStatus.RUNNING)
    every = value(db, "SELECT count(*) FROM tasks WHERE most IS NULL")
    notices = dict(db.execute(_WAITING).fetchall())
    more = every - len(shown)
    return Gauges(queued, running, since, shown, more, notices)


def _of_task(db: Connection, task_id: int) -> TaskGauges:
    failures = 0
    # Rows are read one by one: of a task that fares well only the newest.
    for status, ended in db.execute(_ENDED, (task_id,)):
        if status == RunStatus.SUCCESS:
            return TaskGauges(task_id, ended, failures)
        failures += status in _FAILED
    return TaskGauges(task_id, 0, failures)
