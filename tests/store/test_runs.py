"""The queue in the store: what is accepted is there, once, until it has ended."""

import contextlib

import pytest

from gms_hookd.model import Moment, Ref, RefResult, RunStatus
from gms_hookd.notify.policy import Subscriber
from gms_hookd.store import (
    Conflict,
    NotFound,
    Store,
    deliveries,
    maintenance,
    notices,
    runs,
    tasks,
)
from gms_hookd.store.runs import NewRun, Result, Return
from tests.support.queue import (
    HOOK,
    NOW,
    add,
    claim,
    draft,
    finish,
    get,
    new_delivery,
    trigger,
)

SEEN = Moment(NOW, 1)


def test_three_triggers_make_one_run_that_serves_all_three(store):
    add(store)
    answers = [trigger(store) for _ in range(3)]
    assert {a.run_ids for a in answers} == {(1,)}
    assert get(store, 1).deliveries == tuple(a.id for a in answers)


def test_a_trigger_for_no_task_is_404_and_kept(store):
    answer = trigger(store, 7)
    kept = store.read(deliveries.get, answer.id).result()
    assert (answer.status, kept.status, kept.run_ids) == (404, 404, ())
    assert kept.reason == "no task 7"


def test_a_trigger_for_a_disabled_task_is_409(store):
    add(store, enabled=False)
    assert trigger(store).status == 409
    with pytest.raises(Conflict):
        store.write(runs.request, 1, HOOK, NOW).result()


def test_a_trigger_while_running_makes_the_one_queued_run(store):
    add(store)
    trigger(store)
    assert claim(store).run.id == 1
    assert trigger(store).run_ids == (2,)
    assert trigger(store).run_ids == (2,)
    assert claim(store) is None
    finish(store, 1)
    assert claim(store).run.id == 2


def test_the_oldest_run_is_claimed_first_and_is_attempt_one(store):
    add(store, "one", "c1")
    add(store, "two", "c2")
    trigger(store, 2)
    trigger(store, 1)
    claimed = claim(store)
    assert (claimed.run.task_id, claimed.run.attempt) == (2, 1)
    assert claimed.run.status is RunStatus.RUNNING


def test_two_runs_never_use_one_cache_at_the_same_time(store):
    add(store, "one", "same")
    add(store, "two", "same")
    add(store, "three", "other")
    for task_id in (1, 2, 3):
        trigger(store, task_id)
    assert [claim(store).run.task_id, claim(store).run.task_id] == [1, 3]
    assert claim(store) is None
    finish(store, 1)
    assert claim(store).run.task_id == 2


def test_a_run_that_has_fetched_leaves_its_source_to_the_next(store):
    add(store, "one", "same")
    add(store, "two", "same")
    for task_id in (1, 2):
        trigger(store, task_id)
    claim(store)
    assert claim(store) is None
    assert claim(store, done_fetching=[1]).run.task_id == 2
    trigger(store, 1)
    assert claim(store) is None


def waits_for(store, run_id, now=NOW):
    return store.read(runs.waits_for, run_id, now).result()


def test_a_queued_run_tells_what_it_waits_for(store):
    add(store, "one", "same")
    add(store, "two", "same")
    for task_id in (1, 2):
        trigger(store, task_id)
    assert waits_for(store, 1) == "a free worker"
    assert waits_for(store, 1, NOW - 1) is None
    claim(store)
    assert waits_for(store, 1) is None
    told = "run 1 of one, which fetches from the same source"
    assert waits_for(store, 2) == told
    trigger(store, 1)
    assert waits_for(store, 3) == "run 1, which is under way for the same task"
    free = store.read(runs.waits_for, 2, NOW, runs.EQUAL, [1]).result()
    assert free == "a free worker"


def test_what_a_run_did_is_kept(store):
    add(store)
    trigger(store)
    claim(store)
    ref = Ref("refs/heads/a", RefResult.UPDATED, "1" * 40, "2" * 40, None)
    done = {"refs": (ref,), "details": "log\n", "commit_range": "1..2"}
    assert finish(store, 1, tips={"refs/heads/a": "2" * 40}, **done) == (1,)
    run = get(store, 1)
    assert (run.status, run.refs, run.details) == (RunStatus.SUCCESS, (ref,), "log\n")
    assert (run.start_time, run.end_time, run.commit_range) == (NOW, NOW + 5, "1..2")
    trigger(store)
    assert claim(store).tips == {"refs/heads/a": "2" * 40}


def test_tips_are_replaced_whole_and_forgotten_with_the_target(store):
    add(store)
    for tips in ({"a": "1", "b": "1"}, {"b": "2", "c": "1"}):
        trigger(store)
        finish(store, claim(store).run.id, tips=tips)
    trigger(store)
    claimed = claim(store)
    assert claimed.tips == {"b": "2", "c": "1"}
    finish(store, claimed.run.id)
    moved = tasks.Draft("one", "/src/c1", "/elsewhere", "c1")
    store.write(tasks.change, 1, moved, NOW).result()
    trigger(store)
    assert claim(store).tips == {}


def fails(store, claimed):
    finish(store, claimed.run.id, RunStatus.FAILED, seen=SEEN)


def is_cancelled(store, claimed):
    finish(store, claimed.run.id, RunStatus.CANCELLED)


def conflicts(store, claimed):
    finish(store, claimed.run.id, RunStatus.CONFLICT)


def comes_back(store, claimed):
    store.write(runs.requeue, claimed.run.id, Return(NOW, "no route")).result()


def takes_the_process_down(store, claimed):
    store.write(runs.recover, NOW).result()


def is_of_other_refs_now(store, claimed):
    other = draft()._replace(refspecs=("refs/heads/a:refs/heads/b",))
    store.write(tasks.change, 1, other, NOW).result()
    done = Result(RunStatus.SUCCESS, seen=SEEN)
    store.write(runs.finish, claimed.run.id, done, NOW, claimed.task).result()


@pytest.mark.parametrize(
    "ends",
    [
        fails, is_cancelled, conflicts, comes_back, takes_the_process_down,
        is_of_other_refs_now,
    ],
)  # fmt: skip
def test_a_target_is_as_remembered_only_after_what_ended_well(store, ends):
    add(store)
    for seen in (SEEN, None):
        trigger(store)
        finish(store, claim(store).run.id, seen=seen)
    trigger(store)
    claimed = claim(store)
    assert claimed.seen == SEEN
    ends(store, claimed)
    trigger(store)
    assert claim(store).seen is None


def test_names_that_are_not_utf_8_are_kept_as_they_are(store):
    add(store)
    trigger(store)
    name = b"refs/heads/caf\xe9".decode("utf-8", "surrogateescape")
    ref = Ref(name, RefResult.REJECTED, None, "1" * 40, "why")
    finish(
        store,
        claim(store).run.id,
        RunStatus.FAILED,
        refs=(ref,),
        error_message=f"{name}: no",
        details=f"{name}\n",
        tips={name: "1" * 40},
    )
    run = get(store, 1)
    assert run.refs == (ref,)
    assert run.error_message == "refs/heads/caf\\udce9: no"
    trigger(store)
    assert claim(store).tips == {name: "1" * 40}


def test_a_run_given_back_waits_until_it_is_due(store):
    add(store)
    trigger(store)
    claim(store)
    back = Return(NOW, "no network", "first\n", delay=10_000)
    store.write(runs.requeue, 1, back).result()
    assert store.read(runs.next_due).result() == NOW + 10_000
    assert claim(store, NOW + 9_999) is None
    claimed = claim(store, NOW + 10_000)
    assert (claimed.run.attempt, claimed.failures) == (2, 1)
    finish(store, 1, details="second\n")
    assert get(store, 1).details == "first\nsecond\n"


def test_a_webhook_does_not_cut_a_back_off_short_but_a_person_does(store):
    add(store)
    trigger(store)
    claim(store)
    store.write(runs.requeue, 1, Return(NOW, "no network", delay=10_000)).result()
    trigger(store)
    assert claim(store) is None
    store.write(runs.request, 1, NewRun("manual", urgent=True), NOW).result()
    assert claim(store).run.id == 1


@pytest.mark.parametrize(
    ("asks", "waits"),
    [("manual", False), ("retry", False), ("reconcile", True), ("webhook:x", True)],
)
def test_who_asks_while_a_run_is_under_way_waits_as_who_asks_after_it(
    store, asks, waits
):
    add(store)
    trigger(store)
    claim(store)
    store.write(runs.request, 1, NewRun(asks, urgent=True), NOW).result()
    store.write(runs.requeue, 1, Return(NOW, "no network", delay=10_000)).result()
    assert (claim(store) is None) is waits


def test_a_run_serves_what_came_while_it_was_queued_and_nothing_else(store):
    add(store)
    assert store.write(runs.request, 1, NewRun("manual"), NOW).result().deliveries == ()
    finish(store, claim(store).run.id)
    trigger(store)
    claim(store)
    store.write(runs.requeue, 2, Return(NOW, "passing")).result()
    trigger(store)
    store.write(runs.cancel, 2, NOW).result()
    trigger(store)
    assert [get(store, n).deliveries for n in (1, 2, 3)] == [(), (1, 2), (3,)]
    claim(store)
    trigger(store)
    store.write(runs.requeue, 3, Return(NOW, "passing")).result()
    trigger(store)
    assert get(store, 3).deliveries == get(store, 4).deliveries == (3, 4, 5)
    store.write(tasks.remove, 1, NOW).result()
    trigger(store)
    assert get(store, 3).status is RunStatus.CANCELLED
    assert get(store, 3).deliveries == (3, 4, 5)


def test_a_delivery_that_several_runs_serve_knows_them_and_they_know_it(store):
    for name in ("one", "two", "three"):
        add(store, name, f"c-{name}")
    run_ids = tuple(trigger(store, task_id).run_ids[0] for task_id in (1, 2, 3))
    event = new_delivery()._replace(delivery_key="k", digest=b"d")
    kept = {"task_ids": (1, 2, 3), "run_ids": (*run_ids, run_ids[0])}
    number = store.write(deliveries.record, event, 200, "three", **kept).result()
    for each in run_ids:
        assert get(store, each).deliveries[-1] == number
    assert store.read(deliveries.get, number).result().run_ids == run_ids
    assert store.read(deliveries.earlier, event).result().run_ids == run_ids
    for gone, left in ((run_ids[0], run_ids[1:]), (run_ids[1], run_ids[2:])):
        finish(store, claim(store, only=gone).run.id)
        store.write(runs.delete, gone).result()
        assert store.read(deliveries.get, number).result().run_ids == left
    newest = trigger(store, 3).id
    assert store.write(maintenance.prune, 0, newest).result() == 2
    assert get(store, 3).deliveries == (3, number, newest)
    finish(store, claim(store).run.id)
    assert store.write(maintenance.prune, 0, newest).result() == 2
    assert get(store, 3).deliveries == (newest,)


def test_a_younger_run_joins_the_one_that_comes_back(store):
    add(store)
    first = trigger(store)
    claim(store)
    second = trigger(store)
    store.write(runs.requeue, 1, Return(NOW, "no network")).result()
    assert get(store, 1).deliveries == (first.id, second.id)
    assert get(store, 2).id == 1
    kept = store.read(deliveries.get, second.id).result()
    assert kept.run_ids == (1,)
    claim(store)
    assert finish(store, 1) == (1, 2)


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("A", "A"), ("AA", "A"), ("BA", None), ("AB", None), ("ABA", None),
        ("A-", None), ("-A", None), ("-AA", None), ("A-A", None), ("--", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("joined", ["queued", "running", "both"])
def test_a_hint_is_what_every_trigger_of_a_run_names(store, named, hint, joined):
    add(store)
    hints = [None if name == "-" else name for name in named]
    while_queued = {"queued": len(hints), "running": 1, "both": len(hints) // 2 or 1}
    for name in hints[: while_queued[joined]]:
        push(store, name)
    if joined != "queued":
        run_id = claim(store).run.id
        for name in hints[while_queued[joined] :]:
            push(store, name)
        store.write(runs.requeue, run_id, Return(NOW, "no route")).result()
    assert claim(store).hint == hint


def push(store, hint):
    new_run = NewRun("webhook:github", hint=hint)
    return store.write(runs.trigger, 1, new_run, NOW).result()


def test_a_run_asked_for_by_hand_while_another_was_under_way_stays_one(store):
    add(store)
    push(store, "A")
    run_id = claim(store).run.id
    store.write(runs.request, 1, NewRun("manual"), NOW).result()
    push(store, "A")
    store.write(runs.requeue, run_id, Return(NOW, "no route")).result()
    again = claim(store)
    assert (again.run.id, again.hint) == (run_id, None)
    assert again.run.trigger == "manual, webhook:github"


def test_recovery_gives_running_runs_back_as_the_next_attempt(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(Store.open(path)) as store:
        add(store)
        trigger(store)
        claim(store)
        trigger(store)
    with contextlib.closing(Store.open(path)) as store:
        assert store.write(runs.recover, NOW).result() == ([1], [])
        assert get(store, 2).id == 1
        assert claim(store).run.attempt == 2


def test_a_run_that_took_the_process_down_three_times_is_failed(store):
    add(store)
    trigger(store)
    for _ in range(2):
        claim(store)
        assert store.write(runs.recover, NOW).result() == ([1], [])
    claim(store)
    assert store.write(runs.recover, NOW).result() == ([], [1])
    assert get(store, 1).status is RunStatus.FAILED


def test_runs_that_were_under_way_together_share_the_blame_for_a_death(store):
    for name in ("one", "two", "three"):
        add(store, name, name)
    for task_id in (1, 2, 3):
        trigger(store, task_id)
    for _ in range(8):
        for _ in range(3):
            claim(store)
        assert store.write(runs.recover, NOW).result() == ([1, 2, 3], [])
    for _ in range(3):
        claim(store)
    assert store.write(runs.recover, NOW).result() == ([], [1, 2, 3])


def test_a_queued_run_is_cancelled_at_once_and_an_ended_one_not(store):
    add(store)
    trigger(store)
    cancelled = store.write(runs.cancel, 1, NOW).result()
    assert cancelled.status is RunStatus.CANCELLED
    with pytest.raises(Conflict):
        store.write(runs.cancel, 1, NOW).result()


def test_retry_queues_a_new_run_of_an_ended_one(store):
    add(store)
    trigger(store)
    with pytest.raises(Conflict):
        store.write(runs.retry, 1, NOW).result()
    finish(store, claim(store).run.id, RunStatus.FAILED)
    again = store.write(runs.retry, 1, NOW).result()
    assert (again.id, again.trigger, again.status) == (2, "retry", RunStatus.QUEUED)


def test_the_history_outlives_the_task(store):
    add(store)
    trigger(store)
    finish(store, claim(store).run.id)
    trigger(store)
    store.write(tasks.remove, 1, NOW).result()
    listed = store.read(runs.history, 1, None, 10).result()
    assert [run.status for run in listed] == [RunStatus.CANCELLED, RunStatus.SUCCESS]
    assert listed[0].task_name == "one"


def test_disabling_a_task_cancels_its_queued_run(store):
    add(store)
    trigger(store)
    store.write(tasks.change, 1, draft(enabled=False), NOW).result()
    assert get(store, 1).error_message == "the task was disabled"


def test_an_ended_run_can_be_deleted_and_a_queued_one_not(store):
    add(store)
    trigger(store)
    with pytest.raises(Conflict):
        store.write(runs.delete, 1).result()
    finish(store, claim(store).run.id)
    store.write(runs.delete, 1).result()
    with pytest.raises(NotFound):
        get(store, 1)


def test_the_history_of_a_task_is_the_newest_first_whatever_their_status(store):
    add(store)
    add(store, "two", "c2")
    for status in (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SUCCESS):
        trigger(store)
        trigger(store, 2)
        finish(store, claim(store).run.id, status)
        finish(store, claim(store).run.id)
    trigger(store)
    claim(store)
    trigger(store)

    def listed(status=None, limit=9):
        found = store.read(runs.history, 1, status, limit).result()
        return [(run.id, str(run.status)) for run in found]

    everything = listed()
    assert [status for _, status in everything] == [
        "queued", "running", "success", "failed", "success",
    ]  # fmt: skip
    assert [run_id for run_id, _ in everything] == [8, 7, 5, 3, 1]
    assert listed(limit=3) == everything[:3]
    for status in RunStatus:
        assert listed(status) == [run for run in everything if run[1] == status]
    assert listed(RunStatus.SUCCESS, 1) == [(5, "success")]


def test_an_end_that_is_told_again_changes_nothing(store):
    add(store)
    trigger(store)
    claimed = claim(store)
    finish(store, 1, details="once")
    before = get(store, 1)
    done = Result(RunStatus.FAILED, error_message="twice", details="twice")
    hear = (Subscriber("chat", frozenset({"failed"})),)
    end = store.write(runs.finish, 1, done, NOW + 9, claimed.task, subscribers=hear)
    assert end.result() == (1,)
    assert get(store, 1) == before
    assert store.read(notices.due, NOW * 2).result() == []


def test_what_is_told_of_an_attempt_does_nothing_to_a_later_one(store):
    add(store)
    trigger(store)
    task = claim(store).task
    back = Return(NOW, "no route", attempt=1)
    store.write(runs.requeue, 1, back).result()
    assert claim(store).run.attempt == 2
    done = Result(RunStatus.FAILED, error_message="late")
    for known in (None, task):
        end = store.write(runs.finish, 1, done, NOW, known, attempt=1)
        assert end.result() == ()
        store.write(runs.requeue, 1, back).result()
        now = get(store, 1)
        assert (now.status, now.attempt) == (RunStatus.RUNNING, 2)
