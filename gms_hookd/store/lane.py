"""A lane: one thread that owns one connection and does what it is handed, in order.

A connection never leaves its thread: shared ones return wrong rows on CPython 3.12 and
3.13 (cpython#118172). The writing lane is the only connection that writes, so that no
two can checkpoint at once (sqlite.org/wal.html, the WAL-reset bug). It takes everything
that waits, commits it at once with one fsync, and only then answers each: a result
that a future holds is on the disk.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gms_hookd.store.problem import StoreError, Unavailable

log = logging.getLogger(__name__)

Connection = sqlite3.Connection
Error = sqlite3.Error
Row = tuple[Any, ...]
SQLITE_VERSION = sqlite3.sqlite_version_info
Operation = Callable[[Connection], Any]

BATCH = 1024
BACKLOG = 20_000
BUSY_MS = 5_000


@dataclass(frozen=True, slots=True)
class _Order:
    """One operation on its way; a `bare` one runs alone, outside a transaction."""

    operation: Operation
    future: Future[Any]
    bare: bool = False
    last: bool = False


def connect(path: Path, *, writes: bool) -> Connection:
    """Open `path`; a connection that does not write cannot."""
    mode = "rwc" if writes else "ro"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
    )
    db.execute("PRAGMA foreign_keys=ON")
    db.execute("PRAGMA trusted_schema=OFF")
    if writes:
        # auto_vacuum counts only before the first table and before WAL.
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA journal_size_limit=16777216")
        db.execute("PRAGMA temp_store=MEMORY")
    return db


class Lane:
    """A thread, its connection, and the operations that wait for it."""

    def __init__(self, name: str, path: Path, *, writes: bool) -> None:
        self._path = path
        self._writes = writes
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, operation: Operation, *, bare: bool = False) -> Future[Any]:
        """Hand over an operation; the future is done when it is (for writes: synced).

        The future fails with `Unavailable` when nothing can be committed, and with the
        operation's own StoreError when it refuses: then it has changed nothing.
        """
        future: Future[Any] = Future()
        with self._gate:
            refused = self._closed or self._orders.qsize() >= BACKLOG
            if not refused:
                self._orders.put(_Order(operation, future, bare))
        if refused:
            why = "shutting down" if self._closed else "the store is busy"
            future.set_exception(Unavailable(why))
        return future

    @property
    def waiting(self) -> int:
        """Count the operations that wait."""
        return self._orders.qsize()

    def close(self) -> None:
        """Do what waits, then close the connection; later submissions are refused."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._orders.put(_Order(_nothing, Future(), bare=True, last=True))
        self._thread.join()

    def _serve(self) -> None:
        db = connect(self._path, writes=self._writes)
        try:
            while self._turn(db, self._orders.get()):
                pass
        finally:
            db.close()

    def _turn(self, db: Connection, first: _Order) -> bool:
        batch, bare = self._gather(first)
        if batch:
            (self._write if self._writes else self._read)(db, batch)
        if bare is not None:
            _alone(db, bare)
        return bare is None or not bare.last

    def _gather(self, first: _Order) -> tuple[list[_Order], _Order | None]:
        """Take what waits: a batch, and the bare order that ended it."""
        batch: list[_Order] = []
        order = first
        while not order.bare:
            batch.append(order)
            if len(batch) == BATCH or self._orders.empty():
                return batch, None
            order = self._orders.get()
        return batch, order

    def _read(self, db: Connection, batch: list[_Order]) -> None:
        for order in batch:
            _settle(order.future, *_attempt(db, order.operation))

    def _write(self, db: Connection, batch: list[_Order]) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
            results = [_guarded(db, order.operation) for order in batch]
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(db)
            problem = _unavailable(error)
            results = [(None, problem)] * len(batch)
        for order, (value, failure) in zip(batch, results, strict=True):
            _settle(order.future, value, failure)


def _nothing(_db: Connection) -> None:
    pass


def _guarded(db: Connection, operation: Operation) -> tuple[Any, Exception | None]:
    """Run one operation of a batch so that its failure undoes only itself."""
    db.execute("SAVEPOINT one")
    value, failure = _attempt(db, operation, fatal=sqlite3.OperationalError)
    if failure is not None:
        db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")
    return value, failure


def _attempt(
    db: Connection,
    operation: Operation,
    fatal: type[Exception] | tuple[type[Exception], ...] = (),
) -> tuple[Any, Exception | None]:
    try:
        return operation(db), None
    except fatal:
        raise
    except StoreError as refusal:
        return None, refusal
    except sqlite3.OperationalError as error:
        return None, _unavailable(error)
    except Exception as error:  # noqa: BLE001 - the root of this thread: the future carries it
        return None, error


def _alone(db: Connection, order: _Order) -> None:
    value, failure = _attempt(db, order.operation)
    _roll_back(db)
    _settle(order.future, value, failure)


def _roll_back(db: Connection) -> None:
    if db.in_transaction:
        db.rollback()


def _unavailable(error: sqlite3.Error) -> Unavailable:
    log.error("store unavailable error=%s", error)
    return Unavailable(f"cannot be committed: {error}")


def _settle(future: Future[Any], value: Any, failure: Exception | None) -> None:
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(value)
