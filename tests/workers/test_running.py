"""Waiting for runs without threads, and stopping them."""

import threading

from gms_hookd.workers.running import RunningRuns


class Stopped:
    def __init__(self):
        self.reason = None

    def set(self, reason):
        self.reason = reason


class Said:
    def follow(self, offset, timeout):
        return "", offset, True


def test_a_watch_ends_with_the_run():
    live = RunningRuns()
    watches = [live.watch(1, 60), live.watch(1, 60), live.watch(2, 60)]
    live.ended([1])
    assert [w.future.done() for w in watches] == [True, True, False]
    assert watches[0].future.result()
    live.close()
    assert watches[2].future.result(timeout=10) is False


def test_a_watch_ends_when_its_time_is_up():
    live = RunningRuns()
    late, soon = live.watch(1, 60), live.watch(1, 0.01)
    assert soon.future.result(timeout=10) is False
    assert not late.future.done()
    live.close()


def test_five_hundred_watches_cost_one_thread():
    live = RunningRuns()
    before = threading.active_count()
    watches = [live.watch(n, 60) for n in range(500)]
    assert threading.active_count() <= before + 1
    live.close()
    assert not any(w.future.result(timeout=10) for w in watches)


def test_nobody_waits_after_the_end():
    live = RunningRuns()
    live.close()
    assert live.watch(1, 60).future.result(timeout=10) is False


def test_a_stop_reaches_the_run_now_or_when_it_begins():
    live, early, late = RunningRuns(), Stopped(), Stopped()
    live.began(1, 1, Said(), early)
    live.stop(1, "cancelled")
    live.stop(2, "cancelled")
    live.began(2, 1, Said(), late)
    assert (early.reason, late.reason) == ("cancelled", "cancelled")
    live.ended([1, 2])
    assert live.under_way == 0


def test_logs_of_ended_runs_are_kept_for_a_while_only():
    live = RunningRuns()
    for run_id in range(200):
        live.began(run_id, 1, Said(), Stopped())
        live.ended([run_id])
    assert live.log(199) is not None
    assert live.log(0) is None


def test_a_ring_wakes_whoever_waits_and_is_not_missed():
    live = RunningRuns()
    since = live.rings
    live.ring()
    live.await_ring(since, 60)
    waiter = threading.Thread(target=live.await_ring, args=(live.rings, 60))
    waiter.start()
    while waiter.is_alive():
        live.ring()
    waiter.join()
