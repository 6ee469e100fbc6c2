"""The schema as steps (schema.sql); `PRAGMA user_version` counts the ones taken."""

import logging
import pkgutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from gms_hookd.errors import StoreError
from gms_hookd.git.url import place
from gms_hookd.safetext import quoted
from gms_hookd.store.dbthread import Connection, Error, untouched
from gms_hookd.store.files import RESTORE

log = logging.getLogger(__name__)
APPLICATION_ID = 0x474D5348  # "GMSH"
MAGIC = b"SQLite format 3\0"  # sqlite.org/fileformat2.html, 1.3.1
SQLITE_NOTADB = 26
FOREIGN = "not a sqlite3 file, or damaged: move it away"


def _statement(block: str) -> str:
    """Return a statement without the comments before it and the semicolon behind it."""
    lines = (line for line in block.split("\n") if not line.startswith("--"))
    return "\n".join(lines).strip().removesuffix(";")


def _steps(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the statements of each step; a blank line ends one, and each heading."""
    steps = (step.split("\n\n")[1:] for step in text.split("\n-- Step ")[1:])
    return tuple(tuple(map(_statement, step)) for step in steps)


STEPS = _steps((pkgutil.get_data("gms_hookd.store", "schema.sql") or b"").decode())


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise StoreError(f"{path}: {FOREIGN}")


def inspect(path: Path) -> None:
    """Refuse a file that is not ours, newer or damaged, with no byte of it changed.

    Nor is one of its -wal and -shm: triggers may be there that are nowhere else.
    """
    if not path.exists() or path.stat().st_size == 0:
        _check_remains(path)
        return
    _check_magic(path)
    try:
        with untouched(path) as db:
            _judge(db, path)
    except Error as error:
        foreign = error.sqlite_errorcode == SQLITE_NOTADB
        why = FOREIGN if foreign else f"damaged ({error}): {RESTORE}"
        raise StoreError(f"{path}: {why}") from None


def _check_remains(path: Path) -> None:
    """Refuse an empty or missing file beside a -wal: sqlite would delete that."""
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size > 0:
        what = "empty" if path.exists() else "missing"
        raise StoreError(f"{path}: is {what}, but not its -wal: {RESTORE}")


def _judge(db: Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID and not _is_blank(db):
        raise StoreError(f"{path}: not a store of gms-hookd: move it away")
    if version > len(STEPS):
        raise StoreError(
            f"{path}: made by a newer gms-hookd (schema {version}, this one knows"
            f" {len(STEPS)}): upgrade, or restore a backup of the older version"
        )
    _check(db, path)


def _is_blank(db: Connection) -> bool:
    """Tell whether it is what a start leaves that was cut off before the first step."""
    return db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _check(db: Connection, path: Path) -> None:
    # 0.23 s for 197 MB; beyond, the check would outlast the start's patience.
    if path.stat().st_size > 512 * 1024 * 1024:
        return
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        why = " ".join(verdict.split())[:120]
        raise StoreError(f"{path}: damaged ({why}): {RESTORE}")


def prepare(db: Connection, path: Path) -> None:
    """Bring the file to today's schema: all steps that it lacks, or none."""
    mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"{path}: this file system cannot hold a WAL ({mode})")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version < len(STEPS):
        _take(db, chain.from_iterable(STEPS[version:]))
    if 0 < version < len(STEPS):
        log.info(
            "store migrated from=%d to=%d file=%s", version, len(STEPS), quoted(path)
        )


def _take(db: Connection, statements: Iterable[str]) -> None:
    db.create_function("host_of", 1, lambda source: place(source)[0])
    db.create_function("path_of", 1, lambda source: place(source)[1])
    db.execute("BEGIN IMMEDIATE")
    for statement in statements:
        db.execute(statement)
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={len(STEPS)}")
    db.execute("COMMIT")
