"""How runs ended is counted by the hour, and stays right whatever becomes of them."""

import random

from gms_hookd.model import RunStatus
from gms_hookd.store import clock, listings, maintenance, runs, tasks
from tests.support.queue import HOOK, add

HOUR = listings.HOUR
BEGIN = 500_000 * HOUR
ENDED = [RunStatus(each) for each in listings.ENDS]


def looked_up(db, since, hours, count):
    """Count by a look at all runs."""
    spans = [dict.fromkeys(listings.ENDS, 0) for _ in range(count)]
    query = "SELECT ended_ms,status FROM runs WHERE ended_ms>=?"
    for ended, status in db.execute(query, (since,)):
        span = (ended - since) // (hours * HOUR)
        if span < count:
            spans[span][status] += 1
    return tuple(spans)


def agree(db, now):
    for hours, count in ((1, 24), (24, 30), (5, 3)):
        since = (now // HOUR + 1 - hours * count) * HOUR
        counted = listings.tallies(db, now, hours, count)
        assert counted == looked_up(db, since, hours, count)


def end_one(db, chance, now):
    """Have a run end in one of the ways in which runs end."""
    task = tasks.get(db, chance.randint(1, 3))
    run_id = runs.trigger(db, task.id, HOOK, now)
    status = chance.choice([*ENDED, None])
    if status is None:
        runs.cancel(db, run_id, now)
        return
    runs.claim(db, now, run_id)
    if chance.random() < 0.2:
        runs.requeue(db, run_id, runs.Return(now, "again"))
        runs.claim(db, now, run_id)
    runs.finish(db, run_id, runs.Result(status), now, task)


def test_counts_are_those_of_a_look_at_all_runs(store):
    chance = random.Random(17)
    for name in ("one", "two", "three"):
        add(store, name, name)

    def live(db):
        now = BEGIN
        for _ in range(300):
            now += chance.randrange(6 * HOUR)
            end_one(db, chance, now)
        agree(db, now)
        runs.delete(db, 300)
        runs.delete(db, 299)
        agree(db, now)
        clock.bring_back(db, now - 10 * 24 * HOUR, 1000)  # it was ahead until now
        agree(db, now)
        agree(db, now - 10 * 24 * HOUR)
        end_one(db, chance, now - 12 * 24 * HOUR)  # and was set back
        agree(db, now - 10 * 24 * HOUR)

    store.write(live).result()


def test_what_retention_deletes_is_counted_no_more_and_leaves_no_row(store):
    add(store)
    hours = 40

    def live(db):
        task = tasks.get(db, 1)
        for hour in range(hours):
            now = BEGIN + hour * HOUR
            run_id = runs.trigger(db, 1, HOOK, now)
            runs.claim(db, now, run_id)
            runs.finish(db, run_id, runs.Result(RunStatus.SUCCESS), now, task)
        maintenance.prune(db, BEGIN + 30 * HOUR, 0)
        agree(db, now)
        return db.execute("SELECT sum(success),count(*) FROM tallies").fetchone()

    assert store.write(live).result() == (10, 10)
