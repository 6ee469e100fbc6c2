"""Checks of real sources, with a real engine and store; the clock is ours."""

import sqlite3
import threading
from contextlib import closing

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from gms_hookd.store import runs, source_checks, tasks
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.threads import Pool, Threads
from gms_hookd.workers.reconciler import Reconciler
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.worker import Rules, Worker
from tests.support.repositories import ENVIRON, Repo

INTERVAL = 900.0


class Yard:
    """A source, a target, their task, and those who work on it."""

    def __init__(self, context, tmp_path, url=str, **more):
        self.context, self.stopping = context, threading.Event()
        self.source, self.target = (Repo(tmp_path / n) for n in ("source", "target"))
        self.source.commit()
        (tmp_path / "caches").mkdir(exist_ok=True)
        (tmp_path / "home").mkdir(exist_ok=True)
        protocols = ("file", "http")
        settings = EngineSettings(tmp_path / "home", 30.0, allow_protocols=protocols)
        engine = Engine(tmp_path / "caches", settings, ENVIRON)
        rules = Rules(engine, RetryPolicy(attempts=1))
        self.worker = Worker(context, lambda: rules, self.stopping)
        self.interval, self.chance = INTERVAL, 0.0
        self.threads = Threads()
        pool = Pool(self.threads, "check", 1)
        self.reconciler = Reconciler(
            context,
            pool,
            lambda: engine,
            lambda: self.interval,
            self.stopping,
            chance=lambda: self.chance,
        )
        self.at = url(self.target)
        self.task = self.add("app", **more)

    def add(self, name, source=None, **more):
        url = str(source or self.source)
        self.draft = tasks.Draft(name, url, self.at, cache_key(url), **more)
        return self.do(tasks.add, self.draft, self.context.now())

    def do(self, operation, *args):
        return self.context.store.write(operation, *args).result()

    def due(self, limit=9):
        return self.do(
            source_checks.due, self.context.now(), int(self.interval * 1000), limit
        )

    def sync(self):
        self.do(runs.request, self.task.id, runs.NewRun("manual"), self.context.now())
        self.worker.run_one()

    def round(self):
        """Carry out what is due; return the triggers of the queued runs."""
        for check in self.due():
            self.reconciler.check(check)
        queued = self.do(runs.history, None, RunStatus.QUEUED, 9)
        return [(run.task_name, run.trigger) for run in queued]

    def last(self):
        return self.do(runs.last, self.task.id)


@pytest.fixture
def yard(context, tmp_path):
    return Yard(context, tmp_path)


def test_a_change_that_no_webhook_told_gets_a_run(yard, clock):
    yard.sync()
    new = yard.source.commit()
    clock.forward(INTERVAL)
    assert yard.round() == [("app", "reconcile")]
    yard.worker.run_one()
    assert yard.target.tip() == new
    clock.forward(2 * INTERVAL)
    assert yard.round() == []


def test_a_source_that_is_in_step_gets_none(yard, clock):
    yard.sync()
    clock.forward(INTERVAL)
    assert yard.round() == []
    assert yard.last().trigger == "manual"


def test_after_a_start_whatever_was_ever_synced_is_checked_within_a_minute(yard, clock):
    yard.sync()
    yard.add("never-synced")
    yard.do(source_checks.begin, yard.context.now(), 60_000)
    clock.forward(61)
    assert [check.task.name for check in yard.due()] == ["app"]


def test_a_task_that_was_deleted_by_hand_holds_up_no_checks(yard):
    """sqlite's own command leaves what belongs to a row: it has foreign keys off."""
    yard.sync()
    with closing(sqlite3.connect(yard.context.store.path)) as db, db:
        db.execute("DELETE FROM tasks")
    yard.do(source_checks.begin, yard.context.now(), 60_000)
    assert yard.due() == []


def test_a_task_that_was_never_synced_is_checked_after_one_interval(yard, clock):
    assert yard.due() == []
    clock.forward(INTERVAL)
    assert yard.round() == [("app", "reconcile")]


@pytest.mark.parametrize(("chance", "wait"), [(0.0, INTERVAL), (0.5, 810), (1.0, 720)])
def test_each_task_is_checked_within_an_interval(yard, clock, chance, wait):
    yard.sync()
    clock.forward(INTERVAL)
    yard.chance = chance
    yard.round()
    clock.forward(wait - 1)
    assert yard.due() == []
    clock.forward(1)
    assert len(yard.due()) == 1


def test_a_task_that_is_disabled_queued_or_running_is_not_checked(yard, clock):
    clock.forward(INTERVAL)
    yard.do(runs.request, yard.task.id, runs.NewRun("manual"), yard.context.now())
    assert yard.due() == []
    claimed = yard.do(runs.claim, yard.context.now())
    assert yard.due() == []
    yard.do(runs.finish, claimed.run.id, runs.Result(RunStatus.SUCCESS), 0)
    assert len(yard.due()) == 1
    off = tasks.Draft("app", yard.task.source, yard.task.target, "c", enabled=False)
    yard.do(tasks.change, yard.task.id, off, yard.context.now())
    assert yard.due() == []


def test_a_conflict_is_not_tried_again_until_the_source_changes(yard, clock):
    yard.sync()
    yard.target.commit()
    yard.source.commit()
    clock.forward(INTERVAL)
    assert len(yard.round()) == 1
    yard.worker.run_one()
    assert yard.last().status is RunStatus.CONFLICT
    clock.forward(10 * INTERVAL)
    assert yard.round() == []
    yard.source.commit()
    clock.forward(2 * INTERVAL)
    assert len(yard.round()) == 1


def test_what_failed_is_tried_again_after_an_hour(yard, clock):
    yard.sync()
    yard.source.commit()
    moved = yard.target.path.rename(yard.target.path.with_name("away"))
    clock.forward(INTERVAL)
    assert len(yard.round()) == 1
    yard.worker.run_one()
    assert yard.last().status is RunStatus.FAILED
    clock.forward(3599)
    assert yard.round() == []
    moved.rename(yard.target.path)
    clock.forward(INTERVAL + 1)
    assert len(yard.round()) == 1
    yard.worker.run_one()
    assert yard.target.tip() == yard.source.tip()


def test_a_source_that_cannot_be_read_is_a_warning_and_no_run(yard, clock, caplog):
    yard.add("gone", yard.source.path.with_name("nowhere"))
    yard.sync()
    clock.forward(INTERVAL)
    assert yard.round() == []
    assert "look failed task=2" in caplog.text
    assert yard.due() == []


def test_only_selected_refs_count(context, clock, tmp_path):
    specs = ("refs/heads/main:refs/heads/release", "HEAD:refs/heads/head")
    yard = Yard(context, tmp_path, refspecs=specs)
    yard.sync()
    assert set(yard.target.refs()) == {"refs/heads/release", "refs/heads/head"}
    yard.source.commit("other")
    clock.forward(INTERVAL)
    assert yard.round() == []
    yard.source.commit("main")
    clock.forward(2 * INTERVAL)
    assert yard.round() == [("app", "reconcile")]


@pytest.mark.parametrize("prune", [False, True])
def test_a_deletion_counts_only_where_the_task_prunes(context, clock, tmp_path, prune):
    yard = Yard(context, tmp_path, prune=prune)
    yard.source.commit("gone")
    yard.sync()
    yard.source.set(gone=None)
    clock.forward(INTERVAL)
    assert len(yard.round()) == prune


def loses_a_branch(target):
    target.set(dev=None)


def loses_all(target):
    target.put(dict.fromkeys(target.refs()))


def is_rewound(target):
    target.set(dev=target.tip())


@pytest.mark.parametrize("happens", [loses_a_branch, loses_all, is_rewound])
@pytest.mark.parametrize("times", [2])
def test_what_a_target_lost_is_brought_back_each_time(yard, clock, happens, times):
    yard.source.commit("dev", on=yard.source.tip())
    yard.sync()
    for _ in range(times):
        happens(yard.target)
        clock.forward(2 * INTERVAL)
        assert yard.round() == [("app", "reconcile")]
        yard.worker.run_one()
        assert yard.last().status is RunStatus.SUCCESS
        assert yard.target.refs() == yard.source.refs()
        clock.forward(2 * INTERVAL)
        assert yard.round() == []


def test_what_was_done_again_before_the_next_check_is_mended_again(yard, clock):
    yard.source.commit("dev")
    yard.sync()
    for _ in range(2):
        loses_a_branch(yard.target)
        clock.forward(2 * INTERVAL)
        assert len(yard.round()) == 1
        yard.worker.run_one()
    assert yard.target.refs() == yard.source.refs()


def test_a_target_that_somebody_moved_ahead_is_a_conflict_once(yard, clock):
    yard.sync()
    theirs = yard.target.commit()
    for count in (1, 0, 0):
        clock.forward(2 * INTERVAL)
        assert len(yard.round()) == count
        yard.worker.run_one()
    assert yard.last().status is RunStatus.CONFLICT
    assert yard.target.tip() == theirs


def test_what_a_target_has_beside_matters_only_where_the_task_prunes(
    context, clock, tmp_path
):
    yard = Yard(context, tmp_path)
    yard.sync()
    yard.target.commit("theirs")
    clock.forward(INTERVAL)
    assert yard.round() == []
    yard.do(tasks.change, 1, yard.draft._replace(prune=True), 0)
    clock.forward(2 * INTERVAL)
    assert len(yard.round()) == 1
    yard.worker.run_one()
    assert yard.target.refs() == yard.source.refs()


def test_a_default_branch_that_is_kept_is_not_tried_at_each_check(
    context, clock, tmp_path
):
    specs = ("refs/heads/dev*:refs/heads/*",)
    yard = Yard(context, tmp_path, refspecs=specs, prune=True)
    yard.source.commit("devone")
    yard.sync()
    yard.target.commit("main")
    for count in (1, 0, 0):
        clock.forward(2 * INTERVAL)
        assert len(yard.round()) == count
        yard.worker.run_one()
    assert yard.last().status is RunStatus.SUCCESS


def test_a_target_that_went_away_is_told_by_a_run_that_fails(yard, clock):
    yard.sync()
    yard.target.path.rename(yard.target.path.with_name("away"))
    for count in (1, 0):
        clock.forward(1.2 * INTERVAL)
        assert len(yard.round()) == count
        yard.worker.run_one()
    assert yard.last().status is RunStatus.FAILED


def test_a_target_that_cannot_be_reached_now_is_no_reason_for_a_run(
    context, clock, tmp_path, http_host, caplog
):
    yard = Yard(context, tmp_path, url=http_host.url)
    yard.sync()
    http_host.faults.append(lambda request: request.answer(503) or True)
    clock.forward(INTERVAL)
    assert yard.round() == []
    assert "look failed task=1" in caplog.text
    http_host.faults.clear()
    loses_all(yard.target)
    clock.forward(2 * INTERVAL)
    assert len(yard.round()) == 1


def test_an_interval_of_zero_checks_nothing(yard, clock):
    yard.interval = 0.0
    clock.forward(10 * INTERVAL)
    yard.reconciler.turn()
    assert yard.reconciler._under_way == {}


def test_the_thread_finds_a_change_and_ends_when_told(yard, clock, monkeypatch):
    monkeypatch.setattr("gms_hookd.workers.reconciler.TICK", 0.05)
    yard.sync()
    yard.source.commit()
    wakes = yard.context.running.wakes
    thread = yard.threads.start("reconcile", yard.reconciler.run_forever)
    try:
        clock.forward(INTERVAL)
        yard.context.running.await_wake(wakes, 20)
        assert yard.last().trigger == "reconcile"
    finally:
        yard.stopping.set()
        thread.join(20)
    assert not thread.is_alive()
