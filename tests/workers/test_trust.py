"""What is remembered of a target on a host is believed for a while, then it is read."""

from dataclasses import replace

import pytest

from gms_hookd.model import Moment, RunStatus
from gms_hookd.store import runs
from tests.support.place import MAIN, Place

TRUST = 900.0
SPECS = {"one branch": MAIN, "some branches": ("refs/heads/*:refs/heads/*",)}


@pytest.fixture
def make(context, tmp_path, http_host):
    """Make a task between two repositories of a host, in step."""

    def made(**more):
        place = Place(context, tmp_path, http_host.url, **more)
        place.rules = place.rules._replace(trust=TRUST)
        place.source.commit("dev", on=place.tip)
        synced(place)
        http_host.requests.clear()
        return place

    return made


@pytest.fixture
def place(make):
    return make()


def synced(place, hint=None):
    """Have a webhook's run carried out; return it."""
    run_id = place.trigger(hint)
    assert place.worker.run_one() == run_id
    return place.run(run_id)


def reads(http_host, place):
    """Count the readings of the target since the last count."""
    name = place.target.path.name
    asked = [path for _, path, _ in http_host.requests if name in path]
    http_host.requests.clear()
    return sum("receive-pack" not in path and "info/refs" in path for path in asked)


@pytest.mark.parametrize(
    ("named", "specs"), [(True, "one branch"), (False, "some branches")]
)
def test_a_target_that_lost_all_is_brought_back_after_a_while(
    make, clock, named, specs
):
    place = make(refspecs=SPECS[specs])
    place.target.put(dict.fromkeys(place.target.refs()))
    clock.forward(TRUST)
    run = synced(place, place.tip if named else None)
    assert run.status is RunStatus.SUCCESS
    assert place.target.tip() == place.tip


def test_what_is_believed_does_not_become_younger_by_that(place, http_host, clock):
    for seconds, count in ((600, 0), (600, 1), (600, 0)):
        clock.forward(seconds)
        synced(place, place.tip)
        assert reads(http_host, place) == count


def test_a_push_proves_what_it_replaces(place, http_host, clock):
    for _ in range(2):
        clock.forward(10 * TRUST)
        new = place.source.commit()
        synced(place, new)
    assert place.target.tip() == new
    assert reads(http_host, place) == 0
    clock.forward(TRUST - 1)
    synced(place, new)
    assert reads(http_host, place) == 0


def test_a_push_proves_nothing_of_other_branches(make, http_host, clock):
    place = make(refspecs=SPECS["some branches"])
    clock.forward(TRUST - 1)
    place.source.commit()
    synced(place)
    assert reads(http_host, place) == 0
    clock.forward(1)
    place.target.set(dev=None)
    synced(place)
    assert place.target.refs() == place.source.refs()


@pytest.mark.parametrize("force", [False, True])
def test_a_reading_amid_a_run_counts_for_all_branches(make, clock, force):
    """What was believed of one is seen to be wrong when another is read again."""
    place = make(refspecs=SPECS["some branches"], force=force)
    old, dev = place.source.refs(), place.source.commit("dev")
    place.source.commit()
    synced(place)
    place.target.put(old)
    main = place.source.commit()
    run = synced(place)
    assert place.target.refs() == place.source.refs()
    assert run.status is RunStatus.SUCCESS
    assert {ref.ref: ref.new for ref in run.refs if ref.result == "updated"} == {
        "refs/heads/dev": dev, "refs/heads/main": main,
    }  # fmt: skip


def test_a_branch_that_is_seen_amid_a_run_to_have_diverged_is_a_conflict(make):
    place = make(refspecs=SPECS["some branches"])
    place.source.commit()
    synced(place)
    place.target.set(main=place.tip)
    theirs = place.target.commit("dev")
    place.source.commit()
    assert synced(place).status is RunStatus.CONFLICT
    assert (place.target.tip(), place.target.tip("dev")) == (place.source.tip(), theirs)


def test_without_trust_the_target_is_read_each_time(place, http_host):
    place.rules = place.rules._replace(trust=0.0)
    synced(place, place.tip)
    assert reads(http_host, place) == 1


def test_what_was_seen_to_have_moved_is_not_believed_when_it_matters_again(make, clock):
    """The branch was gone at the source when the target's was read."""
    place = make(refspecs=SPECS["some branches"])
    dev = place.source.tip("dev")
    place.source.set(dev=None)
    place.target.set(dev=None)
    theirs = place.target.commit("dev")
    clock.forward(TRUST)
    assert synced(place).status is RunStatus.SUCCESS
    place.source.set(dev=dev)
    assert synced(place).status is RunStatus.CONFLICT
    assert place.target.tip("dev") == theirs


def test_who_waits_is_never_told_success_from_an_older_memory(place, clock):
    place.target.commit()
    clock.forward(TRUST)
    assert synced(place, place.tip).status is RunStatus.CONFLICT


NOW = Moment(5_000_000, 700_000)


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (NOW, 0), (Moment(4_000_000, 699_000), 1000), (Moment(4_999_000, 0), 700),
        (Moment(5_000_001, 600_000), None), (Moment(4_999_000, 700_001), None),
        (None, None),
    ],
)  # fmt: skip
def test_the_clock_that_says_more_counts_and_one_that_went_back_says_nothing(
    since, seconds
):
    assert NOW.since(since) == (float("inf") if seconds is None else seconds)


@pytest.mark.parametrize(("wall", "up"), [(-3600, 10), (10, -3600)])
def test_a_clock_that_was_set_makes_nothing_look_fresh(make, context, clock, wall, up):
    place = make()
    place.target.put(dict.fromkeys(place.target.refs()))
    moved = replace(
        context, clock=lambda: clock() + wall, monotonic=lambda: clock() + up
    )
    place.worker.context = moved
    place.do(runs.trigger, 1, runs.NewRun("webhook:x", hint=place.tip), 0)
    place.worker.run_one()
    assert place.target.tip() == place.tip
