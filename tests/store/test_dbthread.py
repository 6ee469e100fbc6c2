"""Operations are committed together, synced, and fail each for itself."""

import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

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


def test_who_waits_for_a_commit_does_it_and_a_refusal_undoes_only_that(store):
    assert store.commit(lambda db: threading.get_ident()) == threading.get_ident()
    with pytest.raises(Conflict):
        store.commit(added_and_refused, draft("bad"))
    assert store.commit(tasks.add, draft("good"), NOW).name == "good"
    assert [task.name for task in store.read(tasks.every).result()] == ["good"]


def added_and_refused(db, wanted):
    tasks.add(db, wanted, NOW)
    raise Conflict("no")


def test_a_commit_does_not_wait_in_a_thread_while_another_is_at_work(store):
    begun, go_on = threading.Event(), threading.Event()

    def slow(_db):
        begun.set()
        assert go_on.wait(30)

    written = store.write(slow)
    assert begun.wait(30)
    found = []
    other = threading.Thread(
        target=lambda: found.append(store.commit(lambda db: threading.get_ident()))
    )
    other.start()
    while not store.waiting:
        assert other.is_alive()
    go_on.set()
    other.join()
    assert found != [other.ident]
    assert written.result(30) is None


def test_a_thread_that_is_ended_amid_a_commit_leaves_nothing_begun(store):
    def end(_db):
        raise SystemExit

    with pytest.raises(SystemExit):
        store.commit(end)
    assert store.commit(lambda db: db.in_transaction)
    assert store.write(lambda db: 1).result(30) == 1


@pytest.mark.parametrize("amid", [False, True])
def test_a_store_that_is_closed_refuses_a_commit(tmp_path, amid):
    store = Store.open(tmp_path / "store.db")
    closing = threading.Thread(target=store.close)
    if amid:
        store._writer._in_use = Meanwhile(store._writer._in_use, closing)
    else:
        store.close()
    with pytest.raises(Unavailable, match="shutting down"):
        store.commit(lambda db: 1)


class Meanwhile:
    """A lock before whose taking something is done to its end."""

    def __init__(self, lock, thread):
        self.lock, self.thread = lock, thread
        self.release = lock.release

    def acquire(self, **how):
        self.thread.start()
        self.thread.join(30)
        return self.lock.acquire(**how)

    def __enter__(self):
        return self.lock.__enter__()

    def __exit__(self, *raised):
        return self.lock.__exit__(*raised)


def test_many_threads_commit_beside_what_is_handed_over(store):
    store.commit(lambda db: db.execute("CREATE TABLE counted(n INTEGER)"))

    def count(db, number):
        db.execute("INSERT INTO counted VALUES(?)", (number,))
        return db.execute(
            "SELECT count(*) FROM counted WHERE n=?", (number,)
        ).fetchone()

    def work(number):
        way = store.commit if number % 2 else lambda *a: store.write(*a).result(30)
        return [way(count, number)[0] for _ in range(25)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [list(range(1, 26))] * 8


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
