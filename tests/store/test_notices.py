"""The outbox: what is told when, that nothing is lost, and that nobody is flooded."""

import contextlib
import sqlite3
from itertools import product

import pytest

from gms_hookd.errors import Conflict, NotFound
from gms_hookd.model import RunStatus
from gms_hookd.notify.policy import HEARTBEAT, Subscriber
from gms_hookd.store import Store, clock, gauges, notices, runs, tasks
from gms_hookd.store.runs import NewRun, Result
from tests.support import older

NOW = 1_700_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
ALL = frozenset({"failed", "conflict", "recovered", "changed"})
USUAL = frozenset({"failed", "conflict", "recovered"})
CHAT = Subscriber("chat", USUAL, remind=DAY)


class Outbox:
    def __init__(self, store, *subscribers):
        self.store = store
        self.subscribers = subscribers or (CHAT,)
        self.now = NOW

    def task(self, name="app"):
        draft = tasks.Draft(name, f"/src/{name}", f"/dst/{name}", name)
        return self.store.write(tasks.add, draft, self.now).result()

    def end(self, task, status, kind="", **more):
        """Have a run of a task begin and end."""
        self.store.write(runs.request, task.id, NewRun("manual"), self.now).result()
        claim = self.store.write(runs.claim, self.now).result()
        result = Result(status, kind=kind, **more)
        self.store.write(
            runs.finish,
            claim.run.id,
            result,
            self.now,
            task,
            subscribers=self.subscribers,
        ).result()
        return claim.run.id

    def fill(self, count):
        """Have so many tasks fail at once."""

        def fill(db):
            for number in range(count):
                subject = notices.Subject(task_name=f"t{number}")
                notices.add(db, "chat", "failed", subject, self.now)

        self.store.write(fill).result()

    def remind(self):
        return self.store.write(notices.remind, self.subscribers, self.now).result()

    def listed(self, **which):
        found = self.store.read(notices.latest, notices.Which(**which), 2000).result()
        return found[::-1]

    def events(self, **which):
        return [row.event for row in self.listed(**which)]

    def take(self, name="chat", *, together=True):
        taken = self.store.write(notices.take, name, self.now, together=together)
        return taken.result()


@pytest.fixture
def outbox(store):
    return Outbox(store)


SYMBOLS = {
    "s": (RunStatus.SUCCESS, ""),
    "n": (RunStatus.FAILED, "network"),
    "a": (RunStatus.FAILED, "authentication"),
    "c": (RunStatus.CONFLICT, ""),
    "x": (RunStatus.CANCELLED, ""),
}


@pytest.mark.parametrize(
    ("story", "events"),
    [
        ("ss", []),
        ("sn", ["failed"]),
        ("n", ["failed"]),
        ("nnnn", ["failed"]),
        ("nns", ["failed", "recovered"]),
        ("nass", ["failed", "failed", "recovered"]),
        ("nananana", ["failed", "failed"]),
        ("c", ["conflict"]),
        ("cc", ["conflict"]),
        ("ncs", ["failed", "conflict", "recovered"]),
        ("nxns", ["failed", "recovered"]),
        ("xxs", []),
        ("nsns", ["failed", "recovered", "failed", "recovered"]),
    ],
)
def test_only_what_changes_is_told(outbox, story, events):
    task = outbox.task()
    for symbol in story:
        outbox.end(task, *SYMBOLS[symbol])
        outbox.now += 1000
    assert outbox.events() == events


def test_a_task_that_fails_all_day_is_told_twice_and_its_recovery_once(outbox):
    task = outbox.task()
    for _ in range(50):
        outbox.end(task, RunStatus.FAILED, "network")
        outbox.now += DAY // 50
        outbox.remind()
    outbox.end(task, RunStatus.SUCCESS)
    outbox.remind()
    first, again, over = outbox.listed()
    assert [first.event, again.event, over.event] == ["failed", "failed", "recovered"]
    assert (first.reminder, again.reminder) == (False, True)
    assert (over.failures, over.since) == (50, NOW)
    assert len({first.key, again.key, over.key}) == 3


def test_a_task_that_nobody_triggers_is_reminded_of_each_day_of_its_last_class(outbox):
    conflict = outbox.task()
    outbox.end(conflict, RunStatus.CONFLICT)
    for _ in range(30):
        outbox.now += DAY // 10
        outbox.remind()
    assert outbox.events() == ["conflict"] * 4
    outbox.now -= 2 * DAY  # the clock was set back
    outbox.remind()
    assert len(outbox.events()) == 4


def test_a_clock_that_was_far_ahead_keeps_nobody_from_being_reminded(outbox):
    outbox.end(outbox.task(), RunStatus.FAILED, "network")
    outbox.now -= 400 * DAY
    assert outbox.store.write(clock.bring_back, outbox.now, 9).result() > 0
    assert outbox.store.write(clock.bring_back, outbox.now, 9).result() == 0
    (row,) = outbox.listed()
    assert row.created_at == outbox.now
    for _ in range(3):
        outbox.now += DAY
        outbox.remind()
    assert len(outbox.events()) == 4


def test_each_target_hears_what_it_asked_for(store):
    outbox = Outbox(
        store,
        Subscriber("all", ALL),
        Subscriber("libs", USUAL, tasks=("lib-*",)),
        Subscriber("one", USUAL, tasks=(2,)),
        Subscriber("moved", frozenset({"changed"})),
        Subscriber("beat", frozenset({"success", "failed"}), heartbeat=True),
    )
    app, lib = outbox.task("app"), outbox.task("lib-a")
    outbox.end(app, RunStatus.SUCCESS, commit_range="1..2")
    outbox.end(app, RunStatus.SUCCESS)
    for task in (app, app, lib):
        outbox.end(task, RunStatus.FAILED, "network")
    heard = {name: outbox.events(target=name) for name in ("all", "libs", "one")}
    assert heard == {
        "all": ["changed", "failed", "failed"],
        "libs": ["failed"],
        "one": ["failed"],
    }
    assert outbox.events(target="moved") == ["changed"]
    assert outbox.events(target="beat") == ["success"] * 2 + ["failed"] * 3


def test_a_notice_is_committed_with_the_end_of_its_run(outbox, monkeypatch):
    task = outbox.task()
    monkeypatch.setattr(notices, "_drop_oldest", lambda *_: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        outbox.end(task, RunStatus.FAILED, "network")
    (run,) = outbox.store.read(runs.history, task.id, None, 5).result()
    assert run.status is RunStatus.RUNNING
    assert outbox.listed() == []


def test_with_nobody_to_tell_nothing_is_asked_of_the_store(store):
    outbox = Outbox(store)
    task = outbox.task()
    outbox.subscribers = ()
    statements = []

    def watch(db):
        db.set_trace_callback(statements.append)

    store.write(watch).result()
    outbox.end(task, RunStatus.FAILED, "network")
    assert not [s for s in statements if "notices" in s or "failing" in s]


@pytest.mark.parametrize(("story", "count"), [("s", 2), ("n", 5), ("nn", 3), ("ns", 5)])
def test_the_end_of_a_run_costs_few_statements(outbox, story, count):
    """How many more statements it takes than with nobody to tell, for one target."""
    task = outbox.task()
    for symbol in story[:-1]:
        outbox.end(task, *SYMBOLS[symbol])
    statements = []
    seen = {}
    for subscribers in (outbox.subscribers, ()):
        outbox.subscribers = subscribers
        outbox.store.write(lambda db: db.set_trace_callback(statements.append)).result()
        outbox.end(task, *SYMBOLS[story[-1]])
        outbox.store.write(lambda db: db.set_trace_callback(None)).result()
        seen[bool(subscribers)] = statements[:]
        statements.clear()
    assert len(seen[True]) - len(seen[False]) == count


def test_many_that_wait_become_one_message_with_one_key(outbox):
    outbox.fill(500)
    lot = outbox.take()
    assert len(lot.rows) == 500
    outbox.end(outbox.task("late"), RunStatus.FAILED, "network")
    again = outbox.take()
    assert (again.key, len(again.rows)) == (lot.key, 500)
    outbox.store.write(notices.sent, lot, outbox.now).result()
    rest = outbox.take()
    assert [row.task_name for row in rest.rows] == ["late"]
    assert rest.key != lot.key


def test_few_go_one_by_one_and_a_program_gets_each(outbox):
    outbox.fill(8)
    assert len(outbox.take(together=False).rows) == 1
    for _ in range(3):
        lot = outbox.take(together=False)
        outbox.store.write(notices.sent, lot, outbox.now).result()
    lot = outbox.take()
    assert (len(lot.rows), lot.key) == (1, lot.rows[0].key)


def test_beyond_a_thousand_the_oldest_go_and_the_next_text_says_how_many(
    outbox, monkeypatch
):
    monkeypatch.setattr(notices, "MOST", 10)
    outbox.fill(13)
    statuses = [row.status for row in outbox.listed()]
    assert statuses == ["dropped"] * 3 + ["waiting"] * 10
    lot = outbox.take()
    assert lot.lost == 3
    outbox.store.write(notices.sent, lot, outbox.now).result()
    outbox.end(outbox.task("next"), RunStatus.FAILED, "network")
    assert outbox.take().lost == 0
    assert {row.sent_at for row in outbox.listed(status="dropped")} == {None}


@pytest.mark.parametrize("step", [-(10**9), 0, 10**9])
def test_a_try_that_failed_comes_again_after_its_delay_whatever_the_clock(outbox, step):
    outbox.end(outbox.task(), RunStatus.FAILED, "network")
    lot = outbox.take()
    outbox.store.write(notices.later, lot, outbox.now, 60_000, "no answer").result()
    assert outbox.take() is None
    (row,) = outbox.listed()
    assert (row.attempts, row.error) == (1, "no answer")
    assert row.next_try == outbox.now + 60_000
    outbox.now += step or 60_000
    assert outbox.take().key == lot.key


def test_what_is_given_up_goes_to_the_fallback_once(outbox):
    outbox.end(outbox.task(), RunStatus.FAILED, "network")
    lot = outbox.take()
    store = outbox.store
    store.write(notices.bury, lot, outbox.now, "gone", "mail").result()
    other = outbox.take("mail")
    assert other.rows[0].came_from == "chat"
    store.write(notices.bury, other, outbox.now, "gone too", "chat").result()
    assert outbox.take("chat") is None
    tally = store.read(notices.tallies).result()
    assert (tally["chat"].dead, tally["mail"].last_error) == (1, "gone too")


def test_what_is_dead_counts_until_something_gets_through(outbox):
    task, store = outbox.task(), outbox.store
    outbox.end(task, RunStatus.FAILED, "network")
    store.write(notices.bury, outbox.take(), outbox.now, "gone", None).result()
    outbox.now += 5
    outbox.end(task, RunStatus.FAILED, "authentication")
    assert store.read(notices.tallies).result()["chat"][:2] == (1, 1)
    store.write(notices.sent, outbox.take(), outbox.now).result()
    assert store.read(notices.tallies).result()["chat"] == (0, 0, outbox.now, "")


def test_a_notice_is_sent_again_by_hand_with_its_key(outbox):
    task = outbox.task()
    outbox.end(task, RunStatus.FAILED, "network")
    lot = outbox.take()
    again = ("chat",), outbox.now
    with pytest.raises(Conflict):
        outbox.store.write(notices.resend, lot.key, *again).result()
    outbox.store.write(notices.sent, lot, outbox.now).result()
    outbox.store.write(notices.resend, lot.key, *again).result()
    assert outbox.take().key == lot.key
    with pytest.raises(Conflict):
        outbox.store.write(notices.resend, lot.key, ("mail",), outbox.now).result()
    with pytest.raises(NotFound):
        outbox.store.write(notices.resend, "msg_x", *again).result()


def test_pages_of_the_list_follow_on_each_other(outbox):
    outbox.fill(5)
    first = outbox.store.read(notices.latest, notices.Which(), 3).result()
    which = notices.Which(before=first[-1].key)
    rest = outbox.store.read(notices.latest, which, 3).result()
    assert [row.task_name for row in (*first, *rest)] == ["t4", "t3", "t2", "t1", "t0"]


def test_what_is_over_is_deleted_when_it_is_old(outbox):
    task = outbox.task()
    outbox.end(task, RunStatus.FAILED, "network")
    outbox.store.write(notices.sent, outbox.take(), outbox.now).result()
    outbox.end(task, RunStatus.FAILED, "authentication")
    assert outbox.store.write(notices.prune, NOW + 1, 0).result() == 1
    assert [row.status for row in outbox.listed()] == ["waiting"]


def test_of_heartbeats_only_the_young_and_the_telling_stay(outbox):
    outbox.subscribers = (Subscriber("chat", frozenset(HEARTBEAT), heartbeat=True),)
    task = outbox.task()
    for symbol in "sns":
        outbox.end(task, *SYMBOLS[symbol])
        outbox.store.write(notices.sent, outbox.take(), outbox.now).result()
        outbox.now += DAY
    outbox.store.write(notices.prune, 0, NOW + DAY).result()
    assert outbox.events() == ["failed", "success"]


def test_a_run_that_took_the_daemon_down_is_told_of(outbox):
    task = outbox.task()
    store = outbox.store
    store.write(runs.request, task.id, NewRun("manual"), NOW).result()
    for _ in range(3):
        store.write(runs.claim, NOW).result()
        store.write(runs.recover, NOW, outbox.subscribers).result()
    assert outbox.events() == ["failed"]


def test_a_removed_task_leaves_nothing_and_its_late_end_is_told(outbox):
    task = outbox.task()
    store = outbox.store
    store.write(runs.request, task.id, NewRun("manual"), NOW).result()
    claim = store.write(runs.claim, NOW).result()
    store.write(tasks.remove, task.id, NOW).result()
    result = Result(RunStatus.FAILED, kind="network")
    store.write(
        runs.finish, claim.run.id, result, NOW, task, subscribers=(CHAT,)
    ).result()
    assert outbox.remind() == 0
    assert (
        store.write(lambda db: db.execute("SELECT * FROM failing").fetchall()).result()
        == []
    )


def test_an_older_file_gets_the_outbox(tmp_path):
    path = older.made(tmp_path / "gms-hookd.db", 6)
    with contextlib.closing(sqlite3.connect(path)) as db:
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    assert "notices" not in names
    store = Store.open(path)
    outbox = Outbox(store)
    outbox.end(outbox.task(), RunStatus.FAILED, "network")
    assert outbox.events() == ["failed"]
    store.close()


def test_no_list_and_no_count_looks_at_all_notices(store):
    subject = notices.Subject(1, "t", 1)

    def fill(db):
        for number in range(600):
            notices.add(db, f"target-{number % 3}", "failed", subject, number)
        db.execute("UPDATE notices SET status='sent' WHERE number>5")

    store.write(fill).result()
    every = store.read(notices.latest, notices.Which(), 1000).result()
    for target, status in product((None, "target-1", "x"), (None, *notices.STATUSES)):
        for limit, before in ((1000, None), (2, every[0].key), (2, every[-3].key)):
            which = notices.Which(target, status, before)
            end = next((row.number for row in every if row.key == before), 1000)
            assert (
                store.read(notices.latest, which, limit).result()
                == [
                    row
                    for row in every
                    if target in (None, row.target)
                    and status in (None, row.status)
                    and row.number < end
                ][:limit]
            )
    steps = []

    def counted(db):
        db.set_progress_handler(lambda: steps.append(1), 10)
        try:
            notices.latest(db, notices.Which("target-1", "dead"), 20)
            return gauges.gauges(db).notices
        finally:
            db.set_progress_handler(None, 0)

    waiting = store.read(counted).result()
    assert waiting == {"target-0": 2, "target-1": 2, "target-2": 1}
    assert len(steps) < 60  # of a look at each there would be hundreds
