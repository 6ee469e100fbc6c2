"""A task that is changed while a run or a check of it is under way.

What was found out for the old source, target or refspecs is not believed of the new.
"""

import pytest

from gms_hookd.model import Ref, RefResult, RunStatus
from gms_hookd.store import runs, source_checks, tasks
from gms_hookd.store.runs import Result, Return
from tests.support.place import Place

DEV = ("refs/heads/dev:refs/heads/main",)


@pytest.fixture
def place(context, tmp_path):
    return Place(context, tmp_path)


def other_target(place):
    return {"target": str(place.repo("other"))}, "other", place.source.tip()


def other_source(place):
    tip = place.source.commit()
    source = place.repo("more")
    place.source.git("push", "-q", str(source), f"{tip}:refs/heads/main")
    return {"source": str(source)}, "target", source.commit()


def other_refs(place):
    dev = place.source.commit("dev", on=place.source.tip())
    return {"refspecs": DEV}, "target", dev


@pytest.mark.parametrize("other", [other_target, other_source, other_refs])
def test_a_run_ends_when_what_its_task_became_is_synced(place, other):
    changes, at, tip = other(place)
    run_id = place.changed_during_a_push(**changes)
    assert place.do(runs.tips, place.task.id) == {}
    run = place.run(run_id)
    assert (run.status, run.error_message) == (RunStatus.QUEUED, runs.CHANGED)
    assert f"created refs/heads/main none -> {place.pushed[:10]}" in run.details
    assert bool(run.refs) is (at == "target")
    assert place.worker.run_one() == run_id
    run = place.run(run_id)
    assert (run.status, run.attempt, run.commit_range) == (RunStatus.SUCCESS, 2, tip)
    assert [(ref.old, ref.new) for ref in run.refs] == [(None, tip)]
    assert place.repo(at).tip() == tip


def test_what_failed_attempts_did_at_another_target_is_not_told_of_the_new(place):
    run_id = place.trigger()
    place.do(runs.claim, place.context.now())
    done = (Ref("refs/heads/main", RefResult.CREATED, None, place.tip),)
    back = Return(place.context.now(), "no route", refs=done)
    place.do(runs.requeue, run_id, back)
    assert place.run(run_id).refs == done
    place.change(timeout=5.0)
    assert place.run(run_id).refs == done
    place.change(target=str(place.repo("other")))
    assert (place.run(run_id).refs, place.run(run_id).commit_range) == ((), "")


@pytest.mark.parametrize(
    "changes", [{"force": True}, {"name": "b"}, {"timeout": 9.0}, {"enabled": False}]
)
def test_a_run_under_other_rules_still_counts(place, changes):
    run_id = place.trigger()
    claim = place.do(runs.claim, place.context.now())
    place.change(**changes)
    done = Result(RunStatus.SUCCESS, tips={"refs/heads/main": place.tip})
    assert place.do(runs.finish, run_id, done, 2, claim.task) == (run_id,)
    assert place.do(runs.tips, place.task.id) == done.tips


def test_a_run_of_a_task_that_went_away_ends(place):
    run_id = place.trigger()
    claim = place.do(runs.claim, place.context.now())
    place.do(tasks.remove, place.task.id, 1)
    done = Result(RunStatus.SUCCESS, tips={"refs/heads/main": place.tip})
    assert place.do(runs.finish, run_id, done, 2, claim.task) == (run_id,)


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (RunStatus.FAILED, RunStatus.QUEUED),
        (RunStatus.CONFLICT, RunStatus.QUEUED),
        (RunStatus.CANCELLED, RunStatus.CANCELLED),
    ],
)
def test_what_failed_at_the_old_target_is_tried_at_the_new(place, status, then):
    run_id = place.trigger()
    claim = place.do(runs.claim, place.context.now())
    place.change(target="/elsewhere")
    place.do(runs.finish, run_id, Result(status), 2, claim.task)
    assert place.run(run_id).status is then


@pytest.mark.parametrize("when", ["queued", "running", "waiting"])
def test_what_a_trigger_named_is_not_believed_of_other_refs(place, when):
    """The branch that goes to the same ref of the target is another one now."""
    place.trigger(hint=place.tip)
    claim = place.do(runs.claim, place.context.now()) if when != "queued" else None
    back = Return(place.context.now(), "no route")
    if when == "waiting":
        place.do(runs.requeue, claim.run.id, back)
    place.change(refspecs=DEV)
    if when == "running":
        place.do(runs.requeue, claim.run.id, back)
    assert place.do(runs.claim, place.context.now()).hint is None


def test_a_check_of_what_a_task_was_queues_and_remembers_nothing(place):
    place.change(target=str(place.repo("other")))
    assert place.do(source_checks.catch_up, place.task, b"found", 5) is None
    place.do(source_checks.postpone, place.task, 10**15)
    assert [check.digest for check in place.do(source_checks.due, 5, 1, 9)] == [None]


def test_what_a_check_found_is_forgotten_with_what_it_looked_at(place):
    place.do(source_checks.postpone, place.task, 5)
    place.do(runs.cancel, place.do(source_checks.catch_up, place.task, b"found", 5), 5)
    assert [check.digest for check in place.do(source_checks.due, 5, 1, 9)] == [
        b"found"
    ]
    place.change(target=str(place.repo("other")))
    assert [check.digest for check in place.do(source_checks.due, 5, 1, 9)] == [None]
