"""Caches do not grow without end, and do not outlive their last task."""

import os
import threading
import time

from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from tests.support.repositories import Bench, Repo, task


def cache_of(bench, repo):
    return bench.caches / cache_key(str(repo))


def packs(cache):
    return len(list((cache / "objects/pack").glob("*.pack")))


def test_the_packs_of_a_cache_are_put_together(bench, source, target):
    it = task(source, target)
    bench.sync(it)
    source.commit()
    bench.sync(it)
    cache = cache_of(bench, source)
    Repo(cache).copy_a_pack(19)
    assert packs(cache) == 21
    bench.engine.maintain([it.source])
    assert packs(cache) < 20
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_a_run_joins_the_packs_of_a_crowded_cache(bench, source, target):
    it = task(source, target)
    bench.sync(it)
    source.commit()
    bench.sync(it)
    cache = cache_of(bench, source)
    for copies, joined in ((28, False), (29, True)):
        Repo(cache).copy_a_pack(copies)
        source.commit()
        assert bench.sync(it).status is RunStatus.SUCCESS
        assert (packs(cache) < 20) is joined
    assert target.refs() == source.refs()


def test_objects_that_nothing_needs_go_once_a_week(bench, source, target):
    it = task(source, target, force=True)
    source.commit("a")
    bench.sync(it)
    old = source.tip("a")
    source.set(a=None)
    bench.sync(it, verify=True)
    week_ago = time.time() - 8 * 86400
    os.utime(cache_of(bench, source) / "tidied", (week_ago, week_ago))
    bench.engine.maintain([it.source])
    cache = Repo(cache_of(bench, source))
    listed = cache.git("cat-file", "--batch-check", stdin=old.encode())
    assert listed.endswith("missing\n")


def test_overwritten_tips_stay_for_as_long_as_configured(tmp_path, source, target):
    it = task(source, target, force=True)
    for backups, kept in ((3600.0, True), (-5.0, False)):
        bench = Bench(tmp_path, backups=backups)
        bench.sync(it)
        target.commit()
        source.commit()
        [(_, oid, pin)] = bench.sync(it, known={}).pinned
        bench.engine.maintain([it.source])
        refs = Repo(cache_of(bench, source)).refs()
        assert (refs.get(pin) == oid) is kept


def test_a_cache_goes_with_the_last_task_of_its_source(bench, source, target, tmp_path):
    other = Repo(tmp_path / "other.git")
    other.commit()
    bench.sync(task(source, target, "main:a"))
    bench.sync(task(other, target, "main:b"), known={})
    bench.engine.maintain([str(other)])
    assert not cache_of(bench, source).exists()
    assert not (bench.caches / f"{cache_key(str(source))}.lock").exists()
    assert cache_of(bench, other).exists()


def test_a_run_does_not_wait_for_the_tidier(tmp_path, source, target):
    script = tmp_path / "slow-git"
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" gc "*) touch {tmp_path}/began;'
        ' exec sleep 1000;; esac\nexec git "$@"\n'
    )
    script.chmod(0o755)
    bench = Bench(tmp_path, binary=str(script))
    it = task(source, target)
    bench.sync(it)
    os.utime(cache_of(bench, source) / "tidied", (0, 0))
    thread = threading.Thread(target=bench.engine.maintain, args=([it.source],))
    thread.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.01)
    source.commit()
    assert bench.sync(it).status is RunStatus.SUCCESS
    thread.join()
    assert target.refs() == source.refs()
