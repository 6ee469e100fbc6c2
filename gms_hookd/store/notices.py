"""The outbox: what is to be told to whom, kept until it is delivered or given up.

made with what it tells -> waiting -> sent
                             |  ^---- later (next try)
                             +-> dead: refused for good, or given up
                             +-> dropped: too many wait, or its target is gone
"""

import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import NamedTuple

from gms_hookd.errors import Conflict, NotFound
from gms_hookd.notify import policy
from gms_hookd.notify.policy import Ended, FailureSeries, Subscriber
from gms_hookd.store.dbthread import Connection, Row
from gms_hookd.store.rows import column, value

WAITING, SENT, DEAD, DROPPED = "waiting", "sent", "dead", "dropped"
STATUSES = (WAITING, SENT, DEAD, DROPPED)
MOST = 1000  # that wait for one target
ALONE = 5  # more that wait for one target become one message
BATCH = 500
_COLUMNS = (
    "number,id,target,event,task_id,run_id,status,attempts,"
    "CASE status WHEN 'waiting' THEN next_ms END,created_ms,"
    "CASE status WHEN 'sent' THEN sent_ms END,error,"
    "task_name,failures,since_ms,reminder,came_from,batch,said,url,delivery_id,"
    "condition"
)
# No try is further away than the delay that was set for it, whatever the clock does.
# The outcome of a delivery is due when none of its runs is under way.
_DUE = (
    "status='waiting' AND next_ms NOT BETWEEN :now+1 AND :now+delay_ms"
    " AND NOT EXISTS(SELECT 1 FROM deliveries d JOIN runs r ON r.id=d.run_id"
    "  WHERE d.id=delivery_id AND r.status IN ('queued','running'))"
    " AND NOT EXISTS(SELECT 1 FROM links l JOIN runs r ON r.id=l.run_id"
    "  WHERE l.delivery_id=notices.delivery_id AND r.status IN ('queued','running'))"
)


class NoticeRow(NamedTuple):
    """One notice; times in ms. `key` is the `webhook-id`, the same at each attempt.

    `came_from` is the target that it could not be delivered to; `batch` is the key of
    the message that it is part of; `said` is a text of the daemon's own. What is told
    of a delivery goes to the `url` that came with it. `condition` is what has begun, or
    is over where the event is `recovered`.
    """

    number: int
    key: str
    target: str
    event: str
    task_id: int | None
    run_id: int | None
    status: str
    attempts: int
    next_try: int | None
    created_at: int
    sent_at: int | None
    error: str
    task_name: str = ""
    failures: int = 0
    since: int | None = None
    reminder: bool = False
    came_from: str | None = None
    batch: str | None = None
    said: str | None = None
    url: str | None = None
    delivery_id: int | None = None
    condition: str | None = None


class Lot(NamedTuple):
    """What is sent in one message: one notice, or all that waited for a target.

    `lost` counts what was dropped since the last message.
    """

    key: str
    rows: tuple[NoticeRow, ...]
    lost: int = 0


class Subject(NamedTuple):
    """What a notice is about, beside its run."""

    task_id: int | None = None
    task_name: str = ""
    run_id: int | None = None
    failing: FailureSeries | None = None
    reminder: bool = False
    came_from: str | None = None
    said: str | None = None
    url: str | None = None
    delivery_id: int | None = None
    condition: str | None = None


class ConditionNews(NamedTuple):
    """A trouble of the daemon that has begun, or is `over`; times in ms.

    `keys` are those of the notices by their targets; `run` is the oldest run that waits
    in a queue, and the id and name of its task.
    """

    condition: str
    since: int
    at: int
    said: str
    over: bool
    keys: Mapping[str, str]
    run: tuple[int, int, str] | None = None


def new_key() -> str:
    """Return a key for a notice, the `webhook-id` of each attempt."""
    return f"msg_{os.urandom(16).hex()}"


def conditions(db: Connection) -> dict[str, int]:
    """Return the troubles of the daemon that were told and last, since when (ms)."""
    return dict(db.execute("SELECT name,since_ms FROM conditions").fetchall())


def note_condition(
    db: Connection, news: ConditionNews, reached: Collection[str]
) -> None:
    """Make the notices about a trouble of the daemon; again, it changes nothing.

    Those of the targets that were `reached` already are sent.
    """
    _keep_condition(db, news)
    for row in rows_of(news):
        if db.execute("SELECT 1 FROM notices WHERE id=?", (row.key,)).fetchone():
            continue
        add(db, row.target, row.event, _subject(row), news.at, key=row.key)
        if row.target in reached:
            sent(db, Lot(row.key, (get(db, row.key),)), news.at)


def _keep_condition(db: Connection, news: ConditionNews) -> None:
    if news.over:
        db.execute("DELETE FROM conditions WHERE name=?", (news.condition,))
        return
    query = "INSERT OR REPLACE INTO conditions(name,since_ms) VALUES(?,?)"
    db.execute(query, (news.condition, news.since))


def rows_of(news: ConditionNews) -> list[NoticeRow]:
    """Return the notices about a trouble of the daemon as they are written."""
    run_id, task_id, task_name = news.run or (None, None, "")
    return [
        NoticeRow(
            number=0,
            key=key,
            target=target,
            event=policy.RECOVERED if news.over else news.condition,
            task_id=task_id,
            run_id=run_id,
            status=WAITING,
            attempts=0,
            next_try=news.at,
            created_at=news.at,
            sent_at=None,
            error="",
            task_name=task_name,
            since=news.since,
            said=news.said or None,
            condition=news.condition,
        )
        for target, key in news.keys.items()
    ]


def _subject(row: NoticeRow) -> Subject:
    """Return what a notice is about, as another about the same."""
    return Subject(
        row.task_id,
        row.task_name,
        row.run_id,
        _failing_then(row),
        row.reminder,
        row.came_from,
        row.said,
        condition=row.condition,
    )


def note_end(
    db: Connection,
    subscribers: Sequence[Subscriber],
    task: tuple[int, str],
    run_id: int,
    ended: Ended,
) -> None:
    """Make the notices about a run that ends, in the transaction that ends it."""
    task_id, name = task
    before = _failing(db, task_id)
    after, news = policy.decide(before, ended)
    if after != before:
        _keep(db, task_id, run_id, after)
    subject = Subject(task_id, name, run_id, news.failing)
    for target, event in policy.wanted(subscribers, task_id, name, news):
        add(db, target, event, subject, ended.at)


def _failing(db: Connection, task_id: int) -> FailureSeries | None:
    query = "SELECT since_ms,failures,kinds,looked_ms FROM failing WHERE task_id=?"
    row = db.execute(query, (task_id,)).fetchone()
    return _as_failing(row) if row else None


def _as_failing(row: Row) -> FailureSeries:
    since, failures, kinds, looked = row
    return FailureSeries(since, failures, frozenset(json.loads(kinds)), looked)


_KEEP = (
    "INSERT OR REPLACE INTO failing(task_id,run_id,since_ms,failures,kinds,"
    "looked_ms) SELECT id,?,?,?,?,? FROM tasks WHERE id=?"
)


def _keep(
    db: Connection, task_id: int, run_id: int, after: FailureSeries | None
) -> None:
    if after is None:
        db.execute("DELETE FROM failing WHERE task_id=?", (task_id,))
        return
    kinds = json.dumps(sorted(after.kinds))
    kept = run_id, after.since, after.failures, kinds, after.looked
    db.execute(_KEEP, (*kept, task_id))  # not for a task that was removed meanwhile


_ALL_FAILING = (
    "SELECT f.task_id,t.name,f.run_id,f.since_ms,f.failures,f.kinds,f.looked_ms"
    " FROM failing f JOIN tasks t ON t.id=f.task_id WHERE t.enabled"
)


def remind(db: Connection, subscribers: Sequence[Subscriber], now: int) -> int:
    """Make the reminders that are due about tasks that still fail; give how many."""
    made = 0
    for subject, due in _reminders(db, subscribers, now):
        for target, event in due:
            add(db, target, event, subject, now)
        query = "UPDATE failing SET looked_ms=? WHERE task_id=?"
        db.execute(query, (now, subject.task_id))
        made += len(due)
    return made


def reminders_due(db: Connection, subscribers: Sequence[Subscriber], now: int) -> bool:
    """Tell whether `remind` would make any; changes nothing."""
    return any(True for _ in _reminders(db, subscribers, now))


def _reminders(
    db: Connection, subscribers: Sequence[Subscriber], now: int
) -> Iterator[tuple[Subject, list[policy.DueNotice]]]:
    """Yield each task that still fails and of which somebody is to be reminded."""
    for task_id, name, run_id, *rest in db.execute(_ALL_FAILING).fetchall():
        failing = _as_failing(tuple(rest))
        due = policy.reminders(subscribers, task_id, name, failing, now)
        if due:
            yield Subject(task_id, name, run_id, failing, reminder=True), due


_INSERT = (
    "INSERT INTO notices(id,target,event,task_id,task_name,run_id,status,next_ms,"
    "created_ms,failures,since_ms,reminder,came_from,said,url,delivery_id,condition)"
    " VALUES(:key,:target,:event,:task_id,:task_name,:run_id,'waiting',:now,:now,"
    ":failures,:since,:reminder,:came_from,:said,:url,:delivery_id,:condition)"
)


def add(
    db: Connection,
    target: str,
    event: str,
    subject: Subject,
    now: int,
    *,
    key: str = "",
) -> str:
    """Have a target told of an event; return the notice's key."""
    key, failing = key or new_key(), subject.failing
    own = {"key": key, "target": target, "event": event, "now": now}
    count = failing.failures if failing else 0
    since = failing.since if failing else None
    row = {**subject._asdict(), **own, "failures": count, "since": since}
    del row["failing"]
    db.execute(_INSERT, row)
    _drop_oldest(db, target)
    return key


def _drop_oldest(db: Connection, target: str) -> None:
    query = "SELECT count(*) FROM notices WHERE status='waiting' AND target=?"
    if value(db, query, (target,)) <= MOST:
        return
    db.execute(
        "UPDATE notices SET status='dropped',error='too many waited' WHERE number="
        "(SELECT min(number) FROM notices WHERE status='waiting' AND target=?)",
        (target,),
    )


def due(db: Connection, now: int) -> list[str]:
    """List the targets for which something is to be sent now."""
    query = f"SELECT DISTINCT target FROM notices WHERE {_DUE} ORDER BY target"
    return column(db, query, {"now": now})


_FIRST_DUE = (
    f"SELECT {_COLUMNS} FROM notices WHERE {_DUE} AND target=:target"
    " ORDER BY number LIMIT 1"
)


# Of one task, or one trouble of the daemon, the end is not told before the beginning.
_OF_THE_SAME = (
    "status='waiting' AND target=:target AND task_id IS :task_id"
    " AND condition IS :condition AND delivery_id IS NULL AND :delivery_id IS NULL"
)
_EARLIER = (
    f"SELECT {_COLUMNS} FROM notices WHERE {_OF_THE_SAME} AND number<:number"
    " ORDER BY number LIMIT 1"
)
_LATER = (
    f"UPDATE notices SET next_ms=:due,delay_ms=:delay WHERE {_OF_THE_SAME}"
    " AND number>:number AND next_ms<:due"
)


def take(db: Connection, target: str, now: int, *, together: bool) -> Lot | None:
    """Return what is to be sent to a target next; None where nothing is due.

    Where many wait, and they may go `together`, they are one message from now on.
    """
    first = db.execute(_FIRST_DUE, {"now": now, "target": target}).fetchone()
    if first is None:
        return None
    found = _row(first)
    earlier = db.execute(_EARLIER, found._asdict()).fetchone()
    row = _row(earlier) if earlier else found
    lost = _lost(db, target)
    if not together:
        return Lot(row.key, (row,), lost)
    batch = row.batch or _gathered(db, target)
    rows = _of_batch(db, batch) if batch else (row,)
    return Lot(batch or row.key, rows, lost)


def _gathered(db: Connection, target: str) -> str | None:
    """Make one message of all that wait for a target; None where they are few."""
    free = "status='waiting' AND target=? AND batch IS NULL"
    if value(db, f"SELECT count(*) FROM notices WHERE {free}", (target,)) <= ALONE:
        return None
    batch = new_key()
    db.execute(f"UPDATE notices SET batch=? WHERE {free}", (batch, target))
    return batch


def _of_batch(db: Connection, batch: str) -> tuple[NoticeRow, ...]:
    query = (
        f"SELECT {_COLUMNS} FROM notices WHERE status='waiting' AND batch=?"
        " ORDER BY number"
    )
    return tuple(_row(row) for row in db.execute(query, (batch,)).fetchall())


def _lost(db: Connection, target: str) -> int:
    query = (
        "SELECT count(*) FROM notices"
        " WHERE status='dropped' AND target=? AND sent_ms IS NULL"
    )
    return int(value(db, query, (target,)))


def _row(row: Row) -> NoticeRow:
    found = NoticeRow(*row)
    return found._replace(reminder=bool(found.reminder))


def sent(db: Connection, lot: Lot, now: int, note: str = "") -> None:
    """Note that a message was delivered, and what people should know of that."""
    _update(db, lot, "status='sent',error=?,sent_ms=?,url=NULL", (note, now))
    if lot.lost:  # the text said how many
        db.execute(
            "UPDATE notices SET sent_ms=?"
            " WHERE status='dropped' AND target=? AND sent_ms IS NULL",
            (now, lot.rows[0].target),
        )


def hasten(db: Connection, target: str, now: int) -> int:
    """Let what waits for its next try be due; return how many notices."""
    query = (
        "UPDATE notices SET next_ms=? WHERE status='waiting' AND target=? AND next_ms>?"
    )
    return db.execute(query, (now, target, now)).rowcount


def later(db: Connection, lot: Lot, now: int, delay: int, why: str) -> None:
    """Note a try that failed; the next is due `delay` ms from `now` on."""
    _update(db, lot, "error=?,next_ms=?,delay_ms=?", (why, now + delay, delay))
    put_off = {"due": now + delay, "delay": delay}
    db.executemany(_LATER, [{**row._asdict(), **put_off} for row in lot.rows])


def bury(db: Connection, lot: Lot, now: int, why: str, fallback: str | None) -> None:
    """Give up a message; `fallback` is the target that is told instead.

    What came from another target already goes no further.
    """
    _update(db, lot, "status='dead',error=?,next_ms=?", (why, now))
    for row in lot.rows if fallback else ():
        if row.came_from is None and fallback is not None:
            subject = _subject(row)._replace(came_from=row.target)
            add(db, fallback, row.event, subject, now)


def _failing_then(row: NoticeRow) -> FailureSeries | None:
    if row.since is None:
        return None
    return FailureSeries(row.since, row.failures, frozenset(), row.since)


def _update(db: Connection, lot: Lot, changes: str, values: tuple[object, ...]) -> None:
    db.executemany(
        f"UPDATE notices SET attempts=attempts+1,{changes}"
        " WHERE number=? AND status='waiting'",
        [(*values, row.number) for row in lot.rows],
    )


def drop_all(db: Connection, target: str, why: str) -> int:
    """Drop what waits for a target; give how many."""
    query = "UPDATE notices SET status='dropped',error=? WHERE status='waiting'"
    return db.execute(f"{query} AND target=?", (why, target)).rowcount


_SEND_AGAIN = (
    "UPDATE notices SET status='waiting',next_ms=?,delay_ms=0,sent_ms=NULL,"
    "batch=NULL WHERE number=?"
)


def resend(db: Connection, key: str, known: Collection[str], now: int) -> NoticeRow:
    """Have a notice sent again, with the same key; Conflict if it waits already."""
    found = get(db, key)
    if found.target not in known:
        raise Conflict(f"target: no [notify.{found.target}] is configured")
    if found.delivery_id is not None and found.url is None:
        raise Conflict(f"notice {key} was taken: its address is no longer kept")
    if found.status == WAITING and found.attempts == 0:
        raise Conflict(f"notice {key} is waiting already")
    db.execute(_SEND_AGAIN, (now, found.number))
    return get(db, key)


def get(db: Connection, key: str) -> NoticeRow:
    """Find a notice; NotFound if there is none."""
    row = db.execute(f"SELECT {_COLUMNS} FROM notices WHERE id=?", (key,)).fetchone()
    if row is None:
        raise NotFound(f"no notice {key}"[:200])
    return _row(row)


class Which(NamedTuple):
    """Notices to list: of one target, of one status, those before one; None for all."""

    target: str | None = None
    status: str | None = None
    before: str | None = None


def latest(db: Connection, which: Which, limit: int) -> list[NoticeRow]:
    """List the newest notices first."""
    target, status, before = which
    end = sys.maxsize if before is None else get(db, before).number
    if target is None and status is None:
        return _listed(db, "number<?", (end,), limit)
    # Each target and status by the index, which has them together: what is rare is far
    # back among all.
    whose = targets(db) if target is None else [target]
    kinds = STATUSES if status is None else [status]
    values = [(*pair, end, limit) for pair in product(whose, kinds)]
    found = " UNION ALL ".join([_NEWEST_OF_BOTH] * len(values)) or "SELECT NULL"
    return _listed(db, f"number IN ({found})", tuple(chain(*values)), limit)


_NEWEST_OF_BOTH = (
    "SELECT * FROM (SELECT number FROM notices WHERE target=? AND status=?"
    " AND number<? ORDER BY number DESC LIMIT ?)"
)


def _listed(
    db: Connection, which: str, values: tuple[object, ...], limit: int
) -> list[NoticeRow]:
    query = f"SELECT {_COLUMNS} FROM notices WHERE {which} ORDER BY number DESC LIMIT ?"
    return [_row(row) for row in db.execute(query, (*values, limit)).fetchall()]


def targets(db: Connection) -> list[str]:
    """List the targets that notices are there for."""
    query = (
        # From one target to the next by the index, not by way of all their rows.
        "WITH RECURSIVE each(name) AS (SELECT min(target) FROM notices UNION ALL SELECT"
        " (SELECT min(target) FROM notices WHERE target>name) FROM each"
        " WHERE name IS NOT NULL) SELECT name FROM each WHERE name IS NOT NULL"
    )
    return column(db, query)


class Tally(NamedTuple):
    """What became of the notices for a target; times in ms.

    `last_error` is the newest of those that wait or are dead.
    """

    waiting: int
    dead: int
    last_sent: int | None
    last_error: str


NOBODY = Tally(0, 0, None, "")  # was told anything


def tallies(db: Connection) -> dict[str, Tally]:
    """Count by target what waits and what is dead, with the newest error of these.

    What is dead counts, up to the newest 1,000, until something was sent to that target
    since.
    """
    return {name: _tally(db, name) for name in targets(db)}


def _tally(db: Connection, target: str) -> Tally:
    last = max((row.sent_at for row in _newest(db, target, SENT)), default=None)
    waiting = _newest(db, target, WAITING)
    dead = [row for row in _newest(db, target, DEAD) if row.next_try > (last or -1)]
    errors = ((row.number, row.error) for row in (*waiting, *dead) if row.error)
    _, newest = max(errors, default=(0, ""))
    return Tally(len(waiting), len(dead), last, newest)


class _Attempt(NamedTuple):
    """When a notice was sent and is to be tried next (ms), and why it failed."""

    sent_at: int
    next_try: int
    number: int
    error: str


def _newest(db: Connection, target: str, status: str) -> list[_Attempt]:
    query = (
        "SELECT sent_ms,next_ms,number,error FROM notices WHERE target=? AND status=?"
        " ORDER BY number DESC LIMIT ?"
    )
    return [_Attempt(*row) for row in db.execute(query, (target, status, MOST))]


def prune(db: Connection, before: int, beats_before: int) -> int:
    """Delete one batch of what ended and was made before then (ms); give how many.

    Heartbeats that were sent, of which there are as many as runs, say nothing later.
    """
    return db.execute(
        "DELETE FROM notices WHERE number IN (SELECT number FROM notices"
        " WHERE created_ms<:before AND status<>'waiting' OR created_ms<:beats_before"
        " AND status='sent' AND event='success' LIMIT :batch)",
        {"before": before, "beats_before": beats_before, "batch": BATCH},
    ).rowcount
