"""Operations are committed together, synced, and fail each for itself."""

import contextlib
import sqlite3
import threading

import pytest

from gms_hookd.store import (
    Conflict,
    Store,
    StoreError,
    Unavailable,
    maintenance,
    runs,
    tasks,
)
from tests.support.queue import NOW, add, delivered, draft, get, trigger


def test_a_refused_operation_undoes_only_itself(store):
    add(store)
    guard, release = threading.Event(), threading.Event()

    def hold(_db):
        guard.set()
        release.wait(10)

    def half_done(db):
        tasks.add(db, draft("half"), NOW)
        raise Conflict("no")

    held = store.write(hold)
    guard.wait(10)
    batch = [store.write(half_done), store.write(tasks.add, draft("two"), NOW)]
    release.set()
    held.result()
    with pytest.raises(Conflict):
        batch[0].result()
    assert batch[1].result().name == "two"
    names = [task.name for task in store.read(tasks.every).result()]
    assert names == ["one", "two"]


def test_everything_that_waits_is_committed_before_the_store_closes(tmp_path):
    path = tmp_path / "gms-hookd.db"
    store = Store.open(path)
    add(store)
    written = [store.gather(runs.accept, delivered()) for _ in range(500)]
    store.close()
    assert all(each.result().status == 200 for each in written)
    with contextlib.closing(Store.open(path)) as store:
        assert len(get(store, 1).deliveries) == 500
    refused = store.write(maintenance.ping)
    assert isinstance(refused.exception(), Unavailable)


def test_a_locked_file_is_unavailable_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr("gms_hookd.store.dbthread.BUSY_MS", 50)
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(Store.open(path)) as store:
        add(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            trigger(store)
        other.execute("ROLLBACK")
        other.close()
        assert trigger(store).status == 200


def test_the_reading_connection_cannot_write(store):
    with pytest.raises(StoreError):
        store.read(tasks.add, draft(), NOW).result()


def test_the_file_is_for_us_alone(store):
    add(store)
    for file in store.path.parent.glob("gms-hookd.db*"):
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_every_commit_is_synced(store):
    pragmas = ("journal_mode", "synchronous", "auto_vacuum")
    found = store.write(
        lambda db: [db.execute(f"PRAGMA {p}").fetchone()[0] for p in pragmas]
    ).result()
    assert found == ["wal", 2, 2]
