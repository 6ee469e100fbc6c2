"""A backup is consistent, and replaces nothing that is in use."""

import contextlib
import os

import pytest

from gms_hookd.store import (
    Store,
    StoreError,
    Unavailable,
    runs,
    tasks,
)
from tests.support.queue import add, delivered


def test_a_backup_is_consistent_while_writing_and_for_us_alone(store, tmp_path):
    add(store)
    written = [store.gather(runs.accept, delivered()) for _ in range(300)]
    copy = tmp_path / "copy.db"
    store.backup(copy)
    [each.result() for each in written]
    assert copy.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(Store.open(copy)) as restored:
        assert restored.read(tasks.get, 1).result().name == "one"
    assert not list(tmp_path.glob(".*"))


def by_another_way(path):
    link = path.parent / "folder"
    link.symlink_to(path.parent)
    return link / path.name


def by_link(path):
    link = path.parent / "link"
    link.symlink_to(path.name)
    return link


def by_second_name(path):
    second = path.parent / "second"
    second.hardlink_to(path)
    return second


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize(
    "way",
    [
        lambda path: path,
        lambda path: path.parent / "x" / ".." / path.name,
        by_another_way,
        by_link,
        by_second_name,
    ],
)
def test_a_backup_never_overwrites_the_store(store, suffix, way):
    add(store)
    before = sorted(store.path.parent.iterdir())
    file = store.path.with_name(store.path.name + suffix)
    inode = file.stat().st_ino
    there = way(file)
    with pytest.raises(StoreError, match="the store itself"):
        store.backup(there)
    assert file.stat().st_ino == inode
    assert {*store.path.parent.iterdir()} - {*before} <= {there, there.parent}
    add(store, "still", "writable")


@pytest.mark.parametrize("name", ["lock", "control.sock", "webhook-secret", "caches"])
def test_a_backup_never_replaces_what_lies_beside_the_store(store, name):
    store.path.with_name(name).touch()
    with pytest.raises(StoreError, match="the store itself"):
        store.backup(store.path.with_name(name))


def test_a_backup_that_cannot_be_written_leaves_nothing(store, tmp_path):
    with pytest.raises(Unavailable):
        store.backup(tmp_path / "missing" / "copy.db")


def test_a_backup_onto_what_is_no_file_leaves_that_in_its_place(
    store, tmp_path_factory
):
    # As /dev/null, which would be a file of ours for all the machine.
    pipe = tmp_path_factory.mktemp("elsewhere") / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Unavailable, match="is not a regular file"):
        store.backup(pipe)
    assert [*pipe.parent.iterdir()] == [pipe]
    assert pipe.is_fifo()
