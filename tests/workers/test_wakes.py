"""Who is woken when: no run waits while a worker could take it, and few look in vain.

Here nobody looks again by itself (IDLE is an hour), so that a wake that is missed, or
given before what it tells of, leaves a run in the queue for good.
"""

import random
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from gms_hookd.model import FINAL, RunStatus
from gms_hookd.store import runs, tasks
from gms_hookd.store.runs import NewRun
from gms_hookd.sync.job import SyncResult
from gms_hookd.threads import Threads
from gms_hookd.workers import worker
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.worker import Rules, Worker

LONG = 30.0  # seconds, for a machine that has much else to do
DONE = SyncResult(RunStatus.SUCCESS)
FAILED = SyncResult(RunStatus.FAILED, error_message="no", transient=True)


class Steps:
    """An engine whose runs fetch, and end, when they are let."""

    def __init__(self, running):
        self.running = running
        self.begun = threading.Semaphore(0)
        self.fetch, self.fetched, self.end = (threading.Semaphore(0) for _ in "123")
        self.results = []

    def sync(self, job, log, stop):
        self.begun.release()
        assert self.fetch.acquire(timeout=LONG)
        self.running.fetched(job.run)
        self.fetched.release()
        assert self.end.acquire(timeout=LONG)
        return self.results.pop(0) if self.results else DONE


class Chance:
    """An engine that takes its time, fails at times, and changes the task at times."""

    def __init__(self, queue, seed):
        self.queue, self.random = queue, random.Random(seed)

    def sync(self, job, log, stop):
        self.pause()
        if self.random.random() < 0.9:
            self.queue.running.fetched(job.run)
        self.pause()
        chance = self.random.random()
        if chance < 0.1:
            target = f"/t/{self.random.random()}"
            self.queue.change(job.task, target=target)
        log.note_host("https://dead.example", self.random.random() < 0.5)
        return FAILED if chance > 0.8 else DONE

    def pause(self):
        threading.Event().wait(self.random.choice((0, 0, 0.001, 0.003)))


class Queue:
    """A real store, and workers that nobody but their wakes tells of work."""

    def __init__(self, context, stack):
        self.store, self.running = context.store, context.running
        self.context = replace(context, clock=time.time, monotonic=time.monotonic)
        self.stopping = threading.Event()
        self.threads = Threads()
        self.stack = stack
        self.leases = 0
        self.after_lease = []

    def write(self, operation, *args):
        return self.store.write(operation, *args).result(LONG)

    def start(self, count, engine, base=0.01):
        rules = Rules(engine, RetryPolicy(attempts=9, base=base))
        self.workers = []
        for number in range(count):
            made = Worker(self.context, lambda: rules, self.stopping)
            made._lease = self.counted(made._lease)
            run = self.threads.start(f"worker-{number}", made.run_forever)
            self.workers.append(run)
        self.stack.callback(self.stop)

    def counted(self, lease):
        def count(*args):
            found = lease(*args)
            self.leases += 1
            if self.after_lease:
                self.after_lease.pop()()
            return found

        return count

    def stop(self):
        self.stopping.set()
        self.running.wake_all()
        for thread in self.workers:
            thread.join(LONG)

    def task(self, name, cache, source="/s"):
        draft = tasks.Draft(name, source, f"/t/{name}", cache)
        return self.write(tasks.add, draft, 0).id

    def change(self, task, **changes):
        kept = {name: getattr(task, name) for name in ("name", "source")}
        draft = tasks.Draft(**kept, cache=f"c{task.id}", **changes)
        self.write(tasks.change, task.id, draft, 1)

    def trigger(self, task_id):
        wish = NewRun("webhook:task-sync")
        run_id = self.write(runs.trigger, task_id, wish, self.context.now())
        watch = self.running.watch(run_id, LONG)
        self.running.arrived()
        return run_id, watch.future

    def status(self, run_id):
        return self.store.read(runs.get, run_id).result().status


@pytest.fixture
def queue(context, monkeypatch):
    monkeypatch.setattr(worker, "IDLE", 3600.0)
    with ExitStack() as stack:
        yield Queue(context, stack)


@pytest.fixture
def steps(queue):
    return Steps(queue.running)


def test_a_lone_run_has_nobody_look_in_vain(queue, steps):
    task_id = queue.task("one", "c")
    steps.fetch.release()
    steps.end.release()
    queue.start(3, steps)
    until(lambda: queue.leases == 3)
    wakes = queue.running.wakes
    _, ended = queue.trigger(task_id)
    assert ended.result(LONG)
    queue.stop()
    assert queue.leases == 4
    assert queue.running.wakes - wakes == 1 + 1 + 3, "the trigger, and the end"


def until(condition):
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(condition)


def test_one_wake_for_several_runs_brings_as_many_workers(queue, steps):
    """A delivery may be one for several tasks."""
    ids = [queue.task(f"t{n}", f"c{n}") for n in range(3)]
    queue.start(3, steps)
    until(lambda: queue.leases == 3)
    wish = NewRun("webhook:github")
    for task_id in ids:
        queue.write(runs.trigger, task_id, wish, queue.context.now())
    queue.running.arrived()
    for _ in ids:
        assert steps.begun.acquire(timeout=LONG)
    steps.fetch.release(3)
    steps.end.release(3)


@pytest.mark.parametrize("queued", ["before", "at its claim", "meanwhile"])
def test_a_run_begins_as_soon_as_its_source_is_free(queue, steps, queued):
    first, second = queue.task("one", "same"), queue.task("two", "same")
    queue.trigger(first)
    if queued == "before":
        queue.trigger(second)
    if queued == "at its claim":
        queue.after_lease.append(lambda: queue.trigger(second))
    queue.start(2, steps)
    assert steps.begun.acquire(timeout=LONG)
    if queued == "meanwhile":
        queue.trigger(second)
    assert not steps.begun.acquire(timeout=0.05), "both at one source"
    steps.fetch.release()
    assert steps.begun.acquire(timeout=LONG)
    steps.fetch.release()
    steps.end.release(2)


def test_a_run_that_comes_when_a_source_is_free_begins_at_once(queue, steps):
    first, second = queue.task("one", "same"), queue.task("two", "same")
    queue.start(2, steps)
    queue.trigger(first)
    steps.fetch.release(2)
    assert steps.fetched.acquire(timeout=LONG)
    until(lambda: queue.running.done_fetching == (1,))
    run_id, _ = queue.trigger(second)
    assert steps.begun.acquire(timeout=LONG)
    assert steps.begun.acquire(timeout=LONG)
    assert queue.status(run_id) is RunStatus.RUNNING
    steps.end.release(2)


def test_a_run_wanted_meanwhile_follows_the_one_under_way(queue, steps):
    task_id = queue.task("one", "c")
    queue.start(1, steps)
    queue.trigger(task_id)
    assert steps.begun.acquire(timeout=LONG)
    _, ended = queue.trigger(task_id)
    steps.fetch.release(2)
    steps.end.release(2)
    assert ended.result(LONG)


def test_a_run_that_is_tried_again_is_taken_when_it_is_due(queue, steps):
    queue.start(1, steps)
    steps.results = [FAILED, FAILED]
    _, ended = queue.trigger(queue.task("one", "c"))
    steps.fetch.release(3)
    steps.end.release(3)
    assert ended.result(LONG)


def test_a_run_that_becomes_due_while_it_is_looked_for_is_not_left(queue, steps, clock):
    queue.context = replace(queue.context, clock=clock)
    task_id = queue.task("one", "c")
    queue.trigger(task_id)
    queue.write(runs.claim, queue.context.now())
    queue.write(runs.requeue, 1, runs.Return(queue.context.now(), "", delay=5000))
    queue.after_lease.append(lambda: clock.forward(5))
    queue.start(1, steps)
    assert steps.begun.acquire(timeout=LONG)
    steps.fetch.release()
    steps.end.release()


def test_who_takes_a_run_hands_on_the_wait_for_a_later_one(queue, steps):
    """The one that waits until a run is due is given another to carry out."""
    later, now = queue.task("one", "c1"), queue.task("two", "c2")
    queue.start(2, steps, base=0.3)
    steps.results = [FAILED]
    _, ended = queue.trigger(later)
    steps.fetch.release()
    steps.end.release()
    assert steps.begun.acquire(timeout=LONG)
    until(lambda: queue.leases >= 3 and queue.status(1) is RunStatus.QUEUED)
    queue.trigger(now)
    assert steps.begun.acquire(timeout=LONG)
    assert steps.begun.acquire(timeout=LONG), "nobody waited for what was due later"
    steps.fetch.release(2)
    steps.end.release(2)
    assert ended.result(LONG)


def test_a_run_of_a_task_that_was_changed_is_taken_again(queue, steps):
    task_id = queue.task("one", "c1")
    queue.start(2, steps)
    _, ended = queue.trigger(task_id)
    assert steps.begun.acquire(timeout=LONG)
    task = queue.store.read(tasks.get, task_id).result()
    queue.change(task, target="/t/elsewhere")
    steps.fetch.release(2)
    steps.end.release(2)
    assert ended.result(LONG)
    assert steps.begun.acquire(timeout=LONG), "it was not taken again"


def test_who_stops_the_workers_hears_of_the_last_run(queue, steps):
    task_id = queue.task("one", "c1")
    queue.start(1, steps)
    queue.trigger(task_id)
    assert steps.begun.acquire(timeout=LONG)
    queue.stopping.set()
    queue.running.wake_all()
    wakes = queue.running.wakes
    steps.fetch.release()
    steps.end.release()
    queue.running.await_wake(wakes, LONG)
    assert queue.running.wakes != wakes


@pytest.mark.parametrize("seed", range(6))
def test_no_run_is_left_however_triggers_and_ends_fall_together(queue, seed):
    """One in ten changes its task, one in five is tried again, hosts come and go."""
    chance = random.Random(seed)
    sources = ("/s", "https://dead.example/x.git", "https://good.example/x.git")
    ids = [queue.task(f"t{n}", f"c{n % 3}", chance.choice(sources)) for n in range(7)]
    workers = chance.randint(1, 4)
    queue.running.hosts.share(workers, chance.choice((1, 2, None)))
    queue.start(workers, Chance(queue, seed))
    ends = []
    for _ in range(40):
        ends.append(queue.trigger(chance.choice(ids))[0])
        if chance.random() < 0.5:
            threading.Event().wait(chance.choice((0.0, 0.002, 0.006)))
    until(lambda: all(queue.status(run_id) in FINAL for run_id in ends))
    assert queue.store.read(runs.next_due).result() is None
    until(lambda: queue.running.done_fetching == ())
