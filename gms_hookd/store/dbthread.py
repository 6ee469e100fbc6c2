"""One thread that owns one connection and does what it is handed, in order.

No two threads use a connection at once: shared ones return wrong rows on CPython 3.12
and 3.13 (cpython#118172). The writing thread's is the only connection that writes, so
that no two can checkpoint at once (sqlite.org/wal.html, the WAL-reset bug). It takes
everything that waits, commits it at once with one fsync, and only then answers each: a
result that a future holds is on the disk.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import groupby, repeat
from operator import attrgetter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeGuard

from gms_hookd.errors import StoreError, Unavailable
from gms_hookd.futures import Future
from gms_hookd.git.url import origin
from gms_hookd.log import SELDOM
from gms_hookd.safetext import reason
from gms_hookd.store.files import Files
from gms_hookd.threads import IDLE, Supervised, Threads

log = logging.getLogger(__name__)
Connection = sqlite3.Connection
Error = sqlite3.Error
Row = tuple[Any, ...]
SQLITE_VERSION = sqlite3.sqlite_version_info
Operation = Callable[[Connection], Any]
Gathered = Callable[[Connection, list[Any]], Sequence[Any]]
_Outcome = tuple[Any, Exception | None]
BATCH = 1024
BACKLOG = 20_000
BUSY_MS = 5_000
LONGEST_END = 30.0  # seconds that a thread gets to do what waits when it is closed
LOOK = 0.01  # seconds between two looks at a lock that somebody has
FAILED = "failed in its thread: see the log"
QUICK = 0.005  # seconds: a commit that takes longer must not hold up a loop


class _DamagedError(Unavailable):
    """What sqlite found in the file is not what it wrote."""


class Submission(NamedTuple):
    """One operation on its way; a `bare` one runs alone, outside a transaction.

    What is `gathered` takes the items of all that follow on each other and have the
    same.
    """

    operation: Operation
    future: Future[Any]
    bare: bool = False
    last: bool = False
    gathered: Gathered | None = None
    item: object = None

    def do(self, db: Connection) -> Any:
        """Do it for this submission only."""
        if self.gathered is not None:
            return self.gathered(db, [self.item])[0]
        return self.operation(db)


def connect(path: Path, *, writes: bool) -> Connection:
    """Open `path`; a connection that does not write cannot."""
    # Never made here: in the place of a file that was removed an empty one would be.
    mode = "rw" if writes else "ro"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=not writes,
    )
    db.execute("PRAGMA foreign_keys=ON")
    db.execute("PRAGMA trusted_schema=OFF")
    db.create_function("origin", 1, origin, deterministic=True)
    if writes:
        _make_durable(db)
    return db


def _make_durable(db: Connection) -> None:
    # auto_vacuum counts only before the first table and before WAL.
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA journal_size_limit=16777216")
    db.execute("PRAGMA temp_store=MEMORY")


@contextmanager
def untouched(path: Path) -> Iterator[Connection]:
    """Give a connection that reads `path` with its -wal and changes no byte of them.

    With `readonly_shm` sqlite keeps the index of the -wal in memory and leaves the -wal
    as it is at the end, but it wants a -shm to be there (os_unix.c, since 3.22).
    """
    wal, shm = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    unwritten = wal.exists() and wal.stat().st_size > 0
    made = unwritten and not shm.exists()
    if made:
        os.close(os.open(shm, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    how = "readonly_shm=1" if unwritten else "immutable=1"
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&{how}", uri=True)
        ) as db:
            db.execute("PRAGMA trusted_schema=OFF")
            yield db
    finally:
        if made:
            shm.unlink(missing_ok=True)


class DatabaseThread:
    """A thread, its connection, and the operations that wait for it."""

    def __init__(
        self, name: str, path: Path, files: Files, *, writes: bool, threads: Threads
    ) -> None:
        self._path = path
        self._files = files
        self._version = 0
        self._schema: frozenset[Row] = frozenset()
        self._reported = ""
        self._beside = False
        self._writes = writes
        self._waiting: SimpleQueue[Submission] = SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()
        self._db: Connection | None = None
        self._in_use = threading.Lock()
        self._pace = 0.0
        self._thread: Supervised | None = None
        self.failing = ""  # why the last write could not be committed
        self._thread = threads.start(name, self._serve)

    def submit(self, submission: Submission) -> Future[Any]:
        """Hand over an operation; its future is done when it is (for writes: synced).

        The future fails with `Unavailable` when nothing can be committed, and with the
        operation's own StoreError when it refuses: then it has changed nothing.
        """
        with self._gate:
            refusal = self._refusal()
            if not refusal:
                self._waiting.put(submission)
        if refusal:
            submission.future.set_exception(Unavailable(refusal))
        return submission.future

    def _refusal(self) -> str:
        """Return why nothing more is taken, "" if it is."""
        if self._closed:
            return "shutting down"
        if self._thread and not self._thread.is_alive():
            return f"thread {self._thread.name} has ended: restart gms-hookd"
        return "the store is busy" if self._waiting.qsize() >= BACKLOG else ""

    def commit_here(self, batch: list[Submission]) -> bool:
        """Commit `batch` in the calling thread; False if it would have to wait.

        While the disk is quick that is cheaper than to hand it to another thread and
        back.
        """
        if self._pace > QUICK or not self._waiting.empty():
            return False
        if not self._in_use.acquire(blocking=False):
            return False
        try:
            # Asked for now only: while it is in use by us nobody closes it.
            results = self._commit_at_once(self._db, batch) if self._db else []
        except BaseException:
            for submission in batch:
                _refuse(submission, FAILED)
            raise
        finally:
            self._in_use.release()
        self._settle_all(batch, results)
        return bool(results)

    def _commit_at_once(
        self, db: Connection, batch: list[Submission]
    ) -> list[_Outcome]:
        """Commit unless somebody has the store locked; nothing is done then."""
        try:
            begun = _begin_at_once(db) and not self._problem(db)
            return self._commit(db, batch) if begun else []
        finally:
            # What is not done, or what a thread that was ended amid it has begun.
            _roll_back(db)

    @property
    def waiting(self) -> int:
        """Count the operations that wait."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Do what waits, then close the connection; later submissions are refused."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(_last())
        if self._thread:
            self._thread.join(LONGEST_END)
        self._refuse_all("shutting down")

    def _serve(self, thread: Supervised) -> None:
        db = self._connected()
        try:
            while self._turn(db, self._next(thread), thread):
                pass
        finally:
            with self._in_use:
                self._db = None
                db.close()

    def _next(self, thread: Supervised) -> Submission:
        while True:
            thread.beat()
            with suppress(Empty):
                return self._waiting.get(timeout=IDLE)
            if self._closed:  # and what ends it was lost with a failure
                return _last()

    def _connected(self) -> Connection:
        try:
            db = connect(self._path, writes=self._writes)
        except sqlite3.Error as error:
            self._refuse_all(f"cannot be opened: {error}")
            raise
        if self._writes:
            _wait_in_sqlite(db, 0)
            self._version = _data_version(db)
            self._schema = self._schema or _schema(db)
            self._files.reopen()
            self._db = db
        return db

    def _refuse_all(self, why: str) -> None:
        """Let nobody wait for what is not going to be done."""
        with suppress(Empty):
            while True:
                _refuse(self._waiting.get_nowait(), why)

    def _turn(self, db: Connection, first: Submission, thread: Supervised) -> bool:
        batch, bare = self._gather(first)
        thread.beat()
        try:
            self._do(db, batch, bare)
        except BaseException:
            for submission in (*batch, *([bare] if bare else ())):
                _refuse(submission, FAILED)
            raise
        return bare is None or not bare.last

    def _do(
        self, db: Connection, batch: list[Submission], bare: Submission | None
    ) -> None:
        with self._in_use:
            results = (self._write if self._writes else self._read)(db, batch)
        self._settle_all(batch, results)
        if bare is not None:
            with self._in_use:
                outcome = self._alone(db, bare)
            self._settle_all([bare], [outcome])

    def _gather(self, first: Submission) -> tuple[list[Submission], Submission | None]:
        """Take what waits: a batch, and the bare submission that ended it."""
        batch: list[Submission] = []
        submission = first
        while not submission.bare:
            batch.append(submission)
            if len(batch) == BATCH or self._waiting.empty():
                return batch, None
            submission = self._waiting.get()
        return batch, submission

    def _read(self, db: Connection, batch: list[Submission]) -> list[_Outcome]:
        if self._files.spoilt:
            return [(None, Unavailable(self._files.spoilt))] * len(batch)
        return [_attempt(db, submission.do) for submission in batch]

    def _write(self, db: Connection, batch: list[Submission]) -> list[_Outcome]:
        if refusal := self._begin(db):
            return [(None, refusal)] * len(batch)
        return self._commit(db, batch)

    def _begin(self, db: Connection) -> Unavailable | None:
        """Begin a transaction; return why it cannot be, None where it has begun."""
        try:
            _begin(db)
        except sqlite3.Error as error:
            # An error of Python's module has no code.
            code = getattr(error, "sqlite_errorcode", None)
            busy = code == sqlite3.SQLITE_BUSY
            problem = "" if busy else self._problem(db)
            return Unavailable(problem) if problem else _unavailable(error)
        problem = self._given_up(db)
        return Unavailable(problem) if problem else None

    def _given_up(self, db: Connection) -> str:
        """Return what somebody has done to the files, and end the transaction then.

        In one, so that no commit of another process is half done while we look.
        """
        problem = self._problem(db)
        if problem:
            _roll_back(db)
        return problem

    def _commit(self, db: Connection, batch: list[Submission]) -> list[_Outcome]:
        """Run a batch in the transaction that has begun, and end it."""
        changes = db.total_changes
        try:
            results = _together(db, batch)
            began = time.monotonic()
            db.execute("COMMIT")
            self._pace = time.monotonic() - began
        except sqlite3.Error as error:
            _roll_back(db)
            failure = _unavailable(error)
            self.failing = str(failure)
            results = [(None, failure)] * len(batch)
        else:
            if db.total_changes != changes:
                self.failing = ""
        if problem := self._files.note():
            return [(None, Unavailable(problem))] * len(batch)
        return results

    def _cannot_write(self, db: Connection) -> Unavailable | None:
        refusal = self._begin(db) if self._writes else None
        if self._writes:
            _roll_back(db)
        return refusal

    def _alone(self, db: Connection, submission: Submission) -> _Outcome:
        if not submission.last and (refusal := self._cannot_write(db)):
            return None, refusal
        _wait_in_sqlite(db, BUSY_MS)
        outcome = _attempt(db, submission.do)
        _roll_back(db)
        _wait_in_sqlite(db, 0)
        if self._writes:
            self._files.note()
        return outcome

    def _problem(self, db: Connection) -> str:
        """Return what somebody has done to the files, "" if nothing; once."""
        problem = self._files.problem(partial(self._is_commit_of_another, db))
        if problem and problem != self._reported:
            log.error("store lost reason=%s", reason(problem))
        self._reported = problem
        return problem

    def _is_commit_of_another(self, db: Connection) -> bool:
        """Tell whether what has changed was committed by another connection."""
        with suppress(sqlite3.Error):
            before, self._version = self._version, _data_version(db)
            if before == self._version:
                return False
            if not self._beside:
                log.warning("another process has written to the store")
            self._beside = True
            if not self._schema <= _schema(db):
                self._files.spoil("had its tables changed by another process")
            return True
        return False

    def _settle_all(self, batch: list[Submission], results: list[_Outcome]) -> None:
        for submission, (value, failure) in zip(batch, results, strict=False):
            if failure is None:
                submission.future.set_result(value)
                continue
            if isinstance(failure, _DamagedError) and not self._files.spoilt:
                self._files.spoil(f"was found damaged ({failure})")
            submission.future.set_exception(failure)


def _begin_at_once(db: Connection) -> bool:
    """Begin a transaction, unless that cannot be done or not without waiting."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        return False
    return True


def _begin(db: Connection) -> None:
    """Begin a transaction, and wait a while for somebody who has the store locked."""
    until = time.monotonic() + BUSY_MS / 1000
    while not _begun(db, last=time.monotonic() > until):
        time.sleep(LOOK)


def _begun(db: Connection, last: bool) -> bool:
    """Begin a transaction; False if the store is locked and it is not the last try."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if last or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _together(db: Connection, batch: list[Submission]) -> list[_Outcome]:
    """Run a batch; one that fails undoes only itself, and costs the others a repeat."""
    try:
        return list(zip(_values(db, batch), repeat(None), strict=False))
    except Exception as error:
        if _is_of_the_store(error):
            raise
        db.execute("ROLLBACK")
        db.execute("BEGIN IMMEDIATE")
        return [_guarded(db, submission.do) for submission in batch]


def _values(db: Connection, batch: list[Submission]) -> list[Any]:
    values: list[Any] = []
    for gathered, submissions in groupby(batch, key=attrgetter("gathered")):
        if gathered is None:
            values += [submission.operation(db) for submission in submissions]
        else:
            values += gathered(db, [submission.item for submission in submissions])
    return values


def _last() -> Submission:
    return Submission(nothing, Future(), bare=True, last=True)


def nothing(_db: Connection) -> None:
    """Do nothing: for a submission that is done otherwise."""


def _guarded(db: Connection, operation: Operation) -> _Outcome:
    """Run one operation of a batch so that its failure undoes only itself."""
    db.execute("SAVEPOINT one")
    value, failure = _attempt(db, operation, whole=False)
    if failure is not None:
        db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")
    return value, failure


def _attempt(db: Connection, operation: Operation, *, whole: bool = True) -> _Outcome:
    """Run an operation; as a part of more it raises what concerns all of that."""
    try:
        return operation(db), None
    except StoreError as refusal:
        return None, refusal
    except Exception as error:
        if not _is_of_the_store(error):
            return None, error
        if not whole:
            raise
        return None, _unavailable(error)


def _is_of_the_store(error: Exception) -> TypeGuard[sqlite3.Error]:
    """Tell whether it says something about the store, not about one operation."""
    return isinstance(error, sqlite3.OperationalError) or _is_damage(error)


def _is_damage(error: Exception) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _wait_in_sqlite(db: Connection, milliseconds: int) -> None:
    """Let a statement wait so long for a lock; in a transaction none ever must."""
    db.execute(f"PRAGMA busy_timeout={milliseconds}")


def _roll_back(db: Connection) -> None:
    if db.in_transaction:
        db.rollback()


def _data_version(db: Connection) -> int:
    """Return a number that changes when another connection commits, and only then."""
    found: int = db.execute("PRAGMA data_version").fetchone()[0]
    return found


def _schema(db: Connection) -> frozenset[Row]:
    """Return the version, and how each table, index and trigger was made."""
    version = db.execute("PRAGMA user_version").fetchone()
    made = db.execute("SELECT type,name,sql FROM sqlite_master").fetchall()
    return frozenset([version, *made])


def _unavailable(error: sqlite3.Error) -> Unavailable:
    log.error("store unavailable error=%s", reason(error), extra=SELDOM)
    if _is_damage(error):
        return _DamagedError(str(error))
    return Unavailable(f"cannot be committed: {error}")


def _refuse(submission: Submission, why: str) -> None:
    if not submission.future.done():
        submission.future.set_exception(Unavailable(why))
