"""A disk that is full, here or at the target: nothing half done, and tried again."""

import os

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.sync.job import UNCERTAIN
from tests.support.repositories import Bench, Repo, leftovers, task


def grow(source):
    """Make the source larger than a small disk."""
    source.commit(files={"big": os.urandom(1_200_000).hex()})


def cache_of(bench):
    (path,) = (p for p in bench.caches.iterdir() if p.is_dir())
    return path


def waits(outcome):
    return (outcome.status, outcome.transient) == (RunStatus.FAILED, True)


def test_a_disk_that_a_fetch_fills_is_transient_and_swept(
    small_disk, source, target, tmp_path
):
    grow(source)
    disk = small_disk(tmp_path / "small")
    bench = Bench(disk.place)
    it = task(source, target)
    outcome = bench.sync(it)
    assert waits(outcome)
    assert "No space left" in outcome.error_message
    assert leftovers(cache_of(bench)) == []
    assert target.refs() == {}
    disk.free()
    assert bench.sync(it).status is RunStatus.SUCCESS
    target.fsck()


def test_a_disk_without_room_for_a_byte_is_transient(
    small_disk, source, target, tmp_path
):
    disk = small_disk(tmp_path / "small")
    bench = Bench(disk.place)
    it = task(source, target, force=True, prune=True)
    bench.sync(it)
    before = target.refs()
    source.commit("main", "new")
    target.commit("theirs")
    disk.fill()
    outcome = bench.sync(it)
    assert waits(outcome), outcome
    assert before.items() <= target.refs().items()
    assert bench.known == before
    disk.free()
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    assert leftovers(cache_of(bench)) == []


@pytest.fixture(params=["file", "http", "ssh"])
def reach(request, opened):
    """Give an engine, and what makes URLs for it."""
    if request.param == "file":
        return opened(), str
    if request.param == "http":
        return opened(), request.getfixturevalue("http_host").url
    sshd = request.getfixturevalue("sshd")
    known = {"ssh_key_file": sshd.key, "ssh_known_hosts": sshd.known_hosts}
    return opened(**known), sshd.url


@pytest.mark.parametrize("brim", [False, True])
def test_a_target_that_is_full_is_transient_and_takes_all_once_there_is_room(
    small_disk, source, reach, tmp_path, brim
):
    bench, url = reach
    disk = small_disk(tmp_path / "small")
    target = Repo(disk.place / "target.git")
    it = task(source, url(target))
    disk.fill() if brim else grow(source)
    outcome = bench.sync(it)
    assert waits(outcome), (outcome, bench.log.text())
    assert target.refs() == {}
    assert bench.known in ({}, {"refs/heads/main": UNCERTAIN})
    assert leftovers(target.path) == []
    disk.free()
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    target.fsck()
