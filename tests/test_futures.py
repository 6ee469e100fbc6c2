"""Futures: set once, by any thread; whatever waits is done once."""

import threading

import pytest

from gms_hookd.futures import Future, apply, done, failed, then
from gms_hookd.threads import Pool, Threads


def test_steps_are_done_in_order_when_it_is_set_and_at_once_afterwards():
    future, seen = Future(), []
    for number in range(3):
        future.add_done_callback(lambda f, n=number: seen.append((n, f.result())))
    assert (future.done(), seen) == (False, [])
    future.set_result("set")
    future.add_done_callback(lambda f: seen.append((3, f.result())))
    assert seen == [(n, "set") for n in range(4)]


def test_a_step_that_fails_is_logged_and_keeps_no_other_from_being_done(caplog):
    future, seen = Future(), []
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(seen.append)
    future.set_result(1)
    assert seen == [future]
    assert "step failed" in caplog.text


def test_every_step_is_done_once_however_threads_meet():
    for _ in range(300):
        future, seen, start = Future(), [], threading.Barrier(4)

        def add(future=future, seen=seen, start=start):
            start.wait()
            for _ in range(20):
                future.add_done_callback(lambda f: seen.append(f.result()))

        threads = [threading.Thread(target=add) for _ in range(3)]
        for thread in threads:
            thread.start()
        start.wait()
        future.set_result(7)
        for thread in threads:
            thread.join()
        assert seen == [7] * 60


def test_who_waits_gets_the_value_of_another_thread_or_a_timeout():
    pool = Pool(Threads(), "pool", 1)
    assert pool.do(lambda: 5).result(10) == 5
    pool.close(10)
    with pytest.raises(TimeoutError):
        Future().result(0.01)
    with pytest.raises(TimeoutError):
        Future().exception(0.01)


def test_an_error_goes_through_a_chain_to_its_end():
    error = ValueError("no")
    for end in (
        apply(failed(error), str),
        then(failed(error), done),
        apply(done("x"), int),
        then(done(1), lambda _: failed(error)),
    ):
        assert isinstance(end.exception(), ValueError)
        with pytest.raises(ValueError, match=r"no|literal"):
            end.result()


def test_a_chain_gives_the_last_value():
    first = Future()
    last = then(apply(first, str), lambda text: done(text * 2))
    first.set_result(4)
    assert last.result() == "44"
