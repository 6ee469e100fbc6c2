"""Waiting for runs without threads, and stopping them."""

import threading

from gms_hookd.workers.running import RunningRuns


class Stopped:
    def __init__(self):
        self.reason = None

    def set(self, reason):
        self.reason = reason


class Said:
    def follow(self, offset):
        return "", offset, True


def test_a_watch_ends_with_the_run():
    running = RunningRuns()
    watches = [running.watch(1, 60), running.watch(1, 60), running.watch(2, 60)]
    running.ended([1])
    assert [w.future.done() for w in watches] == [True, True, False]
    assert watches[0].future.result()
    running.close()
    assert watches[2].future.result(timeout=10) is False


def test_a_watch_ends_when_its_time_is_up():
    running = RunningRuns()
    late, soon = running.watch(1, 60), running.watch(1, 0.01)
    assert soon.future.result(timeout=10) is False
    assert not late.future.done()
    running.close()


def test_five_hundred_watches_cost_one_thread():
    running = RunningRuns()
    before = threading.active_count()
    watches = [running.watch(n, 60) for n in range(500)]
    assert threading.active_count() <= before + 1
    running.close()
    assert not any(w.future.result(timeout=10) for w in watches)


def test_nobody_waits_after_the_end():
    running = RunningRuns()
    running.close()
    assert running.watch(1, 60).future.result(timeout=10) is False


def test_a_stop_reaches_the_run_now_or_when_it_begins():
    running, early, late = RunningRuns(), Stopped(), Stopped()
    running.began(1, 1, Said(), early)
    running.stop(1, "cancelled")
    running.stop(2, "cancelled")
    running.began(2, 1, Said(), late)
    assert (early.reason, late.reason) == ("cancelled", "cancelled")
    running.ended([1, 2])
    assert running.under_way == 0


def test_logs_of_ended_runs_are_kept_for_a_while_only():
    running = RunningRuns()
    for run_id in range(200):
        running.began(run_id, 1, Said(), Stopped())
        running.ended([run_id])
    assert running.log(199) is not None
    assert running.log(0) is None


def test_a_ring_wakes_whoever_waits_and_is_not_missed():
    running = RunningRuns()
    since = running.wakes
    running.wake()
    running.await_wake(since, 60)
    waiter = threading.Thread(target=running.await_wake, args=(running.wakes, 60))
    waiter.start()
    while waiter.is_alive():
        running.wake()
    waiter.join()
