"""What a trigger's way through the store costs when it has a long history.

    python3 tests/bench/store.py [--rounds N] [--rows 1000,1000000] | --year SCALE

Two stores have so many ended runs, each with its delivery, and the same tasks. Each
round queues a run for every task, as a burst of triggers does, claims and finishes them
one by one, first in one store and then in the other. CPU time is shown, which another
program's work changes least; of the rounds the median, of their ratios, too.

`--year 1` lives through a year with 1,000,000 runs in its place (see year.py), `--year
0.1` through one with a tenth of them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gms_hookd.model import Ref, RefResult, RunStatus
from gms_hookd.store import Store, runs, tasks
from gms_hookd.store.dbthread import connect
from gms_hookd.store.deliveries import NewDelivery
from tests.bench.year import year

TASKS = 50
NEW_RUN = runs.NewRun("webhook:task-sync")
REFS = (Ref("refs/heads/main", RefResult.UPDATED, "0" * 40, "1" * 40),)
RESULT = runs.Result(
    RunStatus.SUCCESS,
    commit_range="0000000..1111111",
    refs=REFS,
    details="fetched\npushed\n" * 20,
    tips={"refs/heads/main": "1" * 40},
)
NUMBERS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<:rows)"
HISTORY = (
    f"""{NUMBERS} INSERT INTO runs(task_id,task_key,task_name,status,trigger,due_ms,
        created_ms,started_ms,ended_ms,commit_range,refs,details,after_delivery,
        last_delivery) SELECT t.id,t.key,t.name,'success',r.trigger,i,i,i,i,
        r.commit_range,r.refs,r.details,i-1,i
        FROM n JOIN tasks t ON t.id=1+i%:tasks JOIN runs r ON r.id=1""",
    f"""{NUMBERS} INSERT INTO deliveries(hook,provider,event,received_ms,client,status,
        reason,task_ids,run_id) SELECT d.hook,d.provider,d.event,i,d.client,d.status,
        d.reason,d.task_ids,i FROM n JOIN deliveries d ON d.id=1""",
)


class Queue:
    """A store with so many ended runs, used as the writing lane uses it."""

    def __init__(self, path, rows):
        Store.open(path).close()
        self.db = connect(path, writes=True)
        self.now = rows
        for number in range(TASKS):
            ends = {"source": f"/s/{number}", "target": f"/t/{number}"}
            draft = tasks.Draft(name=f"t{number}", cache=f"c{number}", **ends)
            tasks.add(self.db, draft, self.now)
        self.round()
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute("BEGIN")
        for statement in HISTORY:
            self.db.execute(statement, {"rows": rows, "tasks": TASKS})
        self.db.execute("COMMIT")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.db.execute("PRAGMA synchronous=FULL")

    def round(self):
        """Take a run of every task all the way; us for each step."""
        times, numbers = {}, range(1, TASKS + 1)
        self.db.execute("BEGIN IMMEDIATE")
        times["enqueue"], _ = timed(self.enqueue, numbers)
        times["join the queued one"], _ = timed(self.enqueue, numbers)
        times[f"commit {TASKS} of each"], _ = timed(self.commit, ["once"])
        times["list the queue"], found = timed(self.queued, range(5))
        assert {len(each) for each in found} == {TASKS}
        times["when is the next due"], _ = timed(self.next_due, numbers)
        times["claim and commit"], claims = timed(self.claim, numbers)
        times["finish and commit"], _ = timed(self.finish, claims)
        return times

    def enqueue(self, task_id):
        self.now += 1
        new_delivery = NewDelivery(
            "task-sync", "gms", "192.0.2.1", self.now, "task-sync"
        )
        return runs.accept(self.db, [runs.Trigger(new_delivery, task_id, NEW_RUN)])

    def commit(self, _=None):
        self.db.execute("COMMIT")

    def queued(self, _):
        return runs.history(self.db, None, RunStatus.QUEUED, 1000)

    def next_due(self, _):
        return runs.next_due(self.db)

    def claim(self, _):
        self.db.execute("BEGIN IMMEDIATE")
        claimed = runs.claim(self.db, self.now)
        self.commit()
        return claimed

    def finish(self, claim):
        self.db.execute("BEGIN IMMEDIATE")
        runs.finish(self.db, claim.run.id, RESULT, self.now, claim.task)
        self.commit()


def timed(act, given):
    """Do it for each; gives us for one, and what came of each."""
    started = time.thread_time()
    found = [act(each) for each in given]
    return (time.thread_time() - started) / len(found) * 1e6, found


def show(rows, rounds):
    heads = "".join(f"{count:>12,} rows" for count in rows)
    print(f"{'CPU us':<22}{heads}{'ratio':>9}{'target':>11}")
    for step in rounds[0][0]:
        small, large = ([both[n][step] for both in rounds] for n in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(small, large, strict=True))
        cells = (f"{statistics.median(times):>17.1f}" for times in (small, large))
        print(f"{step:<22}{''.join(cells)}{ratio:>8.2f}x{'<= 1.10x':>11}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rows", default="1000,1000000")
    parser.add_argument("--year", type=float, metavar="SCALE")
    return parser.parse_args()


def main():
    options = parse()
    rows = [int(count) for count in options.rows.split(",")]
    with tempfile.TemporaryDirectory(prefix="store-", dir="/var/tmp") as folder:
        if options.year:
            year(Path(folder), options.year, RESULT)
            return
        queues = [Queue(Path(folder) / f"{count}.db", count) for count in rows]
        with closing(queues[0].db), closing(queues[1].db):
            rounds = [
                [queue.round() for queue in queues] for _ in range(options.rounds)
            ]
        show(rows, rounds)


if __name__ == "__main__":
    main()
