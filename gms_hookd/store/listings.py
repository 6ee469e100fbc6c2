"""Short rows of long tables: pages of tasks, runs and deliveries, and their tallies.

A page costs the same however many rows there are: what has no index is looked for among
SCAN rows, and the page says from where to look on.
"""

import sys
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from gms_hookd.model import Delivery, RunStatus, Task
from gms_hookd.store import deliveries, runs, tasks
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.rows import column, value

Listed = TypeVar("Listed")
HOUR = 3_600_000  # ms
SCAN = 20_000  # rows that one page looks through
MOST_FAILURES = 200  # runs of a task that are counted back to its last success
ENDS = ("success", "conflict", "failed", "cancelled")
_COLUMNS = (
    "id,task_id,task_name,status,attempt,trigger,created_ms,started_ms,ended_ms,"
    "commit_range,error_message"
)
_OUTCOMES = {
    "accepted": "status=200 AND run_id IS NOT NULL",
    "nothing": "status=200 AND run_id IS NULL",
    "refused": "status>=400",
}
OUTCOMES = tuple(_OUTCOMES)


class RunRow(NamedTuple):
    """A run in one line, without its refs and log; `waits_for` where it is known."""

    id: int
    task_id: int
    task_name: str
    status: str
    attempt: int
    trigger: str
    created_at: int
    start_time: int | None
    end_time: int | None
    commit_range: str
    error_message: str
    waits_for: str | None = None

    @property
    def took(self) -> int | None:
        """Return how long it took (ms), None where it has not ended or never began."""
        if self.start_time is None or self.end_time is None:
            return None
        return max(self.end_time - self.start_time, 0)


class ListingFilter(NamedTuple):
    """Which runs or deliveries: of a task, a hook, an outcome; before an id."""

    task_id: int | None = None
    hook: str | None = None
    outcome: str | None = None
    before: int = sys.maxsize
    limit: int = 50


class Page(NamedTuple, Generic[Listed]):
    """Runs or deliveries, the newest first; `older` leads on, None at the end."""

    rows: tuple[Listed, ...]
    older: int | None


RunPage = Page[RunRow]
DeliveryPage = Page[Delivery]


class TaskPage(NamedTuple):
    """Tasks by their names; `after` leads on, None at the end."""

    rows: tuple[Task, ...]
    after: str | None


class Failures(NamedTuple):
    """How often a task did not succeed in a row, and since when (ms)."""

    in_row: int
    since: int


def run_page(db: Connection, wanted: ListingFilter) -> RunPage:
    """List the newest runs first."""
    where, floor = _of_runs(db, wanted)
    query = f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY id DESC LIMIT :limit"
    rows = db.execute(query, _values(wanted, floor)).fetchall()
    older = _older([row[0] for row in rows], wanted.limit, floor)
    return RunPage(tuple(RunRow(*row) for row in rows[: wanted.limit]), older)


def _of_runs(db: Connection, wanted: ListingFilter) -> tuple[str, int]:
    """Return the condition, and the id below which nothing is looked at."""
    if wanted.task_id is not None:
        status = RunStatus(wanted.outcome) if wanted.outcome else None
        return f"id IN ({runs.ids_of_task(status)})", 0
    where = "id<:before" + (" AND status=:outcome" if wanted.outcome else "")
    if wanted.hook is None:
        return where, 0
    hook = " AND id>=:floor AND instr(', '||trigger||',',:trigger)"
    return where + hook, _floor(wanted.before, runs.newest(db))


def _floor(before: int, newest: int) -> int:
    return max(min(before, newest + 1) - SCAN, 0)


def _values(wanted: ListingFilter, floor: int) -> dict[str, object]:
    return {
        **wanted._asdict(),
        "status": wanted.outcome,
        # A run's trigger may name several, as `manual, webhook:github`.
        "trigger": f", webhook:{wanted.hook},",
        "task": f",{wanted.task_id},",
        "floor": floor,
        "limit": wanted.limit + 1,
    }


def _older(ids: Sequence[int], limit: int, floor: int) -> int | None:
    """Return the id before which to look on, None where nothing is left."""
    if len(ids) > limit:
        return ids[limit - 1]
    return floor if floor > 1 else None


def delivery_page(db: Connection, wanted: ListingFilter) -> DeliveryPage:
    """List the newest deliveries first."""
    terms = ["id<:before", "id>=:floor"]
    terms += ["hook=:hook"] if wanted.hook is not None else []
    terms += [_OUTCOMES[wanted.outcome]] if wanted.outcome else []
    of_task = "instr(','||replace(trim(task_ids,'[]'),' ','')||',',:task)"
    terms += [of_task] if wanted.task_id is not None else []
    floor = _floor(wanted.before, deliveries.newest(db)) if len(terms) > 2 else 0
    rows = deliveries.where(db, " AND ".join(terms), _values(wanted, floor))
    older = _older([row.id for row in rows], wanted.limit, floor)
    return DeliveryPage(tuple(rows[: wanted.limit]), older)


def task_page(db: Connection, after: str, part: str, limit: int) -> TaskPage:
    """List tasks by name, those after a name, with a part in it."""
    rows = tasks.by_name(db, after, part, limit + 1)
    more = rows[limit - 1].name if len(rows) > limit else None
    return TaskPage(tuple(rows[:limit]), more)


def runs_by_id(db: Connection, ids: Sequence[int]) -> RunPage:
    """List the runs with these ids that are kept."""
    query = f"SELECT {_COLUMNS} FROM runs WHERE id IN ({','.join('?' * len(ids))})"
    rows = db.execute(f"{query} ORDER BY id DESC", ids).fetchall()
    return RunPage(tuple(RunRow(*row) for row in rows), None)


def alive(db: Connection, limit: int) -> RunPage:
    """List the runs under way, and after them those that wait, the oldest first."""
    query = (
        f"SELECT {_COLUMNS} FROM runs WHERE id IN"
        " (SELECT id FROM runs WHERE status=? ORDER BY id LIMIT ?) ORDER BY id"
    )
    rows = [
        RunRow(*row)
        for status in (RunStatus.RUNNING, RunStatus.QUEUED)
        for row in db.execute(query, (status, limit)).fetchall()
    ]
    return RunPage(tuple(rows[:limit]), None)


def last_run(db: Connection, task_id: int) -> RunRow | None:
    """Return the newest run of a task."""
    found = run_page(db, ListingFilter(task_id, limit=1)).rows
    return found[0] if found else None


def outcomes(db: Connection, task_id: int, limit: int = 20) -> tuple[str, ...]:
    """Return how the last runs of a task ended, the newest first."""
    ended = f"task_id=? AND {runs.ENDED} ORDER BY id DESC"
    query = f"SELECT status FROM runs WHERE {ended} LIMIT ?"
    return tuple(column(db, query, (task_id, limit)))


def pending(db: Connection) -> tuple[int, int, int | None]:
    """Count the runs that are queued and that run; when the first is due (ms)."""
    counts = (
        value(db, "SELECT count(*) FROM runs WHERE status=?", (status,))
        for status in (RunStatus.QUEUED, RunStatus.RUNNING)
    )
    queued, running = counts
    return queued, running, runs.next_due(db)


def failures(db: Connection, task_id: int) -> Failures:
    """Count back to the last success of a task, at most MOST_FAILURES runs."""
    query = (
        f"SELECT status,ended_ms FROM runs WHERE task_id=? AND {runs.ENDED}"
        " ORDER BY id DESC LIMIT ?"
    )
    count, since = 0, 0
    for status, ended in db.execute(query, (task_id, MOST_FAILURES)):
        if status == RunStatus.SUCCESS:
            break
        if status != RunStatus.CANCELLED:
            count, since = count + 1, ended
    return Failures(count, since)


_SPANS = (
    f"SELECT (hour-:since)/:hours,{','.join(f'sum({each})' for each in ENDS)}"
    " FROM tallies WHERE hour>=:since AND hour<=:last GROUP BY 1"
)


def tallies(
    db: Connection, now: int, hours: int, count: int
) -> tuple[dict[str, int], ...]:
    """Count how the runs of each of the last spans of `hours` ended, oldest first.

    Spans are of full hours (UTC); the last one is under way at `now` (ms).
    """
    since = now // HOUR + 1 - hours * count
    values = {"since": since, "hours": hours, "last": now // HOUR}
    found = {span: counts for span, *counts in db.execute(_SPANS, values)}
    none = [0] * len(ENDS)
    return tuple(
        dict(zip(ENDS, found.get(span, none), strict=True)) for span in range(count)
    )
