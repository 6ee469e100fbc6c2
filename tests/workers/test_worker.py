"""Workers carry runs out with real git, and record how they ended."""

import threading
from dataclasses import replace

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import FINAL, RunStatus
from gms_hookd.store import runs, tasks
from gms_hookd.store.runs import NewRun
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.threads import Supervised, Threads
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.running import RunningRuns
from gms_hookd.workers.worker import Rules, Worker
from tests.support.pair import git


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    git("init", "-q", "-b", "main", str(path))
    git("commit", "-q", "--allow-empty", "-m", "one", cwd=path)
    return path


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target.git"
    git("init", "-q", "--bare", str(path))
    return path


@pytest.fixture
def stopping():
    return threading.Event()


@pytest.fixture
def make_worker(context, tmp_path, stopping):
    def make(binary="git", policy=None, **settings):
        settings = EngineSettings(tmp_path / "home", binary=str(binary), **settings)
        engine = Engine(tmp_path / "caches", settings, {"PATH": "/usr/bin:/bin"})
        rules = Rules(engine, policy or RetryPolicy())
        return Worker(context, lambda: rules, stopping, lambda: 1.0)

    return make


@pytest.fixture
def run_id(context, source, target):
    draft = tasks.Draft(
        name="one",
        source=str(source),
        target=str(target),
        cache=cache_key(str(source)),
        refspecs=("refs/heads/main:refs/heads/release",),
    )
    task = context.store.write(tasks.add, draft, context.now()).result()
    new_run = NewRun("manual")
    return (
        context.store.write(runs.request, task.id, new_run, context.now()).result().id
    )


def get(context, run_id):
    return context.store.read(runs.get, run_id, details=True).result()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_run_moves_the_target_and_records_what_it_did(
    context, make_worker, run_id, source, target
):
    assert make_worker().run_one() == run_id
    tip = git("rev-parse", "HEAD", cwd=source)
    assert git("rev-parse", "refs/heads/release", cwd=target) == tip
    run = get(context, run_id)
    assert (run.status, run.attempt, run.commit_range) == (RunStatus.SUCCESS, 1, tip)
    assert [(ref.ref, ref.result) for ref in run.refs] == [
        ("refs/heads/release", "created")
    ]
    assert "push" in run.details


def test_a_run_that_changes_nothing_is_a_success_without_a_range(
    context, make_worker, run_id
):
    worker = make_worker()
    worker.run_one()
    again = context.store.write(
        runs.request, 1, NewRun("manual"), context.now()
    ).result()
    worker.run_one()
    run = get(context, again.id)
    assert (run.status, run.commit_range) == (RunStatus.SUCCESS, "")


def test_a_machine_without_git_burns_no_attempts_of_a_webhook(
    context, make_worker, run_id, clock, tmp_path
):
    once = RetryPolicy(attempts=1)
    context.store.write(runs.cancel, run_id, context.now()).result()
    new_run = NewRun("webhook:task-sync")
    waiting = context.store.write(runs.trigger, 1, new_run, context.now()).result()
    for _ in range(3):
        make_worker(tmp_path / "nothing", once).run_one()
        run = get(context, waiting)
        assert run.status is RunStatus.QUEUED
        assert "cannot be run" in run.error_message
        clock.forward(60)
    make_worker(policy=once).run_one()
    assert get(context, waiting).status is RunStatus.SUCCESS


def test_a_person_is_told_that_there_is_no_git(context, make_worker, run_id, tmp_path):
    make_worker(tmp_path / "nothing", RetryPolicy(attempts=1)).run_one()
    assert get(context, run_id).status is RunStatus.FAILED


def test_a_person_has_the_target_looked_at_and_mended(
    context, make_worker, run_id, target, source
):
    worker = make_worker()
    worker.run_one()
    git("update-ref", "-d", "refs/heads/release", cwd=target)
    context.store.write(runs.request, 1, NewRun("manual"), context.now()).result()
    worker.run_one()
    tip = git("rev-parse", "HEAD", cwd=source)
    assert git("rev-parse", "refs/heads/release", cwd=target) == tip


def test_an_empty_queue_is_no_work(make_worker):
    assert make_worker().run_one() is None


def test_a_transient_failure_is_tried_again_with_growing_delays(
    context, make_worker, run_id, tmp_path, clock
):
    failing = script(tmp_path / "git", "echo 'Could not resolve host: x' >&2; exit 128")
    worker = make_worker(failing, RetryPolicy(attempts=3, base=10))
    for attempt, delay in ((1, 10), (2, 20)):
        assert worker.run_one() == run_id
        run = get(context, run_id)
        assert (run.status, run.attempt) == (RunStatus.QUEUED, attempt)
        assert worker.run_one() is None
        clock.forward(delay)
    worker.run_one()
    run = get(context, run_id)
    assert (run.status, run.attempt) == (RunStatus.FAILED, 3)
    assert "resolve host" in run.error_message
    assert run.details.count("resolve host") >= 3


def test_a_full_disk_is_waited_out(
    context, make_worker, run_id, clock, tmp_path, source, target, small_disk
):
    worker = make_worker()
    disk = small_disk(tmp_path / "caches")
    disk.fill()
    worker.run_one()
    run = get(context, run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 1)
    assert "No space left" in run.error_message
    assert worker.run_one() is None, "it is not due yet"
    disk.free()
    clock.forward(60)
    worker.run_one()
    assert get(context, run_id).status is RunStatus.SUCCESS


def test_a_lasting_failure_is_not_tried_again(context, make_worker, run_id, source):
    git("branch", "-m", "main", "other", cwd=source)
    make_worker().run_one()
    assert get(context, run_id).status in FINAL
    assert get(context, run_id).status is not RunStatus.SUCCESS


def test_a_diverged_target_is_a_conflict_and_stays(
    context, make_worker, run_id, target, source, tmp_path
):
    theirs = tmp_path / "theirs"
    git("init", "-q", "-b", "release", str(theirs))
    git("commit", "-q", "--allow-empty", "-m", "theirs", cwd=theirs)
    git("push", "-q", str(target), "release", cwd=theirs)
    make_worker().run_one()
    assert get(context, run_id).status is RunStatus.CONFLICT
    tip = git("rev-parse", "HEAD", cwd=theirs)
    assert git("rev-parse", "refs/heads/release", cwd=target) == tip


def hanging(tmp_path):
    started = tmp_path / "started"
    return started, script(tmp_path / "git", f"touch {started}; sleep 60")


def wait_for(path):
    watch = threading.Event()
    while not path.exists():
        watch.wait(0.01)


def in_thread(worker):
    thread = threading.Thread(target=worker.run_one)
    thread.start()
    return thread


def test_a_run_under_way_can_be_cancelled(context, make_worker, run_id, tmp_path):
    started, binary = hanging(tmp_path)
    thread = in_thread(make_worker(binary, grace=0.2))
    wait_for(started)
    watch = context.running.watch(run_id, 30)
    context.running.stop(run_id, "cancelled")
    assert watch.future.result(timeout=30)
    thread.join()
    assert get(context, run_id).status is RunStatus.CANCELLED


def test_a_shutdown_hands_the_run_back_without_counting_it(
    context, make_worker, run_id, tmp_path, stopping
):
    started, binary = hanging(tmp_path)
    thread = in_thread(make_worker(binary, grace=0.2))
    wait_for(started)
    stopping.set()
    context.running.stop_all("shutdown")
    thread.join()
    run = get(context, run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 1)
    claim = context.store.write(runs.claim, context.now()).result()
    assert claim.failures == 0


def test_a_stop_that_comes_before_the_run_is_under_way_is_not_lost(
    context, make_worker, run_id, tmp_path
):
    _, binary = hanging(tmp_path)
    context.running.stop(run_id, "cancelled")
    make_worker(binary, grace=0.2).run_one()
    assert get(context, run_id).status is RunStatus.CANCELLED


IDLE = Supervised("worker", lambda _: None, threading.Event(), lambda: 0.0)


class Pouring(threading.Event):
    """While a worker waits, time passes and triggers pour in: each time, or once."""

    def __init__(self, running, clock, times):
        super().__init__()
        self.running, self.clock, self.times = running, clock, times
        self.waited = 0.0

    def wait(self, timeout=None):
        self.waited += timeout
        self.clock.forward(timeout)
        self.times -= 1
        if self.times > 0:
            self.pour()
        return self.is_set()

    def pour(self):
        for _ in range(20):
            self.running.arrived()


@pytest.mark.parametrize(("times", "least"), [(2, 0.09), (1000, 0.24)])
def test_a_run_lets_a_flood_of_triggers_pass_but_not_for_long(
    context, clock, make_worker, run_id, times, least
):
    running = RunningRuns(clock)
    pouring = Pouring(running, clock, times)
    worker = make_worker()
    worker = Worker(replace(context, running=running), worker.rules, pouring)
    running.watch(run_id, 60).future.add_done_callback(lambda _: pouring.set())
    pouring.pour()
    worker.run_forever(IDLE)
    running.close()
    assert get(context, run_id).status is RunStatus.SUCCESS
    assert least < pouring.waited < 0.3


def test_a_lone_trigger_waits_for_nothing(context, clock, make_worker, run_id):
    running = RunningRuns(clock)
    pouring = Pouring(running, clock, 0)
    worker = Worker(replace(context, running=running), make_worker().rules, pouring)
    running.watch(run_id, 60).future.add_done_callback(lambda _: pouring.set())
    running.arrived()
    worker.run_forever(IDLE)
    running.close()
    assert get(context, run_id).status is RunStatus.SUCCESS
    assert pouring.waited == 0.0


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_defect_of_ours_fails_the_run_and_neither_hides_nor_lasts(
    context, make_worker, run_id, place, caplog
):
    def broken(*_):
        raise ZeroDivisionError

    worker = make_worker()
    setattr(worker, {"before": "rules", "after": "_delay"}[place], broken)
    assert worker.run_one() == run_id
    run = get(context, run_id)
    assert run.status is RunStatus.FAILED
    assert run.error_message == "internal error: see the log of the daemon"
    assert context.running.under_way == 0
    assert "run broke run=1 task=1" in caplog.text
    assert worker.run_one() is None


class Failing(RunningRuns):
    """Fails as often as it is told to, once the ends of runs are recorded."""

    failures = 0

    def ended(self, run_ids):
        self.failures -= 1
        if self.failures >= 0:
            raise MemoryError
        super().ended(run_ids)


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_worker_that_fails_with_a_run_in_hand_sees_to_it_when_it_goes_on(
    context, make_worker, run_id, stopping, monkeypatch, failures
):
    monkeypatch.setattr("gms_hookd.threads.PAUSE", 0.01)
    failing, threads = Failing(), Threads()
    failing.failures = failures
    worker = make_worker()
    worker.context = replace(context, running=failing)
    watch = failing.watch(run_id, 60.0)
    thread = threads.start("worker", worker.run_forever)
    assert watch.future.result(60.0) is True
    assert get(context, run_id).status is RunStatus.SUCCESS
    assert not failing.is_carried(run_id)
    stopping.set()
    failing.wake_all()
    thread.join(60.0)
    failing.close()


def test_what_there_was_no_memory_for_is_tried_again(context, make_worker, run_id):
    worker = make_worker()

    class Full:
        def sync(self, *_):
            raise MemoryError

    rules = worker.rules()
    worker.rules = lambda: rules._replace(engine=Full())
    worker.run_one()
    assert get(context, run_id).status is RunStatus.QUEUED
