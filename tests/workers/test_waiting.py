"""Who waits for a run is told for what, until when, and how often it is tried."""

import threading
from dataclasses import replace

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.store import runs
from gms_hookd.store.shares import Shares
from gms_hookd.web import api
from gms_hookd.workers.retry import RetryPolicy
from tests.support.place import BUSY, Place, wait_for


@pytest.fixture
def place(context, tmp_path):
    return Place(replace(context, attempts=3), tmp_path)


@pytest.fixture
def failing(place):
    """Let each attempt fail, and be tried again."""
    policy = RetryPolicy(attempts=3)
    place.rules = place.rules._replace(retry=policy)
    place.worker.chance = lambda: 1.0
    (place.target.path / "refs/heads/main.lock").touch()
    return place


def shown(place, run_id):
    return api.show_run(place.context, {"id": run_id}).result()


def listed(place):
    return api.history(place.context, {}).result().items[0]


def tries(run):
    return run["attempt"], run["attempts_max"], run["next_try"]


def test_a_run_says_when_its_next_attempt_is_due_and_how_many_there_are(
    failing, clock, caplog
):
    run_id = failing.trigger()
    assert tries(shown(failing, run_id)) == (0, 3, "2023-11-14T22:13:20.000Z")
    for attempt, due in ((1, "22:13:30"), (2, "22:13:50")):
        failing.worker.run_one()
        run, left = shown(failing, run_id), 3 - attempt
        assert tries(run) == (attempt, 3, f"2023-11-14T{due}.000Z")
        assert run["waits_for"] is None
        assert run["details"].endswith(f"next attempt in {attempt}0 s, {left} left\n")
        assert tries(listed(failing)) == tries(run)
        when = f"next_try=2023-11-14T{due}.000Z attempts_left={left} "
        assert f"attempt={attempt} {when}" in caplog.text
        clock.forward(attempt * 10)
    failing.worker.run_one()
    run = shown(failing, run_id)
    assert (run["status"], *tries(run)) == ("failed", 3, 3, None)
    assert caplog.text.count("run goes back") == 2


def test_an_attempt_that_the_daemon_cut_off_leaves_as_many_as_before(place):
    run_id = place.trigger()
    for attempt in range(1, 4):
        place.do(runs.claim, place.context.now())
        assert tries(shown(place, run_id))[:2] == (attempt, attempt + 2)
        place.do(runs.requeue, run_id, runs.Return(0, "stopped", failed=False))
        assert tries(shown(place, run_id))[:2] == (attempt, attempt + 3)


def test_a_queued_run_says_that_a_host_is_what_it_waits_for(place):
    run_id = place.trigger()
    place.change(source="https://slow.example/x.git")
    other = place.filled(name="other", target=str(place.root / "elsewhere"))
    number = place.do(runs.tasks.add, other._replace(cache="another"), 0).id
    wish = runs.NewRun("webhook:github")
    place.do(runs.trigger, number, wish, place.context.now())
    place.do(runs.claim, place.context.now(), run_id)
    hosts = place.context.running.hosts
    hosts._shares = Shares(unreached=frozenset({"https://slow.example"}))
    told = listed(place)["waits_for"]
    assert told.startswith("https://slow.example, which did not answer last")
    hosts._shares = Shares(per_host=1)
    assert "has its share of runs" in listed(place)["waits_for"]
    hosts._shares = Shares()
    assert listed(place)["waits_for"] == "a free worker"


def test_a_run_under_way_that_waits_for_the_cache_says_so(place):
    place.target.hook("pre-receive", BUSY)
    run_id = place.trigger()
    thread = threading.Thread(target=place.worker.run_one)
    thread.start()
    try:
        wait_for(place.target.path / "busy")
        assert shown(place, run_id)["waits_for"] is None
        _, log = place.context.running.log(run_id)
        log.waits_for = "another run of the same source"
        assert shown(place, run_id)["waits_for"] == "another run of the same source"
        log.waits_for = None
    finally:
        (place.target.path / "go").touch()
        thread.join()
    assert place.run(run_id).status is RunStatus.SUCCESS
