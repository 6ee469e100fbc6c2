"""Items reach the loop, and the loop hears of each in time."""

import select
import threading

import pytest

from gms_hookd.http.wakeup import WakeupQueue


@pytest.fixture
def wakeups():
    opened = WakeupQueue()
    yield opened
    opened.close()


def test_items_come_in_order_and_once(wakeups):
    for number in range(3):
        wakeups.post(number)
    assert [wakeups.popleft() for _ in range(3)] == [0, 1, 2]
    assert not wakeups


def test_no_ring_is_lost_between_threads(wakeups):
    """Each of four threads waits until its item was taken before it posts the next."""
    taken = [threading.Semaphore(0) for _ in range(4)]

    def post(number):
        for _ in range(500):
            wakeups.post(number)
            assert taken[number].acquire(timeout=10)

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    count = 0
    while count < 2000:
        ready, _, _ = select.select([wakeups], [], [], 5)
        assert ready, "items wait and nobody rang"
        wakeups.awake = True
        wakeups.drain_pipe()
        wakeups.awake = False
        while wakeups:
            count += 1
            taken[wakeups.popleft()].release()
    for thread in threads:
        thread.join()


def test_a_loop_that_is_awake_is_not_woken(wakeups):
    wakeups.awake = True
    wakeups.post("while awake")
    assert select.select([wakeups], [], [], 0)[0] == []
    wakeups.awake = False
    assert wakeups.popleft() == "while awake"
    wakeups.post("afterwards")
    assert select.select([wakeups], [], [], 5)[0] == [wakeups]


def test_a_closed_queue_takes_no_item():
    wakeups = WakeupQueue()
    wakeups.close()
    wakeups.post("late")
