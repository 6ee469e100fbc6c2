"""A yes is for what was shown: these deletions, at one attempt, and nothing more."""

import contextlib
import sqlite3
from dataclasses import replace

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.store import Store, runs, tasks
from gms_hookd.store.runs import NewRun, Return
from gms_hookd.sync.job import SyncJob
from tests.support import older
from tests.support.place import Place
from tests.support.repositories import task

BRANCHES = [f"refs/heads/b{n}" for n in range(12)]
TREE = {"refspecs": (), "prune": True}


def lose(source, *numbers):
    source.put({BRANCHES[n]: None for n in numbers})


@pytest.fixture
def mirror(source, target, bench):
    """A mirror of main and twelve branches, in step, that prunes."""
    source.put(dict.fromkeys(BRANCHES, source.tip()))
    it = task(source, target, prune=True)
    bench.sync(it)
    return it


def shown(bench, it):
    return bench.engine.plan(SyncJob(it, bench.known), bench.log, bench.stop).held


def test_what_was_shown_is_deleted(source, target, bench, mirror):
    lose(source, *range(9))
    held = shown(bench, mirror)
    assert held == dict.fromkeys(BRANCHES[:9], source.tip())
    assert bench.sync(mirror, confirmed=held).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_what_a_guard_would_not_hold_needs_no_yes(source, bench, mirror):
    lose(source, 1, 2)
    assert shown(bench, mirror) is None


def test_less_than_was_shown_is_deleted(source, target, bench, mirror):
    lose(source, *range(9))
    held = shown(bench, mirror)
    source.put({BRANCHES[0]: source.tip()})
    assert bench.sync(mirror, confirmed=held).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def one_more_is_lost(source, target):
    lose(source, 10)


def all_is_lost(source, target):
    source.put(dict.fromkeys(source.refs()))


def one_has_moved(source, target):
    target.commit("b3")


@pytest.mark.parametrize("then", [one_more_is_lost, all_is_lost, one_has_moved])
def test_more_than_was_shown_is_held_back_whole(source, target, bench, mirror, then):
    mirror = replace(mirror, force=True)
    lose(source, *range(9))
    held = shown(bench, mirror)
    then(source, target)
    before = target.refs()
    outcome = bench.sync(mirror, confirmed=held)
    assert (outcome.status, target.refs()) == (RunStatus.CONFLICT, before)
    assert outcome.held
    assert "held back" in outcome.error_message


def test_a_branch_that_moves_under_the_deletion_stays(source, target, bench):
    """Its new commits were shown to nobody, though force would overwrite them."""
    source.put(dict.fromkeys(BRANCHES, source.tip()))
    it = task(source, target, prune=True, force=True)
    bench.sync(it)
    new = target.commit("elsewhere", on=target.tip())
    target.put({"refs/heads/elsewhere": None})
    lose(source, *range(9))
    once = f"[ $1 != {BRANCHES[3]} ] || [ -e moved ]"
    target.hook("update", f"{once} || {{ touch moved; git update-ref $1 {new}; }}\n")
    outcome = bench.sync(it, confirmed=shown(bench, it))
    assert outcome.status is RunStatus.CONFLICT
    assert target.refs().keys() & set(BRANCHES[:9]) == {BRANCHES[3]}
    assert target.tip("b3") == new


def test_an_empty_source_is_not_what_some_deletions_were_shown_for(
    source, target, bench
):
    it = task(source, target)
    bench.sync(it)
    all_is_lost(source, target)
    tip = target.tip()
    held = {BRANCHES[0]: tip}
    assert bench.sync(it, confirmed=held).status is RunStatus.CONFLICT
    assert bench.sync(it, confirmed=shown(bench, it)).status is RunStatus.SUCCESS
    assert target.tip() == tip


@pytest.fixture
def place(context, tmp_path):
    """A mirror in step, of which nine branches have gone."""
    made = Place(context, tmp_path, **TREE)
    made.source.put(dict.fromkeys(BRANCHES, made.tip))
    made.trigger()
    made.worker.run_one()
    lose(made.source, *range(9))
    made.shown = dict.fromkeys(BRANCHES[:9], made.tip)
    made.new_run = NewRun("manual", confirmed=made.shown, urgent=True)
    return made


def ended(place):
    place.worker.run_one()
    run = place.do(runs.last, place.task.id)
    gone = BRANCHES[0] not in place.target.refs()
    return run.status, gone


def test_a_yes_counts_at_the_first_attempt(place):
    place.do(runs.request, 1, place.new_run, 0)
    assert ended(place) == (RunStatus.SUCCESS, True)


def test_a_yes_does_not_count_after_a_crash(place):
    place.do(runs.request, 1, place.new_run, 0)
    place.do(runs.claim, 10)
    place.do(runs.recover, 20)
    assert ended(place) == (RunStatus.CONFLICT, False)


def test_who_joins_a_run_with_a_yes_gets_no_more_deleted(place):
    place.do(runs.request, 1, place.new_run, 0)
    lose(place.source, 9)
    place.trigger()
    assert ended(place) == (RunStatus.CONFLICT, False)


class Asked:
    """A task, in the store only, and a yes to two deletions."""

    def __init__(self, context):
        self.context = context
        self.draft = tasks.Draft("app", "/a", "/b", "c")
        self.do(tasks.add, self.draft, 0)
        self.yes = {"refs/heads/a": "1" * 40, "refs/heads/b": "2" * 40}
        self.new_run = NewRun("manual", confirmed=self.yes, urgent=True)

    def do(self, operation, *args):
        return self.context.store.write(operation, *args).result()

    def ask(self):
        return self.do(runs.request, 1, self.new_run, 0).id

    def claim(self):
        return self.do(runs.claim, 10)


@pytest.fixture
def asked(context):
    return Asked(context)


def test_a_yes_is_kept_until_it_counts(asked):
    asked.ask()
    asked.do(runs.trigger, 1, NewRun("webhook:x"), 0)
    assert asked.claim().confirmed == asked.yes


def test_a_yes_does_not_count_at_the_next_attempt(asked):
    run_id = asked.ask()
    asked.claim()
    asked.do(runs.requeue, run_id, Return(0, "no route"))
    assert asked.claim().confirmed is None


def test_a_yes_does_not_count_for_a_new_run_of_the_same_task(asked):
    run_id = asked.ask()
    asked.do(runs.cancel, run_id, 0)
    asked.do(runs.retry, run_id, 0)
    assert asked.claim().confirmed is None


def test_a_yes_that_joins_a_run_counts_at_its_next_attempt(asked):
    run_id = asked.do(runs.trigger, 1, NewRun("webhook:x"), 0)
    asked.claim()
    asked.ask()
    asked.do(runs.requeue, run_id, Return(0, "no route"))
    claimed = asked.claim()
    assert (claimed.run.id, claimed.confirmed) == (run_id, asked.yes)


def test_the_last_yes_counts(asked):
    asked.ask()
    less = {"refs/heads/a": "1" * 40}
    asked.do(runs.request, 1, asked.new_run._replace(confirmed=less), 0)
    assert asked.claim().confirmed == less


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"refspecs": ("refs/heads/*:refs/heads/*",)}, False),
        ({"target": "/c"}, False),
        ({"timeout": 9.0}, True),
    ],
)
def test_a_yes_is_for_the_task_as_it_was(asked, change, counts):
    asked.ask()
    asked.do(tasks.change, 1, asked.draft._replace(**change), 0)
    assert asked.claim().confirmed == (asked.yes if counts else None)


def test_an_older_stores_yes_that_names_nothing_is_not_believed(tmp_path):
    path = older.made(tmp_path / "old.db", 3)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "INSERT INTO tasks(key,name,source,target,refspecs,force,prune,enabled,"
            "cache,host,path,created_ms,updated_ms)"
            " VALUES('k','n','/a','/b','[]',0,1,1,'c','','',1,1)"
        )
        db.execute(
            "INSERT INTO runs(task_id,task_key,task_name,status,trigger,due_ms,"
            "created_ms,confirmed) VALUES(1,'k','n','queued','manual',1,1,1)"
        )
    with contextlib.closing(Store.open(path)) as store:
        assert store.write(runs.claim, 10).result().confirmed is None
