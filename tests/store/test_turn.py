"""Writes that are held back go into one commit at the end of a turn."""

import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gms_hookd.store import (
    StoreError,
)


def test_writes_held_back_are_committed_together_when_they_are_released(store):
    store.turn.hold()
    held = [store.write(lambda db: threading.get_ident()) for _ in range(3)]
    assert store.waiting == 3
    store.turn.release()
    assert [future.result(timeout=10) for future in held] == [threading.get_ident()] * 3


def test_what_another_thread_writes_is_not_held_back(store):
    store.turn.hold()
    with ThreadPoolExecutor(1) as other:
        written = other.submit(store.write, lambda db: "written").result(timeout=10)
        assert written.result(timeout=10) == "written"
    store.turn.release()


def test_held_writes_do_not_wait_for_another_process_in_the_releasing_thread(store):
    store.turn.hold()
    held = store.write(lambda db: threading.get_ident())
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.turn.release()
        assert not held.done()
        other.execute("ROLLBACK")
    assert held.result(timeout=10) != threading.get_ident()


def test_one_that_fails_among_held_writes_undoes_only_itself(store):
    def leave(db, name):
        db.execute(f"CREATE TABLE {name} (a)")
        if name == "bad":
            raise StoreError("not this one")

    store.turn.hold()
    held = [store.write(leave, name) for name in ("one", "bad", "two")]
    store.turn.release()
    failures = [type(future.exception(timeout=10)) for future in held]
    assert failures == [type(None), StoreError, type(None)]
    listed = "SELECT name FROM sqlite_master"
    names = store.read(lambda db: db.execute(listed).fetchall())
    assert {("one",), ("two",)} <= set(names.result(timeout=10))
    assert ("bad",) not in names.result()


def test_after_a_slow_commit_held_writes_go_to_the_writing_thread(store):
    store._writer._pace = 1.0
    store.turn.hold()
    held = store.write(lambda db: threading.get_ident())
    store.turn.release()
    assert held.result(timeout=10) != threading.get_ident()


def test_nobody_waits_for_held_writes_that_failed_in_the_releasing_thread(store):
    def end(_db):
        raise KeyboardInterrupt

    store.turn.hold()
    held = [store.write(lambda db: 1), store.write(end), store.write(lambda db: 2)]
    with pytest.raises(KeyboardInterrupt):
        store.turn.release()
    for each in held:
        assert "see the log" in str(each.exception(30))
    assert store.write(lambda db: 3).result(30) == 3
