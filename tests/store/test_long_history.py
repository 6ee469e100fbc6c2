"""What an operation costs does not grow with the history."""

import contextlib

from gms_hookd.model import RunStatus
from gms_hookd.store import (
    Store,
    listings,
    maintenance,
    runs,
    source_checks,
    tasks,
)
from gms_hookd.store.runs import Result
from tests.support.queue import NOW, add, claim, delivered, finish, trigger


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


def test_how_a_task_fares_is_read_in_an_index_alone(store):
    plan = store.read(
        lambda db: db.execute(
            "EXPLAIN QUERY PLAN SELECT status,ended_ms FROM runs WHERE task_id=? AND"
            " status IN ('success','conflict','failed','cancelled') ORDER BY id DESC",
            (1,),
        ).fetchall()
    ).result()
    assert [row[-1] for row in plan] == [
        "SEARCH runs USING COVERING INDEX runs_of_task (task_id=?)"
    ]


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


def test_counting_how_runs_ended_looks_at_hours_and_not_at_runs(store):
    add(store)
    taken = []
    for count in (2, 30):
        for _ in range(count):
            trigger(store)
            finish(store, claim(store).run.id)
        taken.append(steps(store, listings.tallies, NOW, 24, 30))
    assert taken[0] == taken[1]
