"""A simulated year of one store: whether file, memory and speed stay as they were.

Each day brings its share of the runs, each with three deliveries and half a notice; at
its end retention does what it does in a daemon. Time is an argument: nothing waits. The
same steps are then measured in this store and in a young one.
"""

import resource
import statistics
import time
from types import SimpleNamespace

from gms_hookd.model import RunStatus
from gms_hookd.store import (
    Store,
    by_hook,
    deliveries,
    gauges,
    maintenance,
    notices,
    runs,
    tasks,
)
from gms_hookd.store.dbthread import connect
from gms_hookd.store.deliveries import NewDelivery, RecordedDelivery
from gms_hookd.web import status_page
from gms_hookd.workers.running import DaemonState

DAY = 86_400_000  # ms
DAYS = 365
KEPT_RUNS, KEPT_DELIVERIES = 90, 30  # days, the defaults of [retention]
RUNS, TASKS = 1_000_000, 50
START = 1_700_000_000_000
LEAST = 25  # runs of each task in the store of comparison: what lists show is there
LISTED = 20  # rows of a list: as many of the rare hook are in both stores
BULK = 250  # runs in one transaction
OUTCOMES = (*[RunStatus.SUCCESS] * 18, RunStatus.FAILED, RunStatus.CONFLICT)


class Life:
    """A store, and the days that it has behind it."""

    def __init__(self, path, runs_a_day):
        Store.open(path).close()
        self.path, self.count = path, runs_a_day
        self.db = connect(path, writes=True)
        self.db.execute("PRAGMA synchronous=OFF")
        self.reader = connect(path, writes=False)
        self.day = self.number = 0
        self.now = START
        for number in range(TASKS):
            draft = tasks.Draft(
                f"t{number}", f"/s/{number}", f"/t/{number}", f"c{number}"
            )
            tasks.add(self.db, draft, self.now)

    def live(self, result):
        """Let one day pass."""
        for _ in range(0, self.count, BULK):
            self.now = START + self.day * DAY + self.number * DAY // self.count
            self.db.execute("BEGIN IMMEDIATE")
            for _ in range(min(BULK, self.count - self.number)):
                self.one(result)
            self.db.execute("COMMIT")
        self.refuse()
        self.day, self.number = self.day + 1, 0
        self.keep_up()

    def one(self, result):
        """Take one run all the way, with its deliveries and, often, a notice."""
        self.number += 1
        self.now += 1
        task_id = 1 + self.number % TASKS
        runs.accept(self.db, [self.trigger(task_id) for _ in range(3)])
        claim = runs.claim(self.db, self.now)
        status = OUTCOMES[self.number % len(OUTCOMES)]
        ended = result._replace(status=status)
        runs.finish(self.db, claim.run.id, ended, self.now, claim.task)
        if self.number % 2:
            subject = notices.Subject(task_id, f"t{task_id}", claim.run.id)
            notices.add(self.db, "ops", "failed", subject, self.now)
            lot = notices.take(self.db, "ops", self.now, together=False)
            notices.sent(self.db, lot, self.now)

    def trigger(self, task_id):
        hook = "github" if self.number % 5 else "gitlab"
        new = NewDelivery(hook, hook, "192.0.2.1", self.now, "push")
        return runs.Trigger(new, task_id, runs.NewRun(f"webhook:{hook}"))

    def refuse(self):
        """Have a hook that is rare, and some who do not get in."""
        new = NewDelivery("rare", "gitea", "192.0.2.2", self.now, "push")
        wrong = RecordedDelivery(new, 401, "wrong signature")
        deliveries.record_all(self.db, [wrong] * max(self.count // 100, 1))

    def keep_up(self):
        """Do what retention does."""
        before = self.now - KEPT_RUNS * DAY
        first = maintenance.first_since(self.db, self.now - KEPT_DELIVERIES * DAY)
        gone = 1
        while gone:
            self.db.execute("BEGIN IMMEDIATE")
            gone = maintenance.prune(self.db, before, first)
            gone += maintenance.drop_bodies(self.db, self.now)
            gone += notices.prune(self.db, before, self.now - DAY)
            self.db.execute("COMMIT")
        while more := maintenance.surplus(self.path):
            maintenance.drop(self.db, more)
        self.db.execute("BEGIN IMMEDIATE")
        while by_hook.note(self.db):
            pass
        self.db.execute("COMMIT")
        self.shrink()

    def shrink(self):
        free = "PRAGMA freelist_count"
        while self.db.execute(free).fetchone()[0] > 1024:
            maintenance.shrink(self.db)

    def rows(self, table):
        return self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def size(self):
        return self.path.stat().st_size

    # --- what is measured

    def steps(self):
        listed = deliveries.latest
        asked = status_page.Asked(
            SimpleNamespace(now=lambda: self.now, targets=("ops",)),
            DaemonState(), {}, "", {},
        )  # fmt: skip
        return {
            "enqueue": self.enqueue,
            "claim and finish": self.claim,
            "list by hook (busy)": lambda: listed(self.reader, "github", LISTED),
            "list by hook (rare)": lambda: listed(self.reader, "rare", LISTED),
            "list by hook (none)": lambda: listed(self.reader, "other", LISTED),
            "list runs of a task": lambda: runs.history(self.reader, 7, None, LISTED),
            "list dead notices": lambda: notices.latest(
                self.reader, notices.Which("ops", "dead"), LISTED
            ),
            "status page": lambda: status_page._front(self.reader, asked),
            "metrics": lambda: gauges.gauges(self.reader),
        }

    def enqueue(self):
        self.now += 1
        self.number += 1
        self.db.execute("BEGIN IMMEDIATE")
        runs.accept(self.db, [self.trigger(1 + self.number % TASKS)])
        self.db.execute("COMMIT")

    def claim(self):
        self.db.execute("BEGIN IMMEDIATE")
        if claim := runs.claim(self.db, self.now):
            result = runs.Result(RunStatus.SUCCESS)
            runs.finish(self.db, claim.run.id, result, self.now, claim.task)
        self.db.execute("COMMIT")


def year(folder, scale, result, rounds=40):
    """Live the year, a line a month; compare what comes after it with a young store."""
    count = max(int(RUNS * scale) // DAYS, TASKS)
    old, young = (Life(folder / name, count) for name in ("old.db", "young.db"))
    while young.day * count < LEAST * TASKS:
        young.live(result)
    for _ in range(LISTED):
        young.refuse()
    young.keep_up()
    began = time.process_time()
    print(f"{'day':>4}{'runs':>12}{'kept':>10}{'deliveries':>12}{'notices':>10}"
          f"{'file MB':>9}{'RSS MB':>8}{'CPU s':>8}")  # fmt: skip
    while old.day < DAYS:
        old.live(result)
        if old.day % 30 == 0 or old.day == DAYS:
            show(old, time.process_time() - began)
    compare(old, young, rounds)


def show(old, took):
    kept = "".join(
        f"{old.rows(table):>{width},}"
        for table, width in (("runs", 10), ("deliveries", 12), ("notices", 10))
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{old.day:>4}{old.day * old.count:>12,}{kept}{old.size() / 1e6:>9.1f}"
          f"{memory:>8.1f}{took:>8.0f}", flush=True)  # fmt: skip


def compare(old, young, rounds):
    print(f"\n{'CPU us':<22}{'young':>12}{'a year':>12}{'ratio':>9}{'target':>11}")
    for step in old.steps():
        times = [both(young, old, step) for _ in range(rounds)]
        small, large = (statistics.median(each) for each in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        print(f"{step:<22}{small:>12.1f}{large:>12.1f}{ratio:>8.2f}x{'<= 1.20x':>11}")


def both(young, old, step):
    """Time a step in both; before it each has a commit, as in a daemon that works."""
    took = []
    for life in (young, old):
        life.enqueue()
        life.claim()
        took.append(timed(life.steps()[step]))
    return took


def timed(act):
    began = time.thread_time()
    act()
    return (time.thread_time() - began) * 1e6
