"""A flood of refused requests is a row and a line a second, however large it is."""

import logging

import pytest

from gms_hookd.store import deliveries
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.refusals import AT_ONCE, KINDS, Refusal, Refusals

NOW = 1_700_000_000_000


@pytest.fixture
def refusals(store, clock):
    return Refusals(store, clock)


def refusal(client="192.0.2.1", status=429, reason="too many requests", **more):
    new_delivery = NewDelivery(more.pop("hook", "in"), "gms", client, NOW)
    return Refusal(new_delivery, status, reason, **more)


def rows(store):
    """Tell client, status and reason of each row, the oldest first."""
    store.write(deliveries.newest).result()
    found = store.read(deliveries.latest, None, 10_000).result()
    return [(d.client, d.status, d.reason) for d in reversed(found)]


def lines(caplog):
    return [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]


def test_one_refusal_is_told_at_once_as_it_is(refusals, store, caplog):
    caplog.set_level(logging.INFO)
    refusals.note(refusal(request_id="7f"))
    assert rows(store) == [("192.0.2.1", 429, "too many requests")]
    (line,) = lines(caplog)
    assert line == (
        "refused id=7f hook=in client=192.0.2.1 status=429 count=1"
        ' reason="too many requests"'
    )


def test_a_flood_of_one_address_is_one_row_and_one_line_a_second(
    refusals, store, clock, caplog
):
    caplog.set_level(logging.INFO)
    commits = store.write(lambda db: db.total_changes).result()
    for _ in range(5):
        for _ in range(1000):
            refusals.note(refusal())
            clock.forward(0.001)
    refusals.flush(now=True)
    reasons = [reason for _, _, reason in rows(store)]
    assert len(reasons) == len(lines(caplog)) <= 7
    assert store.write(lambda db: db.total_changes).result() - commits <= 7
    counts = [int(line.split("count=")[1].split()[0]) for line in lines(caplog)]
    assert sum(counts) == 5000
    assert reasons[1] == f"too many requests ({counts[1]} in a second)"


def test_what_was_counted_is_told_when_the_flood_is_over(refusals, store, clock):
    for _ in range(3):
        refusals.note(refusal())
    refusals.flush()
    assert len(rows(store)) == 1
    clock.forward(1.1)
    refusals.flush()
    assert [reason for *_, reason in rows(store)] == [
        "too many requests",
        "too many requests (2 in a second)",
    ]
    clock.forward(5)
    refusals.flush()
    assert len(rows(store)) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"client": "192.0.2.2"},
        {"client": "2001:db8:0:1::1"},
        {"status": 401, "reason": "missing or wrong signature"},
        {"hook": "another"},
        {"reason": "another one"},
    ],
)
def test_refusals_of_another_kind_are_told_apart(refusals, store, other):
    for _ in range(3):
        refusals.note(refusal())
        refusals.note(refusal(**other))
    refusals.flush(now=True)
    assert len(rows(store)) == 4


def test_the_addresses_of_one_customer_count_as_one(refusals, store):
    for number in range(500):
        refusals.note(refusal(f"2001:db8:1:2:{number:x}::{number:x}"))
    refusals.flush(now=True)
    assert len(rows(store)) == 2


def test_a_flood_from_everywhere_is_bounded_too(refusals, store, clock, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(2):
        for number in range(5000):
            refusals.note(refusal(f"10.0.{number >> 8}.{number & 255}"))
        clock.forward(1.5)
    refusals.flush()
    found = rows(store)
    assert len(found) == len(lines(caplog)) <= 2 * (AT_ONCE + KINDS + 1)
    others = [reason for client, _, reason in found if client == "others"]
    rest = 5000 - AT_ONCE - KINDS
    assert others[0] == f"too many requests ({rest} in a second)"
    assert len(others) == 2


def test_what_is_no_delivery_has_a_line_and_no_row(refusals, store, caplog):
    caplog.set_level(logging.INFO)
    refusals.note(refusal(hook="api", kept=False))
    assert rows(store) == []
    assert len(lines(caplog)) == 1
