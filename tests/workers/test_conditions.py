"""What concerns all tasks is told once when it lasts, once when it is over."""

import json
import sqlite3
import threading
from dataclasses import replace

import pytest

from gms_hookd.git.process import Stop
from gms_hookd.notify.policy import Subscriber
from gms_hookd.runlog import RunLog
from gms_hookd.store import dbthread, notices, runs
from gms_hookd.store.runs import NewRun
from gms_hookd.workers import conditions
from gms_hookd.workers.conditions import Conditions, Senses
from tests.support.in_process import Place, until
from tests.workers.test_notifier import office, recipient

__all__ = ["office"]  # fixtures
MIB = 1 << 20
ALL = frozenset({"stalled", "store", "disk"})
HOUR = 3600.0


class Watch:
    """What looks, and what it is shown."""

    def __init__(self, place, events=ALL, **more):
        self.place, self.free, self.problems = place, 2048 * MIB, []
        self.events = events
        chat = place.recipients["chat"]
        place.recipients["chat"] = replace(
            chat, subscriber=Subscriber("chat", events), **more
        )
        self.start()

    def start(self):
        """Look as a process does that has just started."""
        senses = Senses(
            lambda: HOUR,
            lambda: self.free,
            lambda: self.problems,
            lambda name: ("chat",) if name in self.events else (),
            self.place.notifier.tell_now,
        )
        made = lambda: self.place.context  # noqa: E731
        self.own = Conditions(made, senses, self.place.stopping)

    def look(self, *steps):
        for step in steps or (0,):
            self.place.clock.forward(step)
            self.own.look()
        self.place.send()

    def events_told(self):
        return [row.event for row in self.place.outbox.listed()]


@pytest.fixture
def watch(office, vendor):
    return Watch(office(recipient(vendor)))


def titles(vendor):
    return [json.loads(got.body)["text"] for got in vendor.got]


def test_a_disk_is_told_once_and_when_it_has_room_again(watch, vendor):
    watch.look(5, 5)
    watch.free = 200 * MIB
    watch.look(5, 20)
    assert titles(vendor) == []
    watch.look(15, 60, 600)
    watch.free = 300 * MIB
    watch.look(60, 60)
    assert watch.events_told() == ["disk"]
    watch.free = 900 * MIB
    watch.look(5, 60, 60)
    assert titles(vendor) == [
        "[DISK] the disk is nearly full",
        "[RECOVERED after 14 min 40 s] the disk has room again",
    ]
    assert b"only 200 MiB are free" in vendor.got[0].body


def test_what_passes_at_once_is_not_told(watch):
    for _ in range(10):
        watch.free = 10 * MIB
        watch.look(5)
        watch.free = 2048 * MIB
        watch.look(5)
    assert watch.events_told() == []


def test_a_restart_tells_it_neither_again_nor_for_the_first_time(watch):
    watch.free = 0
    watch.look(0, 60)
    for _ in range(3):
        watch.start()
        watch.look(0, 60)
    watch.free = 2048 * MIB
    watch.start()
    watch.look(0, 60)
    watch.start()
    watch.look(0, 60)
    assert watch.events_told() == ["disk", "recovered"]


def test_a_queue_that_stands_still_names_the_run_that_waits(watch, vendor, context):
    place = watch.place
    watch.look(0, 2 * HOUR)
    ask = place.app.id, NewRun("manual"), context.now()
    run_id = context.store.write(runs.request, *ask).result().id
    watch.look(0, HOUR - 1)
    assert watch.events_told() == []
    watch.look(2, HOUR)
    (row,) = place.outbox.listed()
    assert (row.event, row.run_id, row.task_name) == ("stalled", run_id, "app")
    assert titles(vendor) == ["[STALLED] the queue has not moved for 1 h"]
    assert f"run {run_id}" in vendor.got[0].body.decode()
    context.store.write(runs.claim, context.now()).result()
    context.running.began(run_id, 1, RunLog(), Stop())
    watch.look(60)
    context.running.paused(run_id)
    watch.look(60)
    assert watch.events_told() == ["stalled", "recovered"]


def test_a_queue_whose_runs_are_not_due_yet_or_that_moves_is_not_stalled(
    watch, context
):
    place = watch.place
    other = place.outbox.task("other")
    later = int(context.now() + 10 * HOUR * 1000)
    context.store.write(runs.request, other.id, NewRun("manual"), later).result()
    watch.look(0, 2 * HOUR, 2 * HOUR)
    ask = place.app.id, NewRun("manual"), context.now()
    context.store.write(runs.request, *ask).result()
    for number in range(5):
        watch.look(0.9 * HOUR)
        context.running.began(number, 1, RunLog(), Stop())
        context.running.paused(number)
    assert watch.events_told() == []


def test_what_cannot_be_found_out_is_not_over(watch, context, monkeypatch):
    watch.free = 0
    watch.look(0, 60)
    watch.free = None
    ask = watch.place.app.id, NewRun("manual"), context.now()
    context.store.write(runs.request, *ask).result()
    watch.look(0, HOUR, 60)
    assert watch.events_told() == ["disk", "stalled"]
    held = threading.Event()
    with monkeypatch.context() as hasty:
        hasty.setattr(conditions, "PATIENCE", 0.1)
        context.store.read(lambda _: held.wait(30))
        watch.own.look()
        held.set()
    watch.look(60, 60)
    assert watch.events_told() == ["disk", "stalled"]


@pytest.fixture
def locked(context, monkeypatch):
    """Lock the store, so that it takes nothing; gives what unlocks it."""
    monkeypatch.setattr(dbthread, "BUSY_MS", 0)
    other = sqlite3.connect(context.store.path)
    yield other
    other.close()


def test_a_store_that_takes_nothing_is_told_of_without_it(watch, vendor, locked):
    watch.look()
    locked.execute("BEGIN IMMEDIATE")
    watch.problems = ["store: cannot be committed: x", "git: is not on the PATH"]
    watch.look(0, 60)
    assert until(lambda: titles(vendor) == ["[STORE] the store cannot be used"])
    assert b"cannot be committed: x" in vendor.got[0].body
    until(lambda: watch.own._unwritten[0].announced)
    watch.look(60, 60)
    assert len(vendor.got) == 1, "it is told once"
    locked.execute("ROLLBACK")
    watch.problems = []
    watch.look(0, 60)
    first, second = watch.place.outbox.listed()
    assert [first.event, second.event] == ["store", "recovered"]
    assert first.status == "sent"
    watch.place.send(60)
    assert "the store can be used again" in titles(vendor)[-1]
    assert len(vendor.got) == 2


def test_what_nobody_took_without_the_store_is_sent_with_the_same_key(
    office, vendor, locked
):
    watch = Watch(office(recipient(vendor, kind="webhook")))
    watch.look()
    vendor.answer = 503, b""
    locked.execute("BEGIN IMMEDIATE")
    watch.problems = ["store: no answer for 36 s"]
    watch.look(0, 60)
    assert until(lambda: vendor.got)
    locked.execute("ROLLBACK")
    vendor.answer = 200, b""
    watch.look(60)
    watch.place.send(60)
    watch.place.send(60)
    first, last = vendor.got[0], vendor.got[-1]
    assert watch.place.statuses() == ["sent"]
    assert first.headers["webhook-id"] == last.headers["webhook-id"]
    sent = json.loads(last.body)
    assert sent["type"] == "sync.store"
    assert sent["data"]["message"].endswith("no answer for 36 s")
    assert (sent["data"]["task"], sent["data"]["failures"]) == (None, 0)


def test_a_disk_that_is_full_is_one_trouble(watch):
    watch.free = 0
    watch.problems = ["store: cannot be committed: database or disk is full"]
    watch.look(0, 60)
    assert watch.events_told() == ["disk"]


def test_a_target_that_did_not_ask_for_it_hears_nothing(office, vendor):
    watch = Watch(office(recipient(vendor)), frozenset({"stalled"}))
    watch.free = 0
    watch.look(0, 60)
    assert watch.events_told() == []
    watch.events = ALL  # after a reload
    watch.look(0, 60)
    assert watch.events_told() == ["disk"]


def test_it_is_told_in_chinese_and_to_the_fallback(office, vendor, context):
    watch = Watch(office(recipient(vendor)), language="zh")
    watch.free = 77 * MIB
    watch.look(0, 60)
    assert titles(vendor) == ["[磁盘] 磁盘空间即将用尽"]
    assert "仅剩 77 MiB" in vendor.got[0].body.decode()
    (row,) = watch.place.outbox.listed()
    lot = notices.Lot(row.key, (row,))
    context.store.write(notices.resend, row.key, ("chat",), context.now()).result()
    context.store.write(notices.bury, lot, context.now(), "no", "mail").result()
    assert watch.place.outbox.listed(target="mail")[0].condition == "disk"


def test_a_service_tells_it_by_itself(tmp_path, vendor, monkeypatch):
    """The disk is a real one, which is low by a limit that no disk meets."""
    for name, value in (("TICK", 0.02), ("LASTS", 0.0), ("LOW", 1 << 62)):
        monkeypatch.setattr(conditions, name, value)
    monkeypatch.setattr(conditions, "ENOUGH", 1 << 62)
    (tmp_path / "url").write_text(vendor.url)
    (tmp_path / "url").chmod(0o600)
    text = "[notify.ops]\nkind = 'slack'\nurl_file = 'url'\nevents = ['disk']\n"
    place = Place(tmp_path, text)
    try:
        until(lambda: vendor.got)
    finally:
        place.close()
    assert titles(vendor) == ["[DISK] the disk is nearly full"]
