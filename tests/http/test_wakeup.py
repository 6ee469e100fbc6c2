"""Items reach the loop, and the loop hears of each in time."""

import select
import threading

import pytest

from gms_hookd.http.wakeup import WakeupQueue


@pytest.fixture
def postbox():
    opened = WakeupQueue()
    yield opened
    opened.close()


def test_items_come_in_order_and_once(postbox):
    for number in range(3):
        postbox.post(number)
    assert list(postbox.take()) == [0, 1, 2]
    assert list(postbox.take()) == []


def test_no_ring_is_lost_between_threads(postbox):
    """Each of four threads waits until its item was taken before it posts the next."""
    taken = [threading.Semaphore(0) for _ in range(4)]

    def post(number):
        for _ in range(500):
            postbox.post(number)
            assert taken[number].acquire(timeout=10)

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    count = 0
    while count < 2000:
        ready, _, _ = select.select([postbox], [], [], 5)
        assert ready, "items wait and nobody rang"
        postbox.mute()
        postbox.hear()
        postbox.unmute()
        for number in postbox.take():
            count += 1
            taken[number].release()
    for thread in threads:
        thread.join()


def test_a_muted_bell_is_not_rung(postbox):
    postbox.mute()
    postbox.post("while muted")
    assert select.select([postbox], [], [], 0)[0] == []
    postbox.unmute()
    assert list(postbox.take()) == ["while muted"]
    postbox.post("afterwards")
    assert select.select([postbox], [], [], 5)[0] == [postbox]


def test_a_closed_postbox_takes_no_notice():
    postbox = WakeupQueue()
    postbox.close()
    postbox.post("late")
