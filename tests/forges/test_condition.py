"""What a payload must have, by dotted paths, values and globs."""

import pytest

from gms_hookd.forges.condition import Condition, unmet

PAYLOAD = {
    "status": "success",
    "build": {"number": 7, "final": True, "share": 0.5, "none": None},
    "repository": "org/app",
    "labels": ["nightly", "linux"],
    "commits": [{"id": "a1"}, {"id": "b2"}],
    "dotted.key": {"x.y": "z"},
}


@pytest.mark.parametrize(
    ("path", "wanted", "held"),
    [
        ("status", ("success",), True),
        ("status", ("failed", "success"), True),
        ("status", ("succ*",), True),
        ("status", ("Success",), False),
        ("status", ("failed",), False),
        ("repository", ("org/*",), True),
        ("repository", ("*/other",), False),
        ("build.number", (7,), True),
        ("build.number", ("7",), True),
        ("build.number", (8, 9), False),
        ("build.final", (True,), True),
        ("build.final", ("true",), True),
        ("build.final", (1,), False),
        ("build.number", (True,), False),
        ("build.share", (0.5,), True),
        ("build.none", ("*",), True),
        ("build", ("*",), False),
        ("missing", ("*",), False),
        ("status.inner", ("*",), False),
        ("labels", ("linux",), True),
        ("labels", ("mac",), False),
        ("labels.0", ("nightly",), True),
        ("labels.2", ("*",), False),
        ("commits.1.id", ("b*",), True),
        ("commits.x.id", ("*",), False),
        ("dotted.key.x.y", ("z",), True),
    ],
)
def test_a_condition_holds_or_not(path, wanted, held):
    assert Condition(path, wanted).holds(PAYLOAD) == held


@pytest.mark.parametrize("payload", [None, [], "text", 7, {"a": []}])
def test_a_payload_of_any_form_is_looked_at(payload):
    assert not Condition("a.b.0", ("*",)).holds(payload)


def test_all_must_hold_and_the_first_that_does_not_is_named():
    good, bad = Condition("status", ("success",)), Condition("build.number", (8, "9*"))
    assert unmet((), PAYLOAD) is None
    assert unmet((good,), PAYLOAD) is None
    why = unmet((good, bad), PAYLOAD)
    assert why == 'filtered: build.number is 7, not 8 or "9*"'
