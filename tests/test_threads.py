"""Threads: named, begun again when they fail, and watched; pools with a bound."""

import ctypes
import math
import sys
import threading

import pytest

from gms_hookd.threads import SILENT, BusyError, Pool, ThreadError, Threads

PATIENCE = 30
KILLED = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


@pytest.fixture
def threads(clock):
    made = Threads(clock)
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("gms_hookd.threads.PAUSE", 0.001)


def until(found):
    waiting = threading.Event()
    for _ in range(PATIENCE * 100):
        if found():
            return
        waiting.wait(0.01)
    raise AssertionError("not in time")


def test_work_that_fails_is_begun_again_until_it_is_done(threads, quick, caplog):
    calls = []

    def work(_thread):
        calls.append(1)
        if len(calls) < 4:
            raise (OSError, MemoryError, ZeroDivisionError)[len(calls) - 1]

    threads.start("one", work).join(PATIENCE)
    assert len(calls) == 4
    assert caplog.text.count("thread failed, and goes on name=one") == 3


def test_work_is_begun_again_though_nothing_can_be_said_nor_waited_for(
    threads, quick, monkeypatch
):
    calls = []

    def work(_thread):
        calls.append(1)
        if len(calls) < 3:
            raise MemoryError

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(threads._closing, "wait", refuse)
    monkeypatch.setattr("gms_hookd.threads.Supervised._note_failure", refuse)
    threads.start("one", work).join(PATIENCE)
    assert len(calls) == 3


@pytest.mark.parametrize("why", [None, SystemExit, KeyboardInterrupt])
@KILLED
def test_a_thread_that_has_ended_is_a_problem_whatever_ended_it(threads, why):
    def work(_thread):
        if why:
            raise why

    threads.start("good", lambda thread: threading.Event().wait(PATIENCE))
    threads.start("bad", work).join(PATIENCE)
    assert threads.problems() == ["thread bad: has ended"]


def test_threads_that_may_end_are_no_problem(threads):
    threads.start("one", lambda _: None).join(PATIENCE)
    threads.close()
    assert threads.problems() == []


def test_a_thread_without_a_sign_of_life_is_a_problem_until_it_gives_one(
    threads, clock
):
    go = threading.Event()
    thread = threads.start("slow", lambda _: go.wait(PATIENCE))
    clock.forward(SILENT)
    assert threads.problems() == []
    clock.forward(5)
    assert threads.problems() == ["thread slow: a sign of life is due for 5 s"]
    thread.beat(600)
    clock.forward(600)
    assert threads.problems() == []
    thread.beat(math.inf)
    clock.forward(1e9)
    assert threads.problems() == []
    go.set()


def test_work_that_fails_again_and_again_is_a_problem(threads, clock, quick):
    def work(thread):
        thread.beat()
        clock.forward(1)
        raise OSError

    threads.start("one", work)
    until(threads.problems)
    assert threads.problems() == ["thread one: fails again and again: see the log"]


def test_work_that_fails_now_and_then_is_none(threads, clock, quick):
    failures = threading.Semaphore(0)
    again = threading.Semaphore(0)

    def work(thread):
        while again.acquire(timeout=PATIENCE):
            thread.beat()
            failures.release()
            raise OSError

    threads.start("one", work)
    for _ in range(5):
        again.release()
        assert failures.acquire(timeout=PATIENCE)
        clock.forward(2 * SILENT)
        until(lambda: threads._all[0]._last_failure >= clock() - 2 * SILENT)
        threads._all[0].beat()
        assert threads.problems() == []


def test_a_thread_that_cannot_be_started_is_one_line_with_a_remedy(
    threads, monkeypatch
):
    def refuse(_self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ThreadError, match=r"thread x: can't start .* TasksMax="):
        threads.start("x", lambda _: None)


def test_a_pool_gives_values_and_errors(threads):
    pool = Pool(threads, "pool", 2)
    assert pool.do(lambda: 5).result(PATIENCE) == 5
    with pytest.raises(ZeroDivisionError):
        pool.do(lambda: 1 // 0).result(PATIENCE)
    with pytest.raises(SystemExit):
        pool.do(lambda: sys.exit(1)).result(PATIENCE)
    assert pool.do(lambda: 6).result(PATIENCE) == 6
    pool.close(PATIENCE)
    with pytest.raises(BusyError, match="shutting down"):
        pool.do(lambda: 7).result(PATIENCE)


def test_a_pool_takes_so_many_jobs_and_no_more(threads):
    pool = Pool(threads, "pool", 2, waiting=3)
    go = threading.Event()
    taken = [pool.do(lambda: go.wait(PATIENCE)) for _ in range(5)]
    with pytest.raises(BusyError, match="too much waits"):
        pool.do(lambda: 1).result(PATIENCE)
    go.set()
    assert all(future.result(PATIENCE) for future in taken)
    until(lambda: not pool._count)
    assert pool.do(lambda: 1).result(PATIENCE) == 1
    pool.close(PATIENCE)


def test_a_job_that_takes_too_long_is_a_problem_and_an_idle_pool_none(
    threads, clock, monkeypatch
):
    monkeypatch.setattr("gms_hookd.threads.IDLE", 0.01)
    pool = Pool(threads, "pool", 1, within=60)
    clock.forward(1e6)
    until(lambda: not threads.problems())
    begun, go = threading.Event(), threading.Event()
    pool.do(begun.set)
    job = pool.do(lambda: go.wait(PATIENCE))
    assert begun.wait(PATIENCE)
    until(lambda: pool._count == 1 and pool._jobs.empty())
    clock.forward(70)
    until(threads.problems)
    assert "thread pool-0: a sign of life is due for 10 s" in threads.problems()
    go.set()
    assert job.result(PATIENCE)
    until(lambda: not threads.problems())


def kill(thread):
    """Raise SystemExit in a thread, as soon as it is in Python again."""
    ident = ctypes.c_ulong(thread._thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))


@KILLED
def test_a_thread_of_a_pool_that_is_killed_is_a_problem(threads, monkeypatch):
    monkeypatch.setattr("gms_hookd.threads.IDLE", 0.01)
    pool = Pool(threads, "pool", 2)
    kill(threads._all[1])
    until(threads.problems)
    assert pool.do(lambda: 1).result(PATIENCE) == 1
    assert threads.problems() == ["thread pool-1: has ended"]
