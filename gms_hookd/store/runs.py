"""Runs in the store: the queue, as leases that a crash gives back.

                trigger                      claim
    (nothing) ----------> queued ----------------------------> running
                          |  ^ ^                               |  |
      another trigger  ---+  | +-- transient failure, back-off-+  |
      joins it               +---- shutdown, crash (next start) --+
                          |                                       |
               cancel     v        success, conflict, failed      v
    cancelled <-----------+        cancelled <--------------------+

Each task has at most one queued and one running run; each cache at most one that
fetches: a running run names its cache until it has fetched. The schema's partial unique
indexes hold that, whatever the code does. A trigger that comes while its task is
running makes the one queued run, since what is running may have missed it. Should the
running one come back to the queue then, the younger joins it: its id goes on as a
pointer (`merged`), its deliveries move over.
"""

import json
import sys
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from gms_hookd.errors import Conflict, NotFound
from gms_hookd.model import (
    FINAL,
    Moment,
    Ref,
    RefResult,
    Run,
    RunStatus,
    Task,
    Undo,
    commit_range,
)
from gms_hookd.notify import policy
from gms_hookd.notify.policy import Subscriber
from gms_hookd.store import deliveries, notices, tasks
from gms_hookd.store.dbthread import Connection, Row
from gms_hookd.store.deliveries import NEWEST, NewDelivery, RecordedDelivery
from gms_hookd.store.rows import column, value
from gms_hookd.store.shares import Shares

EQUAL = Shares()  # no host has less than another
CRASHES = 3
AT_ONCE = 16  # tasks looked for with one query
BY_HAND = ("manual", "retry")
CHANGED = "the task was changed while this ran"
REMOVED = "cancelled: the task was removed while this ran"
DISABLED = "cancelled: the task was disabled while this ran"
LOG = 1024 * 1024  # characters of a run's log kept over all its attempts
# The fields of a run, and where each comes from; `_run` adds what is no column.
_FIELDS = {
    **{name: name for name in ("id", "task_id", "task_key", "task_name", "status")},
    **{name: name for name in ("attempt", "trigger", "commit_range", "error_message")},
    **{name: name for name in ("failures", "refs")},
    "created_at": "created_ms",
    "start_time": "started_ms",
    "end_time": "ended_ms",
    "next_try": "CASE status WHEN 'queued' THEN due_ms END",
}
_COLUMNS = ",".join(_FIELDS.values())
_BRIEF = ",".join({**_FIELDS, "refs": "NULL"}.values())
# As the partial indexes have it: sqlite does not take status='failed' for one of these.
ENDED = "status IN ('success','conflict','failed','cancelled')"
_PLACES = tuple(  # by the number of tasks
    "SELECT t.id,t.enabled AND t.most IS NULL,r.id,r.hint,r.due_ms,r.delay_ms"
    " FROM tasks t LEFT JOIN"
    f" runs r ON r.status='queued' AND r.task_id=t.id WHERE t.id IN ({'?,' * n}?)"
    for n in range(AT_ONCE)
)
# A hint spares work only while all that the run stands for name the same commit; where
# one names another, or none, it is gone for good.
_SHARED_HINT = "hint=CASE WHEN hint IS ? THEN hint END"
_ALIVE = {s: f"status='{s}'" for s in (RunStatus.QUEUED, RunStatus.RUNNING)}


class NewRun(NamedTuple):
    """A wanted run: who asked, which deletions are confirmed, which sha was named."""

    trigger: str
    confirmed: Mapping[str, str] | None = None
    hint: str | None = None
    urgent: bool = False
    undo: Undo | None = None


class Trigger(NamedTuple):
    """A verified delivery for one task, named by its id or, as a text, by its key."""

    new_delivery: NewDelivery
    task: int | str
    new_run: NewRun


class ClaimedRun(NamedTuple):
    """A run that is ours to carry out now."""

    run: Run
    task: Task
    tips: Mapping[str, str]
    confirmed: Mapping[str, str] | None
    hint: str | None
    failures: int
    newest: int = 0  # delivery when it was claimed
    seen: Moment | None = None  # when the target was last found to be as tips say
    undo: Undo | None = None


class Result(NamedTuple):
    """How a run ended; `tips` is what the target's refs are now, by our push.

    `seen` is when they were surely so: read then, or proved by each push since. Where
    `refs` and `commit_range` are not given, those of earlier attempts stay.
    """

    status: RunStatus
    commit_range: str = ""
    error_message: str = ""
    refs: tuple[Ref, ...] | None = None
    details: str = ""
    tips: Mapping[str, str] | None = None
    seen: Moment | None = None
    kind: str = ""  # class of a failure


def accept(db: Connection, triggers: Sequence[Trigger]) -> list[RecordedDelivery]:
    """Take and record verified deliveries: each is 200 with its run, 404 or 409."""
    ids = {task: _id_of(db, task) for task in {each.task for each in triggers}}
    places = _places(db, ids.values())
    entries = [_entry(db, places, ids[each.task], each) for each in triggers]
    deliveries.record_all(db, entries)
    return entries


def _id_of(db: Connection, task: int | str) -> int:
    """Return the id of a task; 0, which none has, for an unknown key."""
    if isinstance(task, int):
        return task
    return value(db, "SELECT id FROM tasks WHERE key=?", (task,)) or 0


def _entry(
    db: Connection, places: "dict[int, _QueuePlace]", task_id: int, trigger: Trigger
) -> RecordedDelivery:
    new_delivery, task, new_run = trigger
    place = places.get(task_id)
    if place is None:
        named = task if isinstance(task, int) else f"with key {task!r}"
        return RecordedDelivery(new_delivery, 404, f"no task {named}")
    if not place.enabled:
        return RecordedDelivery(new_delivery, 409, _why_not(db, task_id))
    run_id = _enqueue(db, place, new_run, new_delivery.received_at)
    joined = run_id == place.run_id
    if not joined:
        places.update(_places(db, [task_id]))
    ids = (task_id,), (run_id,)
    return RecordedDelivery(new_delivery, 200, "accepted", *ids, joined)


def request(db: Connection, task_id: int, new_run: NewRun, now: int) -> Run:
    """Queue a run by hand, or join the queued one; Conflict if the task is disabled."""
    found = _find(db, task_id)
    if found is None:
        raise NotFound(f"no task {task_id}")
    if not found.enabled:
        raise Conflict(_why_not(db, task_id))
    return get(db, _enqueue(db, found, new_run, now))


def _why_not(db: Connection, task_id: int) -> str:
    """Say why a task takes no triggers."""
    if tasks.get(db, task_id).most is not None:
        return f"task {task_id} is a pattern, which never runs: the tasks it makes do"
    return f"task {task_id} is disabled: gms-hookd task enable {task_id}"


def newest(db: Connection) -> int:
    """Return the highest id that a run has; no id is ever given twice."""
    return int(value(db, "SELECT coalesce(max(id),0) FROM runs"))


def trigger(db: Connection, task_id: int, new_run: NewRun, now: int) -> int | None:
    """Queue a run, or join the queued one; None if the task is gone or disabled."""
    found = _find(db, task_id)
    if found is None or not found.enabled:
        return None
    return _enqueue(db, found, new_run, now)


class _QueuePlace(NamedTuple):
    """Where a run of a task would go: the queued run, if there is one."""

    task_id: int
    enabled: bool
    run_id: int | None
    hint: str | None
    due: int | None
    delay: int | None


def _find(db: Connection, task_id: int) -> _QueuePlace | None:
    return _places(db, [task_id]).get(task_id)


def _places(db: Connection, task_ids: Iterable[int]) -> dict[int, _QueuePlace]:
    wanted = list(set(task_ids))
    places: dict[int, _QueuePlace] = {}
    while wanted:
        some, wanted = wanted[:AT_ONCE], wanted[AT_ONCE:]
        for row in db.execute(_PLACES[len(some) - 1], some):
            places[row[0]] = _QueuePlace(*row)
    return places


def _enqueue(db: Connection, place: _QueuePlace, new_run: NewRun, now: int) -> int:
    if place.run_id is None or place.due is None or place.delay is None:
        return insert(db, place.task_id, new_run, now)
    _name_trigger(db, place.run_id, new_run.trigger)
    # Only a person's hurry overrides the back-off of a run that waits for its next
    # attempt; that it waits longer comes of a clock that was set back.
    due = min(place.due, now if new_run.urgent else now + place.delay)
    if (new_run.hint, due) != (place.hint, place.due):
        query = f"UPDATE runs SET {_SHARED_HINT},due_ms=? WHERE id=?"
        db.execute(query, (new_run.hint, due, place.run_id))
    if new_run.confirmed is not None:
        query = "UPDATE runs SET deletions=? WHERE id=?"
        db.execute(query, (_packed_deletions(new_run.confirmed), place.run_id))
    return place.run_id


def _name_trigger(db: Connection, run_id: int, trigger: str) -> None:
    """Let a run that is wanted by others than webhooks, too, look at both sides.

    It goes first, before what wanted the run already; webhooks that join are known by
    their deliveries.
    """
    if not trigger.startswith("webhook:"):
        db.execute(
            "UPDATE runs SET trigger=:new||', '||trigger WHERE id=:id"
            " AND instr(', '||trigger||',', ', '||:new||',')=0",
            {"new": trigger, "id": run_id},
        )


def insert(db: Connection, task_id: int, new_run: NewRun, now: int) -> int:
    """Queue a run, as the only one of its task that waits."""
    wanted = _packed_deletions(new_run.confirmed), _packed_undo(new_run.undo)
    cursor = db.execute(
        "INSERT INTO runs(task_id,task_key,task_name,status,trigger,deletions,undo,"
        "hint,due_ms,created_ms,after_delivery) SELECT id,key,name,'queued',?,?,?,?,?,"
        f"?,{NEWEST} FROM tasks WHERE id=?",
        (new_run.trigger, *wanted, new_run.hint, now, now, task_id),
    )
    return cursor.lastrowid or 0


_START = (
    "UPDATE runs SET status='running',attempt=attempt+1,cache=?,deletions=NULL,"
    "target=(SELECT t.target FROM tasks t WHERE t.id=task_id),"
    f"last_delivery={NEWEST},"
    "started_ms=coalesce(started_ms,?) WHERE id=?"
)


def claim(
    db: Connection,
    now: int,
    only: int | None = None,
    shares: Shares = EQUAL,
    done_fetching: Collection[int] = (),
) -> ClaimedRun | None:
    """Lease the oldest due run that may begin; None if there is none.

    Its task and source are free, and no host has more runs than its share. A source is
    free of the running runs that are `done_fetching`.
    """
    _bring_forward(db, now)
    query = "UPDATE runs SET cache=NULL WHERE id=? AND cache IS NOT NULL"
    db.executemany(query, [(run_id,) for run_id in done_fetching])
    row = _next(db, now, only, shares)
    if row is None:
        return None
    run_id, cache, deletions = row
    # What was confirmed counts for this attempt, and for none that comes after it.
    db.execute(_START, (cache, now, run_id))
    return _claim(db, run_id, _unpacked_deletions(deletions))


class Lease(NamedTuple):
    """What a claim got, and what it left in the queue.

    `next_due` is when the next run becomes due that is not due yet (ms).
    """

    claimed: ClaimedRun | None
    left: bool = False
    next_due: int | None = None


_LEFT = (
    "SELECT EXISTS(SELECT 1 FROM runs WHERE status='queued'),"
    " (SELECT min(due_ms) FROM runs WHERE status='queued' AND due_ms>?)"
)


def lease(
    db: Connection,
    now: int,
    only: int | None,
    shares: Shares,
    done_fetching: Collection[int],
) -> Lease:
    """Claim, and look what is left, so that nobody need look for it again."""
    claimed = claim(db, now, only, shares, done_fetching)
    left, due = db.execute(_LEFT, (now,)).fetchone()
    return Lease(claimed, bool(left), due)


def _bring_forward(db: Connection, now: int) -> None:
    """Let no run wait longer than it was to: the clock may have been set back."""
    db.execute(
        "UPDATE runs SET due_ms=:now+delay_ms WHERE status='queued'"
        " AND due_ms>:now AND due_ms>:now+delay_ms",
        {"now": now},
    )


def claimable(db: Connection, now: int, shares: Shares = EQUAL) -> int | None:
    """Return the id of the run that a claim would lease now, None if there is none."""
    row = _next(db, now, None, shares)
    return None if row is None else int(row[0])


def _next(db: Connection, now: int, only: int | None, shares: Shares) -> Row | None:
    if only is not None or not shares.limit:
        return _oldest(db, now, only)
    full = shares.full(_hosts_at_work(db))
    first = full | shares.unreached if shares.others_first else full
    return _oldest(db, now, besides=first) or _oldest(db, now, besides=full)


def _hosts_at_work(db: Connection) -> list[set[str]]:
    query = (
        "SELECT origin(t.source),origin(t.target) FROM runs r"
        " JOIN tasks t ON t.id=r.task_id WHERE r.status='running'"
    )
    return [set(row) - {""} for row in db.execute(query).fetchall()]


def _oldest(
    db: Connection,
    now: int,
    only: int | None = None,
    besides: frozenset[str] = frozenset(),
) -> Row | None:
    others, named = tasks.besides(besides)
    found: Row | None = db.execute(
        "SELECT r.id, t.cache, r.deletions FROM runs r JOIN tasks t ON t.id=r.task_id"
        " WHERE r.status='queued' AND r.due_ms<=:now AND (:only IS NULL OR r.id=:only)"
        " AND NOT EXISTS(SELECT 1 FROM runs b"
        "  WHERE b.status='running' AND b.task_id=r.task_id)"
        " AND NOT EXISTS(SELECT 1 FROM runs b"
        "  WHERE b.status='running' AND b.cache=t.cache)"
        f"{others} ORDER BY r.id LIMIT 1",
        {"now": now, "only": only, "besides": named},
    ).fetchone()
    return found


def _claim(
    db: Connection, run_id: int, confirmed: Mapping[str, str] | None
) -> ClaimedRun:
    run = get(db, run_id)
    query = "SELECT hint,failures,undo FROM runs WHERE id=?"
    hint, failures, undo = db.execute(query, (run_id,)).fetchone()
    return ClaimedRun(
        run=run,
        task=tasks.get(db, run.task_id),
        tips=tips(db, run.task_id),
        confirmed=confirmed,
        hint=hint,
        failures=failures,
        newest=deliveries.newest(db),
        seen=_seen(db, run.task_id),
        undo=_unpacked_undo(undo),
    )


def _seen(db: Connection, task_id: int) -> Moment | None:
    query = "SELECT wall_ms,up_ms FROM seen WHERE task_id=?"
    row = db.execute(query, (task_id,)).fetchone()
    return Moment(*row) if row else None


def tips(db: Connection, task_id: int) -> dict[str, str]:
    """Tell what the refs of a task's target were after our last push."""
    query = "SELECT ref,oid FROM tips WHERE task_id=?"
    rows = db.execute(query, (task_id,)).fetchall()
    return {ref.decode("utf-8", "surrogateescape"): oid for ref, oid in rows}


def oldest_due(db: Connection, now: int) -> tuple[int, int, str] | None:
    """Return the oldest queued run that is due, the id and the name of its task."""
    query = (
        "SELECT id,task_id,task_name FROM runs WHERE status='queued' AND due_ms<=?"
        " ORDER BY id LIMIT 1"
    )
    found: tuple[int, int, str] | None = db.execute(query, (now,)).fetchone()
    return found


def next_due(db: Connection) -> int | None:
    """Tell when the earliest queued run may start (ms), None if none is queued."""
    query = "SELECT min(due_ms) FROM runs WHERE status='queued'"
    due: int | None = value(db, query)
    return due


def under_way(db: Connection) -> list[int]:
    """List the running runs."""
    return column(db, "SELECT id FROM runs WHERE status='running' ORDER BY id")


_DUE_ON = (
    "SELECT r.task_id, t.cache, origin(t.source), origin(t.target)"
    " FROM runs r JOIN tasks t ON t.id=r.task_id"
    " WHERE r.id=? AND r.status='queued' AND r.due_ms<=?"
)


def waits_for(
    db: Connection,
    run_id: int,
    now: int,
    shares: Shares = EQUAL,
    done_fetching: Collection[int] = (),
) -> str | None:
    """Return what a due run waits for in the queue, None where it does not."""
    row = db.execute(_DUE_ON, (run_id, now)).fetchone()
    if row is None:
        return None
    task_id, cache, *hosts = row
    if other := _waits_for_run(db, task_id, cache, done_fetching):
        return other
    full = shares.full(_hosts_at_work(db)).intersection(hosts)
    return shares.reason(min(full)) if full else "a free worker"


def _waits_for_run(
    db: Connection, task_id: int, cache: str, done_fetching: Collection[int]
) -> str:
    """Return the run that is under way on the same task or cache, "" if none is."""
    query = (
        "SELECT id, task_name, task_id=:task FROM runs WHERE status='running'"
        " AND (task_id=:task OR cache=:cache) ORDER BY task_id=:task DESC, id"
    )
    rows = db.execute(query, {"task": task_id, "cache": cache})
    for other, name, same in rows.fetchall():
        if same:
            return f"run {other}, which is under way for the same task"
        if other not in done_fetching:
            return f"run {other} of {name}, which fetches from the same source"
    return ""


def finish(
    db: Connection,
    run_id: int,
    result: Result,
    now: int,
    claimed: Task | None = None,
    *,
    subscribers: Sequence[Subscriber] = (),
    attempt: int | None = None,
) -> tuple[int, ...]:
    """End a running run; gives its id and the ids of the runs that joined it.

    What is to be told to the `subscribers` is committed with it. Nothing changes where
    it is not under way, or at another `attempt`: who could not hear of it asks again.

    A run whose task has got another source, target or refspecs since it was `claimed`
    did what is no longer asked for: it remembers nothing, and goes back to the queue
    (none has ended then).
    """
    if claimed and result.status is RunStatus.CANCELLED and _is_gone(db, claimed.id):
        result = result._replace(error_message=REMOVED)
    same = claimed is not None and tasks.still(db, claimed)
    if claimed and not same and _goes_on(db, claimed, result):
        back = Return(now, CHANGED, result.details, failed=False, refs=result.refs)
        return _send_back(db, run_id, back._replace(attempt=attempt), claimed)
    if _write_end(db, run_id, result, now, attempt):
        task = claimed if same else None
        _follow_up(db, run_id, result, now, task=task, subscribers=subscribers)
    elif get(db, run_id).status not in FINAL:
        return ()
    return (run_id, *_joined(db, run_id))


def _send_back(db: Connection, run_id: int, back: "Return", claimed: Task) -> tuple[()]:
    """Give a run back whose task is another one now, and enabled."""
    requeue(db, run_id, back)
    tasks.forget_done_elsewhere(db, claimed)
    return ()


def _follow_up(
    db: Connection,
    run_id: int,
    result: Result,
    now: int,
    *,
    task: Task | None,
    subscribers: Sequence[Subscriber],
) -> None:
    """Note what follows from an end: what is known of the task's target, and news."""
    if task:
        _remember_end(db, task.id, result)
    if result.status is not RunStatus.SUCCESS:
        _doubt(db, run_id)
    if subscribers:
        _note_end(db, run_id, result, now, subscribers)


_END = (
    "UPDATE runs SET status=?,commit_range=coalesce(nullif(?,''),commit_range),"
    "error_message=?,refs=coalesce(?,refs),details=?,cache=NULL,ended_ms=?"
    " WHERE id=? AND status='running' AND attempt=coalesce(?,attempt)"
)


def _write_end(
    db: Connection, run_id: int, result: Result, now: int, attempt: int | None
) -> bool:
    """Write the end of a run; return whether it was under way, at that attempt."""
    texts = _storable(result.error_message), _packed_refs(result.refs)
    details = _log_so_far(db, run_id, result.details)
    ended = result.status, result.commit_range, *texts, details, now, run_id, attempt
    return db.execute(_END, ended).rowcount > 0


def _remember_end(db: Connection, task_id: int, result: Result) -> None:
    """Keep what is known of the target, and when it was found to be so."""
    if result.tips is not None:
        _remember(db, task_id, result.tips)
    if result.status is RunStatus.SUCCESS and result.seen is not None:
        query = "INSERT OR REPLACE INTO seen(task_id,wall_ms,up_ms) VALUES(?,?,?)"
        db.execute(query, (task_id, *result.seen))


_EVENTS = {
    RunStatus.SUCCESS: policy.SUCCESS,
    RunStatus.CONFLICT: policy.CONFLICT,
    RunStatus.FAILED: policy.FAILED,
}


def _note_end(
    db: Connection,
    run_id: int,
    result: Result,
    now: int,
    subscribers: Sequence[Subscriber],
) -> None:
    event = _EVENTS.get(result.status)
    query = "SELECT task_id,task_name,commit_range<>'',undo FROM runs WHERE id=?"
    row = db.execute(query, (run_id,)).fetchone()
    if event is None or row is None:
        return
    *task, changed, undo = row
    if undo is not None:
        hearing = subscribers if changed and event == policy.SUCCESS else ()
        _note_undo(db, run_id, tuple(task), now, hearing)
        return
    kind = policy.CONFLICT if event == policy.CONFLICT else result.kind
    ended = policy.Ended(event, now, kind, changed=bool(changed))
    notices.note_end(db, subscribers, tuple(task), run_id, ended)


def _note_undo(
    db: Connection,
    run_id: int,
    task: tuple[int, str],
    now: int,
    subscribers: Sequence[Subscriber],
) -> None:
    """Tell who hears of changes; how the task's syncs fare is not told by an undo."""
    subject = notices.Subject(*task, run_id)
    for target, event in policy.wanted(
        subscribers, *task, policy.News((policy.CHANGED,), "", None)
    ):
        notices.add(db, target, event, subject, now)


def _is_gone(db: Connection, task_id: int) -> bool:
    query = "SELECT 1 FROM tasks WHERE id=?"
    return db.execute(query, (task_id,)).fetchone() is None


def _doubt(db: Connection, run_id: int) -> None:
    """Have the target of a run's task read before what is remembered is believed.

    Nobody knows what an attempt that did not end well has changed there.
    """
    query = "DELETE FROM seen WHERE task_id=(SELECT task_id FROM runs WHERE id=?)"
    db.execute(query, (run_id,))


def _goes_on(db: Connection, claimed: Task, result: Result) -> bool:
    """Tell whether what a run was to do is still to be done for the changed task."""
    query = "SELECT enabled FROM tasks WHERE id=?"
    enabled = db.execute(query, (claimed.id,)).fetchone()
    return enabled == (1,) and result.status is not RunStatus.CANCELLED


def _remember(db: Connection, task_id: int, new: Mapping[str, str]) -> None:
    old = tips(db, task_id)
    gone = [(task_id, _bytes(ref)) for ref in old.keys() - new.keys()]
    db.executemany("DELETE FROM tips WHERE task_id=? AND ref=?", gone)
    changed = [
        (task_id, _bytes(ref), oid) for ref, oid in new.items() if old.get(ref) != oid
    ]
    db.executemany(
        "INSERT OR REPLACE INTO tips(task_id,ref,oid) VALUES(?,?,?)", changed
    )


def _bytes(ref: str) -> bytes:
    """Give the name as git has it: bytes, not always UTF-8."""
    return ref.encode("utf-8", "surrogateescape")


class Return(NamedTuple):
    """Why a running run goes back, counted as a failure or not.

    It is due `delay` ms from `now` (ms) on, whatever becomes of the clock.
    `refs` is what it did so far, over all its attempts; None leaves what is there.
    Where it is at another `attempt` by now, it was given back before.
    """

    now: int
    error: str
    details: str = ""
    failed: bool = True
    refs: tuple[Ref, ...] | None = None
    delay: int = 0
    attempt: int | None = None


_REQUEUE = (
    "UPDATE runs SET status='queued',cache=NULL,error_message=?,details=?,"
    "last_delivery=NULL,failures=failures+?,due_ms=?,delay_ms=?,"
    "refs=coalesce(?,refs),commit_range=coalesce(nullif(?,''),commit_range)"
    " WHERE id=? AND status='running'"
)


def requeue(db: Connection, run_id: int, back: Return) -> tuple[int, ...]:
    """Give a running run back; a younger run of its task that waits joins it.

    One whose task is gone or disabled by now ends instead, as a queued one would have:
    gives the ids of the runs that have ended, none where it goes on.
    """
    query = "SELECT attempt FROM runs WHERE id=? AND status='running'"
    at = db.execute(query, (run_id,)).fetchone()
    if at is None or back.attempt not in (None, at[0]):
        return ()
    if why := _unwanted(db, run_id):
        done = commit_range(back.refs or ()), why, back.refs, back.details
        return finish(db, run_id, Result(RunStatus.CANCELLED, *done), back.now)
    # Only a person's hurry overrides the back-off, whenever it was told.
    delay = 0 if _absorb(db, run_id) in BY_HAND else back.delay
    _doubt(db, run_id)
    db.execute(
        _REQUEUE,
        (
            _storable(back.error),
            _log_so_far(db, run_id, back.details),
            back.failed,
            back.now + delay,
            delay,
            _packed_refs(back.refs),
            commit_range(back.refs or ()),
            run_id,
        ),
    )
    return ()


def _unwanted(db: Connection, run_id: int) -> str:
    """Say why a running run is not to be tried again, "" if it is.

    An undo is wanted of a task that was disabled for it.
    """
    query = (
        "SELECT t.enabled,r.undo IS NOT NULL FROM runs r"
        " LEFT JOIN tasks t ON t.id=r.task_id WHERE r.id=?"
    )
    enabled, undo = db.execute(query, (run_id,)).fetchone()
    if enabled is None:
        return REMOVED
    return "" if enabled or undo else DISABLED


def _log_so_far(db: Connection, run_id: int, more: str) -> bytes:
    before = value(db, "SELECT details FROM runs WHERE id=?", (run_id,))
    return _packed((_unpacked(before) + more)[-LOG:])


_YOUNGER = (
    "SELECT id,deletions,hint,trigger FROM runs WHERE status='queued'"
    " AND task_id=(SELECT task_id FROM runs WHERE id=? AND status='running')"
)


def _absorb(db: Connection, run_id: int) -> str | None:
    """Let the younger queued run of the same task join; return what triggered it."""
    row = db.execute(_YOUNGER, (run_id,)).fetchone()
    if row is None:
        return None
    younger, deletions, hint, trigger = row
    query = f"UPDATE runs SET {_SHARED_HINT},deletions=? WHERE id=?"
    db.execute(query, (hint, deletions, run_id))
    for each in reversed(trigger.split(", ")):
        _name_trigger(db, run_id, each)
    _merge(db, younger, run_id)
    return str(trigger)


def _merge(db: Connection, younger: int, run_id: int) -> None:
    deliveries.hand_over(db, younger, run_id)
    db.execute("UPDATE merged SET run_id=? WHERE run_id=?", (run_id, younger))
    db.execute("INSERT INTO merged(id,run_id) VALUES(?,?)", (younger, run_id))
    db.execute("DELETE FROM runs WHERE id=?", (younger,))


def recover(
    db: Connection, now: int, subscribers: Sequence[Subscriber] = ()
) -> tuple[list[int], list[int]]:
    """Give the running runs of a dead process back; gives (queued again, ended).

    A run that took the process down `CRASHES` times is failed: it would do it again.
    Runs that were under way together share the blame for a death in equal parts.
    """
    _bring_forward(db, now)
    _end_orphans(db, now)
    query = "SELECT id,crashes,attempt FROM runs WHERE status='running' ORDER BY id"
    found = db.execute(query).fetchall()
    again: list[int] = []
    ended: list[int] = []
    for run_id, crashes, attempt in found:
        blame = crashes + 1 / len(found)
        db.execute("UPDATE runs SET crashes=? WHERE id=?", (blame, run_id))
        if blame <= CRASHES - 0.001:
            why = "the daemon died while it ran this"
            over = requeue(db, run_id, Return(now, why, failed=False))
            (ended if over else again).append(run_id)
            continue
        why = f"the daemon died while it ran this, at attempt {attempt} again"
        result = Result(RunStatus.FAILED, error_message=why, kind="daemon")
        finish(db, run_id, result, now, subscribers=subscribers)
        ended.append(run_id)
    return again, ended


def _end_orphans(db: Connection, now: int) -> None:
    """Cancel queued runs of no task, which nobody would ever claim."""
    db.execute(
        "UPDATE runs SET status='cancelled',error_message=?,ended_ms=?,"
        f"last_delivery={NEWEST} WHERE status='queued'"
        " AND NOT EXISTS(SELECT 1 FROM tasks t WHERE t.id=task_id)",
        (REMOVED, now),
    )


def cancel(db: Connection, run_id: int, now: int) -> Run:
    """Cancel a queued run, a running one is the worker's; Conflict if it ended."""
    run = get(db, run_id)
    if run.status in FINAL:
        raise Conflict(f"run {run.id} has ended already: {run.status}")
    db.execute(
        "UPDATE runs SET status='cancelled',error_message='cancelled',ended_ms=?,"
        f"last_delivery={NEWEST} WHERE id=? AND status='queued'",
        (now, run.id),
    )
    return get(db, run.id)


def retry(db: Connection, run_id: int, now: int) -> Run:
    """Queue a new run for the task of an ended one."""
    run = get(db, run_id)
    if run.status not in FINAL:
        raise Conflict(f"run {run.id} has not ended yet: {run.status}")
    blob = value(db, "SELECT undo FROM runs WHERE id=?", (run.id,))
    if undo := _unpacked_undo(blob):
        remedy = f"gms-hookd run undo {undo.run}"
        raise Conflict(f"run {run.id} is no sync, but an undo: `{remedy}` tries again")
    return request(db, run.task_id, NewRun("retry", urgent=True), now)


def delete(db: Connection, run_id: int) -> Run:
    """Delete an ended run from the history."""
    run = get(db, run_id)
    if run.status not in FINAL:
        raise Conflict(f"run {run.id} has not ended yet: {run.status}")
    forget(db, [run.id])
    return run


def forget(db: Connection, run_ids: list[int]) -> None:
    """Delete runs and what points to them."""
    keys = [(run_id,) for run_id in run_ids]
    db.executemany("DELETE FROM links WHERE run_id=?", keys)
    db.executemany("DELETE FROM merged WHERE run_id=?", keys)
    db.executemany("DELETE FROM runs WHERE id=?", keys)


def get(db: Connection, run_id: int, details: bool = False) -> Run:
    """Find a run, with its log if `details`; Missing if there is none."""
    query = f"SELECT {_COLUMNS},details FROM runs WHERE id="
    merged = "(SELECT run_id FROM merged WHERE id=?)"
    row = (
        db.execute(f"{query}?", (run_id,)).fetchone()
        or db.execute(f"{query}{merged}", (run_id,)).fetchone()
    )
    if row is None:
        raise NotFound(f"no run {run_id}")
    return _run(db, row, details)


def brief(db: Connection, run_id: int) -> Run:
    """Find a run without its refs, of which a mirror has thousands; or NotFound."""
    row = db.execute(f"SELECT {_BRIEF},NULL FROM runs WHERE id=?", (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"no run {run_id}")
    return _run(db, row, False)


class PageRequest(NamedTuple):
    """Which rows of a list: those before an id, and since a time (ms)."""

    limit: int
    before: int = sys.maxsize
    since: int = 0


def history(
    db: Connection,
    task_id: int | None,
    status: RunStatus | None,
    wanted: PageRequest | int,
) -> list[Run]:
    """List the newest runs first, of one task or all, of one status or all."""
    page = PageRequest(wanted) if isinstance(wanted, int) else wanted
    where = f"id IN ({ids_of_task(status)})" if task_id is not None else "id<:before"
    if task_id is None and status is not None:
        where = "status=:status AND id<:before"
    query = (
        f"SELECT {_COLUMNS},NULL FROM runs WHERE {where} AND created_ms>=:since"
        " ORDER BY id DESC LIMIT :limit"
    )
    values = {"task_id": task_id, "status": status, **page._asdict()}
    return [_run(db, row, False) for row in db.execute(query, values).fetchall()]


def ids_of_task(status: RunStatus | None) -> str:
    """Return a query for the newest ids of `:task_id` before `:before`.

    Each kind of run is found through its own index; also takes `:limit`, `:status`.
    """
    kinds = [*_ALIVE.values(), ENDED]
    if status is not None:
        kinds = [_ALIVE.get(status, f"{ENDED} AND status=:status")]
    of_task = "SELECT id FROM runs WHERE task_id=:task_id AND id<:before"
    each = (f"{of_task} AND {kind}" for kind in kinds)
    return " UNION ALL ".join(each) + " ORDER BY id DESC LIMIT :limit"


def last(db: Connection, task_id: int) -> Run | None:
    """Find the newest run of a task."""
    found = history(db, task_id, None, 1)
    return found[0] if found else None


def _joined(db: Connection, run_id: int) -> tuple[int, ...]:
    query = "SELECT id FROM merged WHERE run_id=?"
    return tuple(column(db, query, (run_id,)))


def _run(db: Connection, row: Row, details: bool) -> Run:
    *values, log = row
    found = dict(zip(_FIELDS, values, strict=True))
    found["status"] = RunStatus(found["status"])
    found["refs"] = _unpacked_refs(found["refs"])
    found["details"] = _unpacked(log) if details else None
    return Run(**found, deliveries=deliveries.of_run(db, found["id"]))


def _storable(text: str) -> str:
    """Escape what UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "backslashreplace"))


def _unpacked(blob: bytes | None) -> str:
    return zlib.decompress(blob).decode() if blob else ""


def _packed_deletions(confirmed: Mapping[str, str] | None) -> bytes | None:
    return None if confirmed is None else _packed(json.dumps(dict(confirmed)))


def _unpacked_deletions(blob: bytes | None) -> Mapping[str, str] | None:
    return None if blob is None else json.loads(_unpacked(blob))


def _packed_undo(undo: Undo | None) -> bytes | None:
    if undo is None:
        return None
    return _packed(json.dumps([undo.run, [ref.values for ref in undo.refs]]))


def _unpacked_undo(blob: bytes | None) -> Undo | None:
    if blob is None:
        return None
    run, rows = json.loads(_unpacked(blob))
    return Undo(run, _refs(rows))


def _packed_refs(refs: tuple[Ref, ...] | None) -> bytes | None:
    if refs is None:
        return None
    return _packed(json.dumps([ref.values for ref in refs]))


def _unpacked_refs(blob: bytes | None) -> tuple[Ref, ...]:
    return _refs(json.loads(_unpacked(blob) or "[]"))


def _refs(rows: Iterable[Sequence[str]]) -> tuple[Ref, ...]:
    return tuple(
        Ref(ref, RefResult(result), old, new, reason)
        for ref, result, old, new, reason in rows
    )
