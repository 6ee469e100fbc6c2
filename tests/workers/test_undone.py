"""A run that undoes another: ordered by the API, carried out by a worker."""

import json
from datetime import UTC, datetime

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.http.message import Request
from gms_hookd.model import RunStatus
from gms_hookd.notify.policy import Subscriber
from gms_hookd.store import notices, runs
from tests.support.place import Place
from tests.support.repositories import Repo
from tests.support.wiring import answered

API = "/api/v1/sync/"


@pytest.fixture
def place(context, tmp_path, app):
    """A task that has overwritten what its target had."""
    place = Place(context, tmp_path, force=True)
    place.app = app
    place.lost = place.target.commit()
    place.number = place.trigger()
    place.worker.run_one()
    return place


def call(place, path, status=200, **fields):
    body = json.dumps(fields).encode()
    request = Request("POST", API + path, body=body, control=True)
    answer = answered(place.app, request).result(30)
    said = json.loads(answer.body)
    assert answer.status == status, said
    return said["data"] if status == 200 else said["error"]


def undo(place, status=200, **fields):
    return call(place, "run/undo", status, **{"id": place.number} | fields)


def test_an_undo_is_a_run_and_its_task_is_disabled(place):
    assert place.target.tip() == place.tip
    ordered = undo(place)
    assert (ordered["trigger"], ordered["status"]) == ("undo", "queued")
    task = {"id": place.task.id}
    assert "wait until it has ended" in call(
        place, "task/update", 409, **task, prune=True
    )
    assert "wait until it has ended" in undo(place, 409)
    assert place.trigger() is None
    assert place.worker.run_one() == ordered["id"]
    assert place.target.tip() == place.lost
    run = place.run(ordered["id"])
    assert (run.status, run.refs[0].old) == (RunStatus.SUCCESS, place.tip)
    assert f"undoes run {place.number}\n" in run.details
    assert place.do(runs.tips, place.task.id) == {"refs/heads/main": place.lost}
    assert "run undo" in call(place, "run/retry", 409, id=run.id)
    assert "is disabled" in call(place, "run", 409, task_id=place.task.id)
    assert call(place, "task/update", **task, enabled=True)["enabled"]
    assert call(place, "run", task_id=place.task.id)["status"] == "queued"
    place.worker.run_one()
    assert place.target.tip() == place.tip


def test_what_waited_is_cancelled_and_says_why(place):
    waits = place.trigger()
    undo(place)
    why = f"run {place.number} of the task is to be undone"
    assert place.run(waits).error_message == why
    assert place.run(waits).status is RunStatus.CANCELLED


def test_another_tip_meanwhile_is_a_conflict_and_nothing_is_done(place):
    theirs = place.target.commit()
    ordered = undo(place)
    place.worker.run_one()
    run = place.run(ordered["id"])
    assert run.status is RunStatus.CONFLICT
    assert f"it is {theirs[:10]} at the target, and run" in run.error_message
    assert place.target.tip() == theirs


def test_a_tip_that_retention_has_dropped_is_told_with_its_date(place, clock):
    cache = Repo(place.root / "caches" / cache_key(str(place.source)))
    (kept,) = [ref for ref in cache.refs() if ref.startswith("refs/backup/")]
    cache.git("update-ref", "-d", kept)
    date = f"{datetime.fromtimestamp(clock.now + 30 * 86400, UTC):%Y-%m-%d %H:%M} UTC"
    assert f"is lost; kept until {date}" in undo(place, 409)
    clock.forward(31 * 86400)
    assert f"was kept until {date} (retention.backups)" in undo(place, 409)
    assert place.do(runs.last, place.task.id).id == place.number
    assert call(place, "run", task_id=place.task.id)["status"] == "queued"


def test_a_ref_that_the_run_did_not_change_is_refused_with_those_it_did(place):
    said = undo(place, 400, refs=["dev"])
    assert said == "refs: run 1 did not change refs/heads/dev, but refs/heads/main"
    assert undo(place, 400, refs=[]) == "refs: a list of strings is needed"
    assert undo(place, refs=["main"])["status"] == "queued"


def test_what_cannot_be_undone_is_refused(place):
    assert "no run 77" in undo(place, 404, id=77)
    nothing = place.trigger()
    assert "has not ended yet" in undo(place, 409, id=nothing)
    place.worker.run_one()
    assert "there is nothing to undo" in undo(place, 409, id=nothing)
    place.change(target=str(place.repo("other")))
    assert f"pushed to {place.target}; the task's target is" in undo(place, 409)
    call(place, "task/delete", id=place.task.id)
    assert "no task with id" in undo(place, 404)


def test_a_run_under_way_is_in_the_way(place):
    number = place.trigger()
    place.do(runs.claim, place.context.now())
    assert f"`gms-hookd run cancel {number}`" in undo(place, 409)


def test_an_undo_outlives_a_crash_and_a_failed_attempt(place, clock):
    ordered = undo(place)
    place.do(runs.claim, place.context.now())
    place.do(runs.recover, place.context.now())
    lock = place.target.path / "refs/heads/main.lock"
    lock.touch()
    place.worker.run_one()
    assert place.run(ordered["id"]).status is RunStatus.QUEUED
    assert "wait until it has ended" in undo(place, 409)
    lock.unlink()
    clock.forward(2000)
    place.worker.run_one()
    assert place.run(ordered["id"]).status is RunStatus.SUCCESS
    assert place.target.tip() == place.lost


def test_an_undo_is_a_change_and_no_recovery(place):
    hears = Subscriber("all", frozenset({"recovered", "changed", "failed", "conflict"}))
    place.context.running.subscribers = (hears,)
    place.source.path.rename(place.root / "away")
    failed = place.trigger()
    place.worker.run_one()
    assert place.run(failed).status is RunStatus.FAILED
    (place.root / "away").rename(place.source.path)
    undo(place)
    place.worker.run_one()
    found = place.do(notices.latest, notices.Which(None, None, None), 10)
    assert [each.event for each in found] == ["changed", "failed"]
