"""Token buckets: a burst, then the rate, each address for itself."""

from gms_hookd.auth.ratelimit import Buckets


def test_a_burst_of_the_rate_passes_and_the_next_one_waits():
    buckets = Buckets(100)
    assert [buckets.take("a", 0.0) for _ in range(100)] == [0.0] * 100
    assert 0.59 < buckets.take("a", 0.0) <= 0.6


def test_tokens_come_back_at_the_rate_and_never_above_the_burst():
    buckets = Buckets(60)
    for _ in range(60):
        buckets.take("a", 0.0)
    assert buckets.take("a", 0.5) > 0
    assert buckets.take("a", 1.0) == 0.0
    assert buckets.take("a", 1.0) > 0
    assert [buckets.take("a", 1e6) for _ in range(61)].count(0.0) == 60


def test_no_address_uses_up_anothers_share():
    buckets = Buckets(1)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0.0


def test_a_refused_request_costs_nothing():
    buckets = Buckets(1)
    buckets.take("a", 0.0)
    waits = [buckets.take("a", 30.0) for _ in range(5)]
    assert max(waits) - min(waits) < 1e-6
    assert buckets.take("a", 60.0) == 0.0


def test_zero_is_no_limit():
    buckets = Buckets(0)
    assert not any(buckets.take("a", 0.0) for _ in range(1000))


def test_a_clock_that_steps_back_takes_nothing_away():
    buckets = Buckets(2)
    buckets.take("a", 100.0)
    assert buckets.take("a", 50.0) == 0.0


def test_the_table_is_bounded_and_forgets_the_one_unseen_for_longest():
    buckets = Buckets(1, size=3)
    for address in "abc":
        buckets.take(address, 0.0)
    buckets.charge("a", 0.0)
    buckets.take("d", 0.0)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) > 0


def test_waiting_asks_without_taking():
    buckets = Buckets(1)
    assert buckets.wait("a", 0.0) == buckets.wait("a", 0.0) == 0.0
    buckets.charge("a", 0.0)
    assert buckets.wait("a", 0.0) > 0
