"""Token buckets: a burst, then the rate, each address for itself."""

import pytest

from gms_hookd.auth.ratelimit import Buckets, block


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


def test_the_v6_addresses_of_one_customer_share_their_tokens():
    buckets = Buckets(3)
    waits = [buckets.take(f"2001:db8:1:2:{n:x}::{n:x}", 0.0) for n in range(6)]
    assert waits.count(0.0) == 3
    assert buckets.wait("2001:db8:1:2::", 0.0) > 0
    assert buckets.take("2001:db8:1:3::1", 0.0) == 0.0
    buckets.charge("2001:db8:1:4::1", 0.0)
    buckets.charge("2001:db8:1:4::2", 0.0)
    buckets.charge("2001:db8:1:4:ffff::", 0.0)
    assert buckets.wait("2001:db8:1:4::3", 0.0) > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:DB8:0:0::2%eth0", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unix", "unix", True),
        ("no:address", "no:other", False),
    ],
)
def test_who_counts_as_one(one, other, same):
    assert (block(one) == block(other)) is same
