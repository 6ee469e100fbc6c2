"""The face of the store: `write` and `read` an operation, each answered by a future."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gms_hookd.errors import StoreError, Unavailable
from gms_hookd.futures import Future
from gms_hookd.store.backup import vacuum, write_copy
from gms_hookd.store.dbthread import (
    Connection,
    DatabaseThread,
    Error,
    Submission,
    connect,
    nothing,
)
from gms_hookd.store.files import Files
from gms_hookd.store.schema import inspect, prepare
from gms_hookd.store.turn import Turn
from gms_hookd.threads import Threads

Item = TypeVar("Item")
P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """One file, one writing thread, one reading thread.

    `turn` keeps back what a loop writes until the end of its turn.
    """

    def __init__(
        self, writer: DatabaseThread, reader: DatabaseThread, files: Files, path: Path
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._files = files
        self.turn = Turn(writer)
        self.path = path

    @classmethod
    def open(cls, path: Path, threads: Threads | None = None) -> "Store":
        """Open or create the store at `path`, checked and at today's schema.

        StoreError with one line when the file is foreign, newer or damaged; such a
        file is left as it is.
        """
        inspect(path)
        _make_ready(path)
        threads = threads or Threads()
        files = Files(path)
        writer = DatabaseThread(
            "store-writer", path, files, writes=True, threads=threads
        )
        # The reading connection opens a file whose WAL the writer holds open.
        _wait_until_open(writer)
        reader = DatabaseThread(
            "store-reader", path, files, writes=False, threads=threads
        )
        _wait_until_open(reader)
        return cls(writer, reader, files, path)

    def write(
        self,
        operation: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[T]:
        """Do `operation(db, ...)` in a transaction; done means synced to disk."""
        return self.turn.submit(_bound(operation, args, kwargs))

    def commit(
        self,
        operation: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do as `write`, wait, and give the result; for who has nothing else to do.

        While the disk is quick it is done in the calling thread.
        """
        submission = _bound(operation, args, kwargs)
        if not self._writer.commit_here([submission]):
            self._writer.submit(submission)
        value: T = submission.future.result()
        return value

    def gather(
        self, operation: Callable[[Connection, list[Item]], Sequence[T]], item: Item
    ) -> Future[T]:
        """Do `operation(db, items)` for `item` and others that came at the same time.

        It gives a result for each. As with `write`, done means synced to disk.
        """
        each = Submission(nothing, Future(), gathered=operation, item=item)
        return self.turn.submit(each)

    def alone(
        self,
        operation: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[T]:
        """Do `operation(db, ...)` on the writing connection without a transaction."""
        return self._writer.submit(_bound(operation, args, kwargs, bare=True))

    def read(
        self,
        operation: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[T]:
        """Do `operation(db, ...)` on the connection that cannot write."""
        return self._reader.submit(_bound(operation, args, kwargs))

    def backup(self, copy: Path) -> None:
        """Write a consistent, checked copy, whole or not at all; nobody waits for it.

        A store whose file was removed is copied, too. Raises StoreError.
        """
        write_copy(self.path, copy, self._vacuum)

    def _vacuum(self, copy: Path) -> None:
        if self._files.spoilt:
            raise Unavailable(self._files.spoilt)
        if self._files.moved():
            # Only who has it open still reads it.
            self.read(vacuum, copy).result()
            return
        with closing(connect(self.path, writes=False)) as db:
            vacuum(db, copy)

    @property
    def lost(self) -> str:
        """Return what befell the files, with what hands can do about it, or ""."""
        return self._files.spoilt or self._files.moved()

    @property
    def failing(self) -> str:
        """Return why the last write could not be committed, "" if it was."""
        return self._writer.failing

    @property
    def waiting(self) -> int:
        """Count the writes that wait to be committed."""
        return self._writer.waiting + self.turn.waiting

    def close(self) -> None:
        """Commit what waits, checkpoint, close.

        Who closes last checkpoints, if it may write: into a file that is not what we
        left that would destroy what somebody put there, and what the -wal has of ours.
        """
        threads = (self._reader, self._writer)
        for thread in reversed(threads) if self._files.spoilt else threads:
            thread.close()


def _make_ready(path: Path) -> None:
    """Make the file where there is none, and bring its tables to today's schema."""
    try:
        # Made by sqlite it would be readable for all; the -wal takes after it.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with closing(connect(path, writes=True)) as db:
            prepare(db, path)
    except (Error, OSError) as error:
        raise StoreError(f"{path}: {error}") from None


def _wait_until_open(thread: DatabaseThread) -> None:
    def begin_to_use(db: Connection) -> None:
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()

    thread.submit(Submission(begin_to_use, Future())).result()


def _bound(
    operation: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    *,
    bare: bool = False,
) -> Submission:
    return Submission(lambda db: operation(db, *args, **kwargs), Future(), bare=bare)
