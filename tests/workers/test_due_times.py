"""The wall clock is set back or jumps ahead: what is due stays due."""

import sqlite3
from contextlib import closing

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.store import Store, runs, source_checks
from gms_hookd.store.runs import NewRun, Return
from gms_hookd.workers.retry import RetryPolicy
from tests.support import older
from tests.support.place import Place

DAY = 86400.0
BACK = [-60, -1200, -3600, -DAY, -400 * DAY]
HOOK = NewRun("webhook:task-sync")


@pytest.fixture
def place(context, tmp_path):
    return Place(context, tmp_path)


def due_in(place, run_id):
    """Return after how many seconds, by the clock as it is, a run is due."""
    query = "SELECT due_ms FROM runs WHERE id=?"
    (due,) = place.do(lambda db: db.execute(query, (run_id,)).fetchone())
    return (due - place.context.now()) / 1000


def failed_once(place, delay):
    """Return the run that waits so many seconds for its second attempt."""
    run_id = place.trigger()
    place.do(runs.claim, place.context.now())
    back = Return(place.context.now(), "no route", delay=int(delay * 1000))
    place.do(runs.requeue, run_id, back)
    return run_id


def look(place, run_id):
    place.do(runs.claim, place.context.now())


def trigger(place, run_id):
    assert place.trigger() == run_id


def start(place, run_id):
    place.do(runs.recover, place.context.now())


@pytest.mark.parametrize("step", BACK)
@pytest.mark.parametrize("event", [look, trigger, start])
def test_a_run_waits_no_longer_than_it_was_to_whatever_is_set_back(
    place, clock, event, step
):
    run_id = failed_once(place, 10)
    clock.forward(step)
    event(place, run_id)
    assert due_in(place, run_id) == 10
    clock.forward(10)
    assert place.do(runs.claim, place.context.now()).run.id == run_id


@pytest.mark.parametrize("step", BACK)
def test_a_run_that_never_waited_is_due_at_once_when_the_clock_is_set_back(
    place, clock, step
):
    run_id = place.trigger()
    clock.forward(step)
    assert place.do(runs.claim, place.context.now()).run.id == run_id


def test_what_waits_is_not_hurried_by_a_clock_that_goes_on(place, clock):
    run_id = failed_once(place, 3600)
    clock.forward(1800)
    for event in (look, trigger, start):
        event(place, run_id)
        assert due_in(place, run_id) == 1800


@pytest.mark.parametrize(
    ("asked", "waits"), [(None, 10), (77.0, 77), (3600.0, 3600), (999999.0, 3600)]
)
def test_a_host_that_asks_for_time_gets_up_to_an_hour(asked, waits):
    assert RetryPolicy().delay_after(1, 1.0, asked) == waits
    assert RetryPolicy(attempts=1).delay_after(1, 1.0, asked) is None


@pytest.mark.parametrize("step", [*BACK, 0])
def test_a_source_is_looked_at_within_two_intervals(place, clock, step):
    now = place.context.now()
    place.do(source_checks.postpone, place.task, now + 900_000)
    clock.forward(step)
    looks = []
    for _ in range(5):
        looks += place.do(source_checks.due, place.context.now(), 900_000, 9)
        clock.forward(450)
    assert looks


def test_a_run_that_waits_in_an_older_store_is_not_lost(tmp_path):
    path = older.made(tmp_path / "older.db", 5)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "INSERT INTO tasks(id,key,name,source,target,cache,host,path,refspecs,"
            "force,prune,enabled,created_ms,updated_ms)"
            " VALUES(1,'k','n','/s','/t','c','','','[]',0,0,1,0,0)"
        )
        db.execute(
            "INSERT INTO runs(task_id,task_key,task_name,status,trigger,attempt,"
            "due_ms,created_ms) VALUES(1,'k','n','queued','manual',1,10000,0)"
        )
    with closing(Store.open(path)) as store:
        store.write(runs.recover, 5000).result()
        (run,) = store.read(runs.history, None, RunStatus.QUEUED, 9).result()
        assert run.id == 1
        due = store.read(runs.next_due).result()
        assert due == 10000
        store.write(runs.recover, -(10**9)).result()
        assert store.read(runs.next_due).result() == 900_000 - 10**9
