"""Whatever comes, in whatever order: success means that what was asked for is there.

A model plays chance against a real store, worker, reconciler and engine, over a host
that fails now and then; things also happen while a run is under way. The oracle knows
only what was asked for and what the repositories had at each time:

- A run that ends `success` synced what the source had after the last of its triggers
  was accepted, or each trigger named the commit that is there.
- It says so of a target that was as it should be at some time no longer ago than what
  is remembered may be believed; by hand, within the run itself.
- What it says that it changed was changed, and nothing else.
- No trigger is lost: each has a run, and each run ends, that of a task which takes no
  more without another attempt.
"""

import contextlib
import os
import random
import shutil
import threading
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import FINAL, RunStatus
from gms_hookd.store import Store, StoreError, deliveries, runs, source_checks, tasks
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.refusals import Refusals
from gms_hookd.store.runs import NewRun
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.workers.reconciler import Reconciler
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.running import Context, RunningRuns
from gms_hookd.workers.worker import Rules, Worker
from tests.support.repositories import Repo

ROUNDS = int(os.environ.get("HISTORY_ROUNDS", "6"))
SEEDS = max(1, ROUNDS // 3)
STEPS = 30
TRUST = 900.0
INTERVAL = 900.0
MAIN, DEV = "refs/heads/main", "refs/heads/dev"
SPECS = ((f"{MAIN}:{MAIN}",), (f"{DEV}:{MAIN}",), ("refs/heads/*:refs/heads/*",))
ZERO = 40 * "0"
CHANGED = {"created", "updated", "forced", "deleted"}


@dataclass
class Told:
    """A trigger that was accepted: when, which run it got, what it named."""

    tick: int
    run_id: int
    hint: str | None
    by_hand: bool = False


@dataclass
class Past:
    """What a repository had, by when that began; the last entry is how it is."""

    repo: Repo
    entries: list = field(default_factory=list)

    def note(self, tick, time):
        """Read its branches from their files, and keep them if they are new."""
        now = {
            name: path.read_text().strip()
            for name in (MAIN, DEV)
            if (path := self.repo.path / name).exists()
        }
        if not self.entries or self.entries[-1][2] != now:
            self.entries.append((tick, time, now))

    @property
    def now(self):
        return self.entries[-1][2]

    def since(self, moment, which):
        """List what it had at that moment and after; which: 0 is a tick, 1 a time."""
        ends = [later[which] for _, later in pairwise(self.entries)]
        ends.append(float("inf"))
        zipped = zip(self.entries, ends, strict=True)
        return [refs for (*_, refs), end in zipped if end >= moment]


OFTEN = ("push", "push", "deliver", "deliver", "deliver_late", "deliver_late")
# What goes together: mixed with all else it is seldom hit upon.
MOODS = (
    ("visit", "visit", "meddle"), ("visit", "meddle", "set_clock", "reboot"),
    ("die", "retract", "retract"), ("cut_off", "fail", "retract", "order"),
    ("change", "deliver_late", "deliver_late"), ("change", "kill", "check"),
    ("fail", "order", "meddle"), ("rewind", "pass_time", "check", "meddle"),
    ("switch", "fail", "kill", "deliver"), ("switch", "cut_off", "die", "change"),
)  # fmt: skip
SELDOM = sorted({name for mood in MOODS for name in mood})
OUTSIDE = ("check", "reboot", "visit")  # not while a run is under way


class World:
    """Two sources and two targets on a host, one task, and all that can happen."""

    def __init__(self, root, host, seed):
        self.root, self.host = root, host
        self.chance = random.Random(seed)
        few = tuple(self.chance.sample(SELDOM, 3))
        self.mood = self.chance.choice((*MOODS, few)) * self.chance.choice((1, 2, 4))
        self.tick, self.time, self.wall, self.born = 0, 5000.0, 1.7e9, 0.0
        self.told, self.log = [], []
        self.past = {n: Past(Repo(root / f"{n}.git")) for n in ("s1", "s2", "t1", "t2")}
        self.seen_lines = dict.fromkeys(("t1", "t2"), 0)
        self.changes, self.muddled, self.judged = {}, set(), set()
        self.under_way = None
        self.enabled = True
        self.killed = self.failing = self.cutting = self.dying = self.deep = False
        self.past["s1"].repo.commit("main", "dev")
        twin = self.past["s2"].repo
        twin.git("fetch", "-q", str(root / "s1.git"), "main:main")
        twin.commit("dev", on=twin.tip())
        for name in ("t1", "t2"):
            self.past[name].repo.hook("post-receive", "cat >> changes\n")
        self.note()
        host.faults.append(self.request)
        for folder in ("home", "caches"):
            (root / folder).mkdir()
        self.start()
        specs = self.chance.choice(SPECS)
        self.local = self.chance.choice(("", "", "", "source", "target"))
        self.force = self.chance.random() < 0.7
        self.terms = {"source": "s1", "target": "t1", "refspecs": specs}
        self.settled = dict(self.terms)
        self.do(tasks.add, self.draft(), 0)

    def start(self):
        """Begin to serve, as after a crash."""
        self.killed, self.stopping = False, threading.Event()
        store = Store.open(self.root / "gms-hookd.db")
        clocks = {"clock": lambda: self.wall, "monotonic": self.up}
        unused = {"plans": None, "copies": None, "looks": None, "engine": None}
        running, refusals = RunningRuns(), Refusals(store, clocks["clock"])
        self.context = Context(store, refusals, running, **unused, **clocks)
        allowed = ("http", "file")
        settings = EngineSettings(self.root / "home", allow_protocols=allowed)
        engine = Engine(self.root / "caches", settings, {"PATH": os.environ["PATH"]})
        rules = Rules(engine, RetryPolicy(attempts=3, base=60), trust=TRUST)
        self.engine = engine
        self.worker = Worker(self.context, lambda: rules, self.stopping)
        self.reconciler = Reconciler(
            self.context,
            None,  # checks are carried out one by one
            lambda: engine,
            lambda: INTERVAL,
            self.stopping,
            chance=lambda: 0.5,
        )
        self.do(runs.recover, self.now())

    def up(self):
        return self.time - self.born

    def now(self):
        return int(self.wall * 1000)

    def do(self, operation, *args):
        return self.context.store.write(operation, *args).result()

    def close(self):
        self.engine.close()
        self.context.running.close()
        self.context.store.close()

    # --- what can happen

    def happen(self):
        """Let one thing happen."""
        self.note()  # what a run that is under way has done so far
        self.tick += 1
        left_out = OUTSIDE if self.deep else ()
        acts = [name for name in (*OFTEN, *self.mood) if name not in left_out]
        work = not self.deep and self.chance.random() < 0.3
        act = self.work if work else getattr(self, self.chance.choice(acts))
        self.say(act.__name__)
        act()
        self.note()

    def note(self):
        for past in self.past.values():
            past.note(self.tick, self.time)

    def say(self, *what):
        self.log.append(" ".join(map(str, (self.tick, ">" * self.deep, *what))))

    def branch(self):
        return self.chance.choice(("main", "main", "dev"))

    def push(self):
        name = self.chance.choice(("s1", "s2", *[self.terms["source"]] * 4))
        self.past[name].repo.commit(self.branch())

    def rewind(self):
        source = self.past[self.terms["source"]]
        old = self.chance.choice(source.entries)[2]
        source.repo.put(old)

    def retract(self):
        """The last push is taken back, and that is told."""
        source = self.past[self.terms["source"]]
        if len(source.entries) > 1:
            source.repo.put(source.entries[-2][2])
            self.note()
            self.tell(source.now.get(self.source_ref()))

    def deliver(self):
        """A push is told as it is, or without its commit."""
        named = self.past[self.terms["source"]].now.get(self.source_ref())
        self.tell(self.chance.choice((named, named, named, None)))

    def deliver_late(self):
        """An older push is told, after newer ones: often what was synced last."""
        entries = self.past[self.terms["source"]].entries
        old = self.chance.choice(entries[-4:])[2].get(self.source_ref())
        there = self.past[self.terms["target"]].now.get(MAIN, old)
        self.tell(self.chance.choice((old, there, there)))

    def source_ref(self):
        spec = self.terms["refspecs"][0]
        return MAIN if "*" in spec else spec.partition(":")[0]

    def tell(self, hint):
        hint = None if "*" in self.terms["refspecs"][0] else hint
        with contextlib.suppress(StoreError):  # nobody serves: it is not accepted
            run_id = self.do(accept, hint, self.now())
            if run_id is None:
                return
            self.told.append(Told(self.tick, run_id, hint))
            self.say("  accepted", run_id, hint and hint[:7])

    def order(self):
        new_run = NewRun("manual", urgent=self.chance.random() < 0.5)
        with contextlib.suppress(StoreError):
            run_id = self.do(runs.request, 1, new_run, self.now()).id
            self.told.append(Told(self.tick, run_id, None, by_hand=True))

    def visit(self):
        """A while later a delivery comes, and is seen to: nothing is new, or little."""
        self.spend(0.7 * TRUST)
        if self.chance.random() < 0.4:
            self.past[self.terms["source"]].repo.commit("main")
            self.note()
        self.tell(self.past[self.terms["target"]].now.get(MAIN))
        self.work()

    def meddle(self):
        """Somebody changes the target."""
        target = self.past[self.terms["target"]]
        others = [refs for *_, refs in target.entries[-4:] if refs != target.now]
        old = self.chance.choice(others or [{}])
        gone = dict.fromkeys(target.now.keys() - old.keys())
        with contextlib.suppress(AssertionError):  # a push holds the ref
            target.repo.put(old | gone)
        if self.deep:
            self.muddled.add(self.under_way)  # who changed what, nobody could tell
        if not old and target.now:
            self.say("  lost", target.repo.path.name)

    def pass_time(self):
        seconds = self.chance.choice((1, 60, 0.4 * TRUST, 0.7 * TRUST, 1.1 * TRUST))
        self.spend(seconds)

    def spend(self, seconds):
        self.time += seconds
        self.wall += seconds

    def set_clock(self):
        self.wall += self.chance.choice((-4000, -100, 100, 4000))

    def reboot(self):
        self.kill()
        self.restart()
        self.born = self.time - 10

    def change(self):
        if self.chance.random() < 0.5:
            self.deliver_late()
        what = self.chance.choice(("source", "target", "refspecs"))
        values = {"source": ("s1", "s2"), "target": ("t1", "t2"), "refspecs": SPECS}
        self.terms = self.terms | {what: self.chance.choice(values[what])}
        with contextlib.suppress(StoreError):
            self.do(tasks.change, 1, self.draft(), self.now())
            if what == "target" and self.settled["target"] != self.terms["target"]:
                # What was done at either target is of this run, or of none any more.
                self.muddled.update(told.run_id for told in self.told)
            self.settled = dict(self.terms)
            return
        self.terms = dict(self.settled)

    def switch(self):
        """The task is disabled, or enabled again."""
        self.enabled = not self.enabled
        try:
            self.do(tasks.change, 1, self.draft(), self.now())
        except StoreError:
            self.enabled = not self.enabled

    def draft(self):
        repos = {s: self.past[self.terms[s]].repo for s in ("source", "target")}
        source, target = (
            str(repo) if side == self.local else self.host.url(repo)
            for side, repo in repos.items()
        )
        key, specs = cache_key(source), self.terms["refspecs"]
        rules = {"force": self.force, "enabled": self.enabled}
        return tasks.Draft("app", source, target, key, refspecs=specs, **rules)

    def fail(self):
        self.failing = True

    def cut_off(self):
        self.cutting = True

    def die(self):
        self.dying = True

    def kill(self):
        """End as by kill -9: what is not in the store is gone."""
        if not self.killed:
            self.killed = True
            self.stopping.set()
            self.close()

    def restart(self):
        if self.killed:
            self.start()

    def request(self, handler):
        """Answer or spoil a request to the host; things happen meanwhile."""
        if self.deep and self.chance.random() < 0.1:
            self.happen()
        if self.failing:
            self.failing = False
            handler.answer(503)
            return True
        pushing = handler.command == "POST" and "receive" in handler.path
        if pushing and (self.cutting or self.dying):
            handler.carry_out()
            if self.dying and self.deep:
                self.kill()
            self.cutting = self.dying = False
            handler.cut()
            return True
        return False

    # --- what is done about it

    def check(self):
        for each in self.do(source_checks.due, self.now(), int(INTERVAL * 1000), 9):
            self.reconciler.check(each)
            for run in self.do(runs.history, 1, RunStatus.QUEUED, 1):
                self.told.append(Told(self.tick, run.id, None, by_hand=True))

    def work(self):
        """Carry out what is due, and judge how it ended."""
        began = self.time
        queued = self.do(runs.history, 1, RunStatus.QUEUED, 1)
        self.under_way = queued[0].id if queued else None
        assert self.enabled or not queued, self.story()
        self.deep = True
        self.worker.run_one()
        self.deep = False
        self.note()
        self.restart()
        for run in queued:
            self.judge(self.do(runs.get, run.id), began)

    def judge(self, run, began):
        lines = self.new_lines("t1") + self.new_lines("t2")
        self.changes.setdefault(run.id, []).extend(lines)
        self.say(
            "  run", run.id, run.attempt, run.trigger, run.status, run.error_message
        )
        if run.status not in FINAL or run.id in self.judged:
            return
        self.judged.add(run.id)
        mine = [told for told in self.told if self.run_of(told) == run.id]
        assert mine, self.story()
        if run.status is RunStatus.SUCCESS:
            self.judge_success(mine, began)
        if run.id not in self.muddled:
            self.judge_record(run)

    def judge_record(self, run):
        """Compare what a run says that it did with what the target's hook noted."""
        done = {}
        for old, new, ref in map(str.split, self.changes[run.id]):
            olds = done[ref][0] if ref in done else set()
            done[ref] = (olds | {old}, new)
        told = {ref.ref: ref for ref in run.refs if ref.result in CHANGED}
        assert told.keys() == done.keys(), self.story(run.refs, done)
        for name, (olds, new) in done.items():
            ref = told[name]
            assert (ref.new or ZERO) == new, self.story(run.refs, done)
            assert (ref.old or ZERO) in olds, self.story(run.refs, done)

    def judge_success(self, mine, began):
        last = max(told.tick for told in mine)
        hints = {told.hint for told in mine}
        since = began - (0 if any(told.by_hand for told in mine) else TRUST)
        sources = self.past[self.terms["source"]].since(last, 0)
        targets = self.past[self.terms["target"]].since(since, 1)
        for src, dst in self.pairs():
            wanted = {refs.get(src) for refs in sources}
            if None in wanted:
                continue  # the source had no such branch: nothing was to be done
            if len(hints) == 1 and None not in hints:
                wanted |= hints
            there = {refs.get(dst) for refs in targets}
            assert wanted & there, self.story(src, wanted, there)

    def pairs(self):
        spec = self.terms["refspecs"][0]
        return ((MAIN, MAIN), (DEV, DEV)) if "*" in spec else (spec.split(":"),)

    def run_of(self, told):
        with contextlib.suppress(StoreError):
            return self.do(runs.get, told.run_id).id
        return None

    def new_lines(self, name):
        """Read what pushes have changed at a target, as its own hook noted it."""
        file = self.past[name].repo.path / "changes"
        lines = file.read_text().splitlines() if file.exists() else []
        new, self.seen_lines[name] = lines[self.seen_lines[name] :], len(lines)
        return new

    def settle(self):
        """Let nothing more happen but what was asked for."""
        self.failing = self.cutting = self.dying = False
        self.chance.random = lambda: 1.0
        for _ in range(20):
            self.tick += 1
            self.spend(5000)
            self.work()
            if not self.do(runs.history, None, RunStatus.QUEUED, 1):
                break
        for told in self.told:
            assert self.do(runs.get, told.run_id).status in FINAL, self.story()

    def story(self, *more):
        return "\n".join([*self.log, *map(str, more)])


def accept(db, hint, now):
    """Take a delivery that names a commit, as the hooks do."""
    run_id = runs.trigger(db, 1, NewRun("webhook:in", hint=hint), now)
    if run_id is None:
        return None  # disabled
    new_delivery = NewDelivery("in", "github", "192.0.2.1", now)
    deliveries.record(db, new_delivery, 200, "", task_ids=(1,), run_ids=(run_id,))
    return run_id


@pytest.fixture
def world(tmp_path, http_host, empty_store):
    shutil.copy(empty_store, tmp_path)
    made = []

    def make(seed):
        made.append(World(tmp_path, http_host, seed))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_success_means_that_what_was_asked_for_is_there(world, seed):
    it = world(seed)
    for _ in range(STEPS):
        it.happen()
        it.restart()
    it.settle()
    assert it.judged or "switch" in it.mood  # what is disabled has no run
