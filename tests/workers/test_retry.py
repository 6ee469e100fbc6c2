"""Back-off: doubling, capped, spread, and over after the last attempt."""

from gms_hookd.workers.retry import RetryPolicy


def test_the_wait_doubles_up_to_the_cap():
    policy = RetryPolicy(attempts=9, base=10, cap=60)
    assert [policy.delay_after(n, 1.0) for n in range(1, 6)] == [10, 20, 40, 60, 60]


def test_half_of_the_wait_is_chance():
    policy = RetryPolicy(attempts=2, base=10)
    assert (policy.delay_after(1, 0.0), policy.delay_after(1, 1.0)) == (5.0, 10.0)


def test_after_the_last_attempt_there_is_no_other():
    policy = RetryPolicy(attempts=2)
    assert policy.delay_after(1, 0.5) is not None
    assert policy.delay_after(2, 0.5) is None


def test_very_many_failures_do_not_overflow():
    assert RetryPolicy(attempts=10**6).delay_after(10**5, 1.0) == 900.0
