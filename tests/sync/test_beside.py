"""Runs of one source beside each other: what holds up what, and what does not."""

import os
import random
import threading
import time

import pytest

from gms_hookd.git.cache_lock import Holds
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.process import Limits, Stop
from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from gms_hookd.runlog import RunLog
from gms_hookd.sync import push
from tests.support.repositories import Bench, Repo, task

PATIENCE = 30.0


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Slow:
    """A target whose pre-receive says that it is there, and waits to be let go."""

    def __init__(self, path):
        self.repo = Repo(path)
        self.began, self.go = path / "began", path / "go"
        self.repo.hook(
            "pre-receive",
            f"cat >/dev/null; touch {self.began}\nfor n in $(seq 600)\n"
            f"do test -e {self.go} && exit; sleep 0.05; done; exit 1\n",
        )


@pytest.fixture
def beside(bench, tmp_path):
    """Sync in a thread of its own; gives what becomes of it."""
    threads = []

    def start(it):
        one = Bench(tmp_path, engine=bench.engine)
        one.outcomes = []
        work = lambda: one.outcomes.append(one.sync(it, known={}))  # noqa: E731
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return one

    yield start
    for thread in threads:
        thread.join()


@pytest.fixture
def slow(tmp_path, beside):  # whose threads it lets go
    assert beside
    made = Slow(tmp_path / "slow.git")
    yield made
    made.go.touch()


def test_a_target_that_hangs_holds_up_no_other_and_no_fetch(
    source, target, bench, slow, beside
):
    found = beside(task(source, slow.repo))
    until(slow.began.exists)
    for _ in range(2):
        source.commit()
        assert bench.sync(task(source, target, id=2)).status is RunStatus.SUCCESS
        assert target.refs() == source.refs()
    assert not found.outcomes
    slow.go.touch()
    until(lambda: found.outcomes)
    assert found.outcomes[0].status is RunStatus.SUCCESS


def test_what_a_slow_push_needs_stays_whatever_others_do(
    source, target, bench, slow, beside
):
    pushed = source.commit("gone")
    found = beside(task(source, slow.repo))
    until(slow.began.exists)
    source.set(gone=None)
    source.commit()
    it = task(source, target, id=2, force=True, prune=True)
    assert bench.sync(it).status is RunStatus.SUCCESS
    cache = bench.caches / cache_key(str(source))
    os.utime(cache / "tidied", (0, 0))
    bench.engine.maintain([str(source)])
    assert (cache / "tidied").stat().st_mtime == 0
    bench.engine.maintain([])
    slow.go.touch()
    until(lambda: found.outcomes)
    assert found.outcomes[0].status is RunStatus.SUCCESS
    assert slow.repo.tip("gone") == pushed
    slow.repo.fsck()
    bench.engine.maintain([str(source)])
    assert (cache / "tidied").stat().st_mtime > 0


def test_a_push_by_glob_sends_what_was_classed_not_what_came_since(
    source, target, bench, slow, beside, monkeypatch
):
    monkeypatch.setattr(push, "MASS", 3)
    source.commit("a", "b", "c", "d", "release/1")
    before = source.refs()
    found = beside(task(source, slow.repo))
    until(slow.began.exists)
    source.commit("a", "e")
    assert bench.sync(task(source, target, id=2)).status is RunStatus.SUCCESS
    slow.go.touch()
    until(lambda: found.outcomes)
    assert found.outcomes[0].status is RunStatus.SUCCESS
    assert slow.repo.refs() == before
    assert target.refs() == source.refs()
    cache = bench.caches / cache_key(str(source))
    assert list(cache.glob("view-*")) == []


def test_a_broken_cache_is_made_again_when_pushes_from_it_have_ended(
    source, target, bench, slow, beside
):
    found = beside(task(source, slow.repo))
    until(slow.began.exists)
    cache = bench.caches / cache_key(str(source))
    (cache / "config").unlink()
    other = beside(task(source, target, id=2))
    until(lambda: "waiting for another run" in other.log.text())
    assert other.log.waits_for == "another run of the same source"
    assert not other.outcomes
    slow.go.touch()
    until(lambda: found.outcomes and other.outcomes)
    assert other.outcomes[0].status is RunStatus.SUCCESS
    assert target.refs() == source.refs()
    assert (cache / "config").exists()


def test_each_run_notes_what_it_does_in_a_file_of_its_own(
    source, target, bench, slow, beside
):
    beside(task(source, slow.repo))
    until(slow.began.exists)
    bench.sync(task(source, target, id=2))
    cache = bench.caches / cache_key(str(source))
    first, second = cache.with_suffix(".lock"), cache.with_suffix(".1.lock")
    assert str(slow.repo.path) in first.read_text()
    assert second.read_text() == ""


@pytest.fixture
def holds(tmp_path):
    return Holds(), tmp_path / "cache"


def limits(seconds=PATIENCE):
    return Limits(time.monotonic() + seconds, Stop(), RunLog())


def test_two_that_want_a_cache_for_themselves_do_not_wait_for_each_other(holds):
    made, path = holds
    done, both = [], threading.Barrier(2)

    def work():
        with made.run(path, limits()) as hold:
            both.wait(PATIENCE)
            with hold.alone():
                done.append(len(done))
                time.sleep(0.05)
                done.append(len(done))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [0, 1, 2, 3]


def test_who_waits_for_a_fetch_does_not_hold_up_who_remakes_the_cache(holds):
    made, path = holds
    order = []
    with made.run(path, limits()) as one, one.fetching():
        waiting = limits()

        def work():
            with made.run(path, waiting) as other, other.fetching():
                order.append("other")

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: "waiting" in waiting.log.text())
        with one.alone():
            order.append("one")
    thread.join()
    assert order == ["one", "other"]


def test_a_run_waits_as_long_as_it_may_and_leaves_no_trace_then(holds):
    made, path = holds
    with made.run(path, limits()) as one, one.alone():
        for _ in range(2):
            said = pytest.raises(GitError, match="in use by another run")
            with said as caught, made.run(path, limits(0.1)):
                pass
            assert caught.value.kind is ErrorKind.LOCK
        stopped = limits()
        stopped.stop.set("cancelled")
        with pytest.raises(GitError, match="stopped"), made.run(path, stopped):
            pass
    with made.maintenance(path) as free:
        assert free
        with made.maintenance(path) as again:
            assert again is None
    with made.run(path, limits()) as one, one.at_once() as alone:
        assert alone


def test_maintenance_waits_for_no_run_and_makes_way_for_one(holds):
    made, path = holds
    with made.run(path, limits()), made.maintenance(path) as free:
        assert free is None
    entered, left = threading.Event(), threading.Event()

    def work():
        with made.maintenance(path):
            entered.set()
            left.wait(PATIENCE)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(PATIENCE)
    with made.run(path, limits(), left.set) as hold, hold.at_once() as alone:
        assert alone
    thread.join()


def test_runs_of_one_source_at_once_leave_every_target_as_the_source_is(
    source, bench, tmp_path
):
    chance = random.Random(11)
    targets = [Repo(tmp_path / f"t{n}.git") for n in range(4)]
    found = []

    def work(number):
        it = task(source, targets[number], id=number, force=True, prune=True)
        found.append(Bench(tmp_path, engine=bench.engine).sync(it).status)

    for _ in range(3):
        for _ in range(4):
            source.commit(f"b{chance.randrange(9)}")
        some = chance.choice(sorted(source.refs().keys() - {"refs/heads/main"}))
        source.put({some: chance.choice([None, source.tip()])})
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        maintain = threading.Thread(target=bench.engine.maintain, args=([str(source)],))
        for thread in (*threads, maintain):
            thread.start()
        for thread in (*threads, maintain):
            thread.join()
        assert found == [RunStatus.SUCCESS] * len(found)
        assert all(each.refs() == source.refs() for each in targets)
    for each in targets:
        each.fsck()
