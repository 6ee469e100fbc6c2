"""A task that is changed while a run or a check of it is under way.

What was found out for the old source, target or refspecs is not believed of the new.
"""

import threading

import pytest

from gms_hookd.git.process import Stop
from gms_hookd.model import Ref, RefResult, RunStatus
from gms_hookd.store import runs, source_checks, tasks, undo
from gms_hookd.store.runs import Result, Return
from gms_hookd.sync.job import SyncResult
from gms_hookd.workers.worker import _as_stopped
from tests.support.place import BUSY, Place, wait_for

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


def gone(place):
    place.do(tasks.remove, place.task.id, 1)


def disabled(place):
    place.change(enabled=False)


UNWANTED = [(gone, runs.REMOVED), (disabled, runs.DISABLED)]


@pytest.mark.parametrize(("change", "why"), UNWANTED)
def test_a_run_of_a_task_that_takes_no_more_is_not_tried_again(place, change, why):
    run_id = place.trigger()
    place.do(runs.claim, place.context.now())
    change(place)
    done = (Ref("refs/heads/main", RefResult.CREATED, None, place.tip),)
    back = Return(place.context.now(), "no route", "what it said", refs=done)
    assert place.do(runs.requeue, run_id, back) == (run_id,)
    run = place.run(run_id)
    assert (run.status, run.error_message) == (RunStatus.CANCELLED, why)
    assert (run.refs, run.details) == (done, "what it said")
    assert place.do(runs.next_due) is None


@pytest.mark.parametrize(("change", "why"), UNWANTED)
def test_a_run_of_a_task_that_takes_no_more_ends_with_its_daemon(place, change, why):
    run_id = place.trigger()
    place.do(runs.claim, place.context.now())
    change(place)
    assert place.do(runs.recover, 20) == ([], [run_id])
    run = place.run(run_id)
    assert (run.status, run.error_message) == (RunStatus.CANCELLED, why)
    assert place.do(runs.oldest_due, 10**15) is None


def test_a_queued_run_of_no_task_ends_at_the_next_start(place):
    """Such rows were left by a daemon that died after its task was removed."""
    run_id = place.trigger()
    place.do(lambda db: db.execute("DELETE FROM tasks"))
    assert place.do(runs.recover, 20) == ([], [])
    assert place.run(run_id).status is RunStatus.CANCELLED


def test_an_undo_goes_on_though_its_task_was_disabled_for_it(place):
    first = place.trigger()
    assert place.worker.run_one() == first
    undone = place.do(undo.order, first, None, place.context.now())
    place.do(runs.claim, place.context.now())
    assert place.do(runs.recover, 20) == ([undone.id], [])


def refuse_pushes_and_wait(place):
    """Have the target fail in a way that is worth another attempt."""
    full = "echo 'No space left on device' >&2; exit 1"
    place.target.hook("pre-receive", f"{BUSY}{full}\n")
    thread = threading.Thread(target=place.worker.run_one)
    thread.start()
    wait_for(place.target.path / "busy")
    return thread


def test_who_watches_a_run_of_a_disabled_task_hears_of_its_end(place):
    run_id = place.trigger()
    thread = refuse_pushes_and_wait(place)
    watch = place.context.running.watch(run_id, 30)
    place.change(enabled=False)
    (place.target.path / "go").touch()
    thread.join()
    assert watch.future.result(30) is True
    run = place.run(run_id)
    assert (run.status, run.error_message) == (RunStatus.CANCELLED, runs.DISABLED)
    assert "No space left" in run.details


def test_a_run_that_fails_as_it_is_cancelled_is_not_tried_again(place):
    failed = SyncResult(RunStatus.FAILED, error_message="no route", transient=True)
    stop = Stop()
    assert _as_stopped(failed, stop) == failed
    stop.set("cancelled")
    ended = _as_stopped(failed, stop)
    assert (ended.status, ended.error_message) == (
        RunStatus.CANCELLED,
        "cancelled: no route",
    )


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
