"""A consistent copy of the store, for safe keeping."""

import logging
import os
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from gms_hookd.errors import Invalid, Unavailable
from gms_hookd.files import check_replaceable, flush_to_disk, leads_to
from gms_hookd.safetext import quoted
from gms_hookd.store.dbthread import Connection, Error, connect

log = logging.getLogger(__name__)
MARK = "last-backup"  # a file of the state directory, as old as the last copy


def write_copy(store: Path, copy: Path, vacuum: Callable[[Path], None]) -> None:
    """Write a consistent, checked copy of the store, whole or not at all.

    `vacuum` writes it into an empty file (sqlite's VACUUM INTO).
    """
    if not copy.is_absolute():
        raise Invalid("path: an absolute path is needed")
    fresh = copy.with_name(f".{copy.name}.{os.getpid()}.partial")
    try:
        if leads_to(copy, store.parent, partial(_is_taken, store)):
            raise Invalid(f"path: {copy} is the store itself, or leads to it")
        check_replaceable(copy)
        _copy(fresh, vacuum)
        os.replace(fresh, copy)
        flush_to_disk(copy.parent)
        _note(store.parent, copy)
    except (OSError, Error) as error:
        raise Unavailable(f"cannot write {copy}: {error}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _note(state: Path, copy: Path) -> None:
    log.info("backup written file=%s bytes=%d", quoted(copy), copy.stat().st_size)
    with suppress(OSError):  # a full disk does not make the copy a worse one
        (state / MARK).touch(0o600)


def last_backup(state: Path) -> float | None:
    """Return when the last copy was made (Unix time), None if none ever was."""
    try:
        return (state / MARK).stat().st_mtime
    except OSError:
        return None


def _is_taken(store: Path, name: str) -> bool:
    """Return whether it is a name of the store's files, or of anything beside it."""
    return name.startswith(store.name) or os.path.lexists(store.parent / name)


def vacuum(db: Connection, copy: Path) -> None:
    """Write what is committed into an empty file; not in a transaction."""
    db.execute("VACUUM INTO ?", (str(copy),))


def _copy(fresh: Path, vacuum: Callable[[Path], None]) -> None:
    fresh.unlink(missing_ok=True)
    # Made first and empty, so that nobody else can read what goes in.
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    vacuum(fresh)
    with closing(connect(fresh, writes=False)) as copy:
        verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Unavailable(f"the copy is damaged: {verdict}")
    flush_to_disk(fresh)
