"""Which scheduled tasks are due, and the runs that they get.

Each has one time at which it is due next, however many it missed while nobody looked.
That time holds as long as the clock goes on: where it shows an earlier time than the
one at which the next was found out, it was set back, and the next is found out again.
"""

from collections.abc import Iterable
from typing import NamedTuple

from gms_hookd.store import runs
from gms_hookd.store.dbthread import Connection

SET_BACK = 60_000  # ms; a clock that is put right by less shows no time twice


class Scheduled(NamedTuple):
    """A task's schedule, and when it is met next (ms), None for never."""

    task_id: int
    cron: str
    due: int | None


class Next(NamedTuple):
    """What a task's next time shall be instead of the one that was found."""

    found: Scheduled
    due: int | None


def every(db: Connection) -> list[Scheduled]:
    """List all schedules of enabled tasks."""
    query = "SELECT id,cron,next_cron_ms FROM tasks WHERE cron_from_ms IS NOT NULL"
    return [Scheduled(*row) for row in db.execute(query).fetchall()]


def to_see_to(db: Connection, now: int, limit: int) -> list[Scheduled]:
    """List what is due at `now` (ms), and what was found out by a clock ahead of it."""
    rows = db.execute(
        "SELECT id,cron,next_cron_ms FROM tasks WHERE cron_from_ms IS NOT NULL"
        " AND (next_cron_ms<=:now OR cron_from_ms>:now+:set_back)"
        " ORDER BY next_cron_ms,id LIMIT :limit",
        {"now": now, "set_back": SET_BACK, "limit": limit},
    ).fetchall()
    return [Scheduled(*row) for row in rows]


def take(db: Connection, planned: Iterable[Next], now: int) -> None:
    """Queue a run for each that is due at `now` (ms), and note its next time.

    Left alone is what was changed since it was found.
    """
    for each in planned:
        _take(db, each, now)


def _take(db: Connection, planned: Next, now: int) -> None:
    task_id, cron, due = planned.found
    changed = db.execute(
        "UPDATE tasks SET next_cron_ms=?,cron_from_ms=? WHERE id=? AND cron=?"
        " AND cron_from_ms IS NOT NULL AND next_cron_ms IS ?",
        (planned.due, now, task_id, cron, due),
    )
    if changed.rowcount and due is not None and due <= now:
        runs.trigger(db, task_id, runs.NewRun("cron"), now)
