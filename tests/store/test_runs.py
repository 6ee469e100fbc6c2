"""The queue in the store: what is accepted is there, once, until it has ended."""

import contextlib
import os
import random
import shutil
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gms_hookd.model import Moment, Ref, RefResult, RunStatus
from gms_hookd.store import (
    Conflict,
    NotFound,
    Store,
    StoreError,
    Unavailable,
    deliveries,
    maintenance,
    runs,
    schema,
    source_checks,
    tasks,
)
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.runs import NewRun, Result, Return

NOW = 1_700_000_000_000
SEEN = Moment(NOW, 1)
HOOK = NewRun("webhook:task-sync")


def draft(name="one", cache="c1", **more):
    source, target = f"/src/{cache}", f"/dst/{name}"
    return tasks.Draft(name=name, source=source, target=target, cache=cache, **more)


def new_delivery(at=NOW):
    return NewDelivery("task-sync", "gms", "192.0.2.1", at)


def add(store, name="one", cache="c1", **more):
    return store.write(tasks.add, draft(name, cache, **more), NOW).result()


def trigger(store, task_id=1, now=NOW):
    """Have a trigger accepted; gives the delivery as it is kept."""
    told = store.gather(runs.accept, delivered(task_id, now)).result()
    (kept,) = store.read(deliveries.latest, None, 1).result()
    assert (kept.status, kept.reason) == (told.status, told.reason)
    assert (kept.task_ids, kept.run_ids) == (told.task_ids, told.run_ids)
    return kept


def delivered(task_id=1, now=NOW):
    return runs.Trigger(new_delivery(now), task_id, HOOK)


def claim(store, now=NOW, only=None):
    return store.write(runs.claim, now, only).result()


def finish(store, run_id, status=RunStatus.SUCCESS, **more):
    task = store.read(tasks.get, get(store, run_id).task_id).result()
    result = Result(status, **more)
    return store.write(runs.finish, run_id, result, NOW + 5, task).result()


def get(store, run_id):
    return store.read(runs.get, run_id, details=True).result()


def test_a_task_is_found_by_id_key_and_name(store):
    task = add(store, refspecs=("refs/heads/a:refs/heads/b",), timeout=5.0)
    for by in ({"id": 1}, {"key": task.key}, {"name": "one"}):
        assert store.read(tasks.find, by).result() == task
    with pytest.raises(NotFound):
        store.read(tasks.find, {"name": "two"}).result()


def test_a_name_is_taken_once(store):
    add(store)
    with pytest.raises(Conflict):
        add(store)
    add(store, "two")
    with pytest.raises(Conflict):
        store.write(tasks.change, 2, draft("one"), NOW).result()


def test_ids_of_removed_tasks_are_not_used_again(store):
    add(store)
    store.write(tasks.remove, 1, NOW).result()
    assert add(store, "two").id == 2


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
    store.write(runs.fetched, 1).result()
    assert claim(store).run.task_id == 2
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
    store.write(runs.fetched, 1).result()
    assert waits_for(store, 2) == "a free worker"


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


def test_a_refused_operation_undoes_only_itself(store):
    add(store)
    guard, release = threading.Event(), threading.Event()

    def hold(_db):
        guard.set()
        release.wait(10)

    def half_done(db):
        tasks.add(db, draft("half"), NOW)
        raise Conflict("no")

    held = store.write(hold)
    guard.wait(10)
    batch = [store.write(half_done), store.write(tasks.add, draft("two"), NOW)]
    release.set()
    held.result()
    with pytest.raises(Conflict):
        batch[0].result()
    assert batch[1].result().name == "two"
    names = [task.name for task in store.read(tasks.every).result()]
    assert names == ["one", "two"]


def test_everything_that_waits_is_committed_before_the_store_closes(tmp_path):
    path = tmp_path / "gms-hookd.db"
    store = Store.open(path)
    add(store)
    written = [store.gather(runs.accept, delivered()) for _ in range(500)]
    store.close()
    assert all(each.result().status == 200 for each in written)
    with contextlib.closing(Store.open(path)) as store:
        assert len(get(store, 1).deliveries) == 500
    refused = store.write(maintenance.ping)
    assert isinstance(refused.exception(), Unavailable)


def test_a_locked_file_is_unavailable_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr("gms_hookd.store.dbthread.BUSY_MS", 50)
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(Store.open(path)) as store:
        add(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            trigger(store)
        other.execute("ROLLBACK")
        other.close()
        assert trigger(store).status == 200


def test_the_reading_connection_cannot_write(store):
    with pytest.raises(StoreError):
        store.read(tasks.add, draft(), NOW).result()


def test_the_file_is_for_us_alone(store):
    add(store)
    for file in store.path.parent.glob("gms-hookd.db*"):
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_every_commit_is_synced(store):
    pragmas = ("journal_mode", "synchronous", "auto_vacuum")
    found = store.write(
        lambda db: [db.execute(f"PRAGMA {p}").fetchone()[0] for p in pragmas]
    ).result()
    assert found == ["wal", 2, 2]


@pytest.mark.parametrize(
    "content",
    [b"not a database", b"SQLite format 3\0" + bytes(2000), b"\xff" * 4096],
    ids=["text", "no-application", "garbage"],
)
def test_a_foreign_file_is_refused_untouched(tmp_path, content):
    path = tmp_path / "gms-hookd.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="move it away"):
        Store.open(path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["gms-hookd.db"]


def test_another_programs_database_is_refused_untouched(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs(x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a store of gms-hookd"):
        Store.open(path)
    assert path.read_bytes() == before


def files_of(path):
    """Tell what is in the file, its -wal and its -shm."""
    return {p.name: p.read_bytes() for p in path.parent.glob(f"{path.name}*")}


@pytest.fixture
def killed(tmp_path):
    """Make the files that a kill leaves: triggers are in the -wal only."""
    place, left = tmp_path / "living", tmp_path / "left"
    place.mkdir()
    with contextlib.closing(Store.open(place / "gms-hookd.db")) as store:
        many = [draft(f"t{n}", f"c{n}") for n in range(200)]
        store.write(lambda db: [tasks.add(db, each, NOW) for each in many]).result()
        store.alone(maintenance.shrink).result()
        trigger(store)
        shutil.copytree(place, left)
    return left / "gms-hookd.db"


def overwrite(path, at, content):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def damage_a_page(path):
    # One that the -wal does not have, whose content sqlite looks at in a quick check.
    frames = path.with_name(f"{path.name}-wal").read_bytes()[32:]
    newer = {frames[at : at + 4] for at in range(0, len(frames), 4096 + 24)}
    pages = range(3, path.stat().st_size // 4096 + 1)
    old = [n for n in pages if n.to_bytes(4, "big") not in newer]
    overwrite(path, (old[len(old) // 2] - 1) * 4096, random.Random(1).randbytes(4096))


def make_newer(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version={len(schema.STEPS) + 1}")
        shutil.copytree(path.parent, path.parent.with_name("newer"))
    shutil.copytree(path.parent.with_name("newer"), path.parent, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (damage_a_page, "damaged"),
        (lambda path: overwrite(path, 0, b"\0" * 100), "not a sqlite3 file"),
        (lambda path: overwrite(path, 20, b"\xff" * 80), "damaged|not a sqlite3"),
        (lambda path: os.truncate(path, 0), "is empty, but not its -wal"),
        (lambda path: os.truncate(path, 4096), "damaged"),
        (lambda path: path.unlink(), "is missing, but not its -wal"),
        (make_newer, "newer gms-hookd"),
    ],
)
@pytest.mark.parametrize("shm", [True, False])
def test_a_refused_start_changes_no_byte_of_any_file(killed, fault, why, shm):
    fault(killed)
    if not shm:
        killed.with_name(f"{killed.name}-shm").unlink()
    before = files_of(killed)
    assert len(before[f"{killed.name}-wal"]) > 0
    with pytest.raises(StoreError, match=f"^[^\n]*({why})[^\n]*$"):
        Store.open(killed)
    assert files_of(killed) == before


@pytest.mark.parametrize("shm", [True, False])
def test_what_a_kill_left_is_all_there(killed, shm):
    if not shm:
        killed.with_name(f"{killed.name}-shm").unlink()
    with contextlib.closing(Store.open(killed)) as store:
        assert len(store.read(tasks.every).result()) == 200
        assert store.read(deliveries.newest).result() == 1


def test_a_start_that_was_cut_off_before_the_first_step_is_begun_again(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
    assert path.stat().st_size > 0
    Store.open(path).close()


def test_a_store_of_the_first_schema_keeps_which_runs_served_a_delivery(
    tmp_path, monkeypatch
):
    path = tmp_path / "old.db"
    with monkeypatch.context() as before:
        before.setattr(schema, "STEPS", schema.STEPS[:1])
        Store.open(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for each in range(1, 4):
            db.execute(
                "INSERT INTO deliveries(hook,provider,received_ms,client,status,reason)"
                " VALUES('in','gms',1,'192.0.2.1',200,'accepted')"
            )
            db.execute(
                "INSERT INTO runs(task_id,task_key,task_name,status,trigger,due_ms,"
                "created_ms) VALUES(?,'k','n','queued','webhook:in',1,1)",
                (each,),
            )
        links = [(1, 1), (2, 2), (2, 3), (2, 1)]
        db.executemany("INSERT INTO links(delivery_id,run_id) VALUES(?,?)", links)
    with contextlib.closing(Store.open(path)) as store:
        kept = store.read(deliveries.latest, "in", 9).result()
        assert [each.run_ids for each in kept] == [(), (1, 2, 3), (1,)]
        assert [get(store, n).deliveries for n in (1, 2, 3)] == [(1, 2), (2,), (2,)]
        assert store.write(deliveries.record, new_delivery(), 200, "new").result() == 4


def test_tasks_of_an_older_store_are_found_by_all_addresses_of_their_source(
    tmp_path, monkeypatch
):
    path = tmp_path / "old.db"
    with monkeypatch.context() as before:
        before.setattr(schema, "STEPS", schema.STEPS[:2])
        Store.open(path).close()
    sources = "ssh://git@ssh.github.com:443/Org/App.git", "/srv/App.git", "no address"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for each in sources:
            db.execute(
                "INSERT INTO tasks(key,name,source,target,refspecs,force,prune,enabled,"
                "cache,host,path,created_ms,updated_ms)"
                " VALUES(?,?,?,'/t','[]',0,0,1,'c','old','old',1,1)",
                (each, each, each),
            )
    with contextlib.closing(Store.open(path)) as store:
        places = ("github.com", "org/app"), ("", "/srv/App"), ("", "")
        found = [store.read(tasks.of_source, *place).result() for place in places]
        assert [task.source for each in found for task in each] == list(sources)


def test_a_newer_store_is_refused_untouched(tmp_path):
    path = tmp_path / "gms-hookd.db"
    Store.open(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version={len(schema.STEPS) + 1}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer gms-hookd"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_damaged_store_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(Store.open(path)) as store:
        for number in range(50):
            add(store, f"t{number}", f"c{number}")
    content = bytearray(path.read_bytes())
    content[8192:20000] = b"\xee" * (20000 - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        Store.open(path)


def test_old_rows_go_and_what_waits_stays(store):
    add(store)
    trigger(store)
    finish(store, claim(store).run.id)
    waiting = trigger(store)
    newest = store.write(deliveries.record, new_delivery(), 200, "ping").result()
    later = NOW + 1_000_000
    first = store.read(maintenance.first_since, later).result()
    assert store.write(maintenance.prune, later, first).result() == 2
    assert store.write(maintenance.prune, later, first).result() == 0
    kept = store.read(deliveries.latest, None, 10).result()
    assert [d.id for d in kept] == [newest, waiting.id]


def test_deliveries_as_young_as_the_limit_stay(store):
    for moment in (NOW, NOW + 1, NOW + 2):
        young = new_delivery(moment)
        store.write(deliveries.record, young, 200, "ping").result()
    first = store.read(maintenance.first_since, NOW + 1).result()
    assert store.write(maintenance.prune, 0, first).result() == 1
    assert [d.id for d in store.read(deliveries.latest, None, 10).result()] == [3, 2]


def test_no_id_of_a_delivery_is_given_twice(store):
    first = store.write(deliveries.record, new_delivery(), 200, "ping").result()
    store.write(maintenance.prune, 0, sys.maxsize).result()
    assert store.write(deliveries.record, new_delivery(), 200, "ping").result() > first


def test_refused_deliveries_are_bounded(store, monkeypatch):
    monkeypatch.setattr(maintenance, "REFUSED", 3)
    for _ in range(5):
        store.write(deliveries.record, new_delivery(), 401, "wrong").result()
    assert maintenance.surplus(store.path) == [2, 1]
    store.write(maintenance.drop, [2, 1]).result()
    assert not maintenance.surplus(store.path)
    kept = store.read(deliveries.latest, "task-sync", 10).result()
    assert [d.id for d in kept] == [5, 4, 3]


def test_shrinking_gives_the_space_back(store):
    add(store)
    for _ in range(300):
        trigger(store)
        finish(store, claim(store).run.id, details="".join(map(str, range(2000))))
    while store.write(maintenance.prune, NOW * 2, NOW * 2).result():
        pass
    before = store.path.stat().st_size
    store.alone(maintenance.shrink).result()
    assert store.path.stat().st_size < before / 2
    assert store.path.with_name(store.path.name + "-wal").stat().st_size == 0


def test_a_backup_is_consistent_while_writing_and_for_us_alone(store, tmp_path):
    add(store)
    written = [store.gather(runs.accept, delivered()) for _ in range(300)]
    copy = tmp_path / "copy.db"
    store.backup(copy)
    [each.result() for each in written]
    assert copy.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(Store.open(copy)) as restored:
        assert restored.read(tasks.get, 1).result().name == "one"
    assert not list(tmp_path.glob(".*"))


def by_another_way(path):
    link = path.parent / "folder"
    link.symlink_to(path.parent)
    return link / path.name


def by_link(path):
    link = path.parent / "link"
    link.symlink_to(path.name)
    return link


def by_second_name(path):
    second = path.parent / "second"
    second.hardlink_to(path)
    return second


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize(
    "way",
    [
        lambda path: path,
        lambda path: path.parent / "x" / ".." / path.name,
        by_another_way,
        by_link,
        by_second_name,
    ],
)
def test_a_backup_never_overwrites_the_store(store, suffix, way):
    add(store)
    before = sorted(store.path.parent.iterdir())
    file = store.path.with_name(store.path.name + suffix)
    inode = file.stat().st_ino
    there = way(file)
    with pytest.raises(StoreError, match="the store itself"):
        store.backup(there)
    assert file.stat().st_ino == inode
    assert {*store.path.parent.iterdir()} - {*before} <= {there, there.parent}
    add(store, "still", "writable")


@pytest.mark.parametrize("name", ["lock", "control.sock", "webhook-secret", "caches"])
def test_a_backup_never_replaces_what_lies_beside_the_store(store, name):
    store.path.with_name(name).touch()
    with pytest.raises(StoreError, match="the store itself"):
        store.backup(store.path.with_name(name))


def test_a_backup_that_cannot_be_written_leaves_nothing(store, tmp_path):
    with pytest.raises(Unavailable):
        store.backup(tmp_path / "missing" / "copy.db")


def test_the_queue_is_read_through_indexes(store):
    plan = store.read(
        lambda db: db.execute(
            "EXPLAIN QUERY PLAN SELECT r.id FROM runs r WHERE r.status='queued'"
            " AND r.due_ms<=5 AND NOT EXISTS(SELECT 1 FROM runs b"
            " WHERE b.status='running' AND b.task_id=r.task_id) ORDER BY r.id LIMIT 1"
        ).fetchall()
    ).result()
    text = " ".join(row[-1] for row in plan)
    assert "runs_by_status" in text
    assert "runs_one_running" in text
    assert "TEMP B-TREE" not in text


def age(store, rows):
    """Give the store so many ended runs, of all its tasks in turn, with deliveries."""
    numbers = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n"
    numbers = f"{numbers} WHERE i<{rows})"

    def fill(db):
        db.execute(
            f"{numbers} INSERT INTO runs(task_id,task_key,task_name,status,trigger,"
            "due_ms,created_ms,started_ms,ended_ms,after_delivery,last_delivery)"
            " SELECT t.id,t.key,t.name,'success','manual',i,i,i,i,i-1,i FROM n"
            " JOIN tasks t ON t.id=1+i%(SELECT count(*) FROM tasks)"
        )
        db.execute(
            f"{numbers} INSERT INTO deliveries(hook,provider,received_ms,client,status,"
            "reason,run_id) SELECT 'task-sync','gms',i,'192.0.2.1',200,'accepted',i"
            " FROM n"
        )

    store.write(fill).result()


def steps(store, operation, *args):
    """Count the instructions of sqlite's machine that an operation takes."""
    count = 0

    def counted(db):
        def step():
            nonlocal count
            count += 1

        db.set_progress_handler(step, 1)
        try:
            operation(db, *args)
        finally:
            db.set_progress_handler(None, 0)

    store.write(counted).result()
    return count


def steps_of_a_run(store):
    """Count what each step of a run's way takes, after one that went before."""
    taken = {}
    done = Result(RunStatus.SUCCESS, tips={"refs/heads/main": "1" * 40})
    task = store.read(tasks.get, 1).result()
    for _ in range(2):
        run_id = trigger(store).run_ids[0]
        taken = {
            "coalesce": steps(store, runs.accept, [delivered()]),
            "depth": steps(store, runs.history, None, RunStatus.QUEUED, 9),
            "next due": steps(store, runs.next_due),
            "claim": steps(store, runs.claim, NOW),
            "finish": steps(store, runs.finish, run_id, done, NOW, task),
            "enqueue": steps(store, runs.accept, [delivered()]),
            "last": steps(store, runs.last, 1),
            "checks": steps(store, source_checks.due, NOW, 1, 9),
            "upkeep": steps(store, maintenance.prune, 0, 0),
        }
        finish(store, claim(store).run.id)
    return taken


def test_no_step_of_a_run_takes_longer_after_a_long_history(store, tmp_path):
    with contextlib.closing(Store.open(tmp_path / "old.db")) as old:
        for each in (store, old):
            add(each)
            add(each, "two", "c2")
        age(old, 2000)
        assert steps_of_a_run(old) == steps_of_a_run(store)


def pages_of_a_burst(store, count):
    """Count the pages written to enqueue a run of so many tasks at once."""
    wal = store.path.with_name(store.path.name + "-wal")
    store.alone(maintenance.shrink).result()

    def burst(db):
        runs.accept(db, [delivered(number + 1) for number in range(count)])

    store.write(burst).result()
    return wal.stat().st_size // 4096


def test_a_burst_of_triggers_writes_few_pages_whatever_the_history(store, tmp_path):
    with contextlib.closing(Store.open(tmp_path / "old.db")) as old:
        for each, rows in ((store, 500), (old, 20_000)):
            for number in range(30):
                add(each, f"t{number}", f"c{number}")
            age(each, rows)
        assert pages_of_a_burst(old, 30) <= pages_of_a_burst(store, 30) + 6


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


def test_writes_held_back_are_committed_together_when_they_are_released(store):
    store.turn.hold()
    held = [store.write(lambda db: threading.get_ident()) for _ in range(3)]
    assert store.waiting == 3
    store.turn.release()
    assert [future.result(timeout=10) for future in held] == [threading.get_ident()] * 3


def test_what_another_thread_writes_is_not_held_back(store):
    store.turn.hold()
    with ThreadPoolExecutor(1) as other:
        written = other.submit(store.write, lambda db: "written").result(timeout=10)
        assert written.result(timeout=10) == "written"
    store.turn.release()


def test_held_writes_do_not_wait_for_another_process_in_the_releasing_thread(store):
    store.turn.hold()
    held = store.write(lambda db: threading.get_ident())
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.turn.release()
        assert not held.done()
        other.execute("ROLLBACK")
    assert held.result(timeout=10) != threading.get_ident()


def test_one_that_fails_among_held_writes_undoes_only_itself(store):
    def leave(db, name):
        db.execute(f"CREATE TABLE {name} (a)")
        if name == "bad":
            raise StoreError("not this one")

    store.turn.hold()
    held = [store.write(leave, name) for name in ("one", "bad", "two")]
    store.turn.release()
    failures = [type(future.exception(timeout=10)) for future in held]
    assert failures == [type(None), StoreError, type(None)]
    listed = "SELECT name FROM sqlite_master"
    names = store.read(lambda db: db.execute(listed).fetchall())
    assert {("one",), ("two",)} <= set(names.result(timeout=10))
    assert ("bad",) not in names.result()


def test_after_a_slow_commit_held_writes_go_to_the_writing_thread(store):
    store._writer._pace = 1.0
    store.turn.hold()
    held = store.write(lambda db: threading.get_ident())
    store.turn.release()
    assert held.result(timeout=10) != threading.get_ident()
