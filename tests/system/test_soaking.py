"""The checker of the soak sees what is violated, one by one."""

import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from gms_hookd.store import notices, runs, tasks
from tests.support import invariants
from tests.support.invariants import Pair
from tests.support.repositories import Repo


@pytest.fixture
def task(store):
    draft = tasks.Draft("one", "/s", "/t", "c")
    return store.write(tasks.add, draft, 0).result().id


def test_a_run_that_is_gone_waits_for_ever_or_is_not_alone_is_seen(store, task):
    new_run = runs.NewRun("manual")
    run = store.write(runs.trigger, task, new_run, 0).result()

    def found(*accepted, settled=False):
        return list(invariants.of_store(store.path, accepted, settled=settled))

    assert found(run) == []
    assert found(run, settled=True) == [f"run {run} is queued for ever"]
    assert found(run + 1) == [f"run {run + 1} was accepted and is not there"]
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("DROP INDEX runs_one_queued")
        copied = "task_id,task_key,task_name,status,trigger,due_ms,created_ms"
        db.execute(f"INSERT INTO runs({copied}) SELECT {copied} FROM runs")
        db.commit()
    assert f"task {task} has several runs queued" in found(run)


@pytest.fixture
def pair(source, target):
    target.git("config", "core.logAllRefUpdates", "always")
    made = Pair(1, source, target, forward=True)
    made.note()
    return made


def push(source, target, *refs):
    """Push as git does, which the target notes as a push."""
    source.git("push", "-q", str(target), *refs)


def test_what_is_pushed_against_the_policy_is_seen(pair, source, target, tmp_path):
    def found(settled=False):
        return list(invariants.of_targets([pair], settled=settled))

    push(source, target, "main")
    assert found(settled=True) == []
    first = source.tip()
    source.commit()
    pair.note()
    assert len(found(settled=True)) == 1
    push(source, target, "main")
    assert found(settled=True) == []
    source.put({"refs/heads/main": first})
    push(source, target, "+main")
    assert [said for said in found() if "main was moved from" in said]
    outsider = Repo(tmp_path / "stranger.git")
    outsider.commit()
    push(outsider, target, "+main")
    assert [said for said in found() if "was never at the source" in said]
    pair.foreign = "1" * 40
    assert "task 1: a stranger's commit was overwritten" in found()


def test_what_stays_behind_is_seen(tmp_path):
    (tmp_path / "x.lock").touch()
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "tmp_obj_1").touch()
    assert len(list(invariants.of_leftovers([tmp_path]))) == 2
    with subprocess.Popen(("sleep", "60")) as child:
        me = subprocess.os.getpid()
        said = list(invariants.of_process(me, 10_000))
        child.kill()
    assert said == [f"process {child.pid} stays: sleep 60"]
    assert list(invariants.of_process(me, 1)) != []


def test_a_notice_that_counts_as_sent_and_never_came_is_seen(store):
    subject = notices.Subject()
    key = store.write(notices.add, "ops", "failed", subject, 0).result()
    assert list(invariants.of_notices(store.path, set)) == []
    lot = store.write(notices.take, "ops", 0, together=False).result()
    store.write(notices.sent, lot, 0).result()
    assert list(invariants.of_notices(store.path, lambda: {key})) == []
    assert len(list(invariants.of_notices(store.path, set))) == 1


def test_a_small_disk_is_full_or_stands_still_only_for_as_long_as_it_is_told(disk):
    if not disk.can_freeze:
        pytest.skip("no right to freeze a disk")
    file = disk.path / "file"
    with disk.full(), pytest.raises(OSError, match="No space left"):
        file.write_bytes(bytes(1 << 20))
    with ThreadPoolExecutor(1) as pool:
        with disk.frozen():
            written = pool.submit(file.write_bytes, b"x")
            with pytest.raises(TimeoutError):
                written.result(0.1)
        assert written.result(30) == 1
