"""Reads tables of a sqlite3 file that is not ours, and changes no byte of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gms_hookd.errors import StoreError
from gms_hookd.store.dbthread import Connection, Error, untouched

Record = Mapping[str, Any]
Tables = Mapping[str, Sequence[str]]  # columns that are of use, by table


def read_tables(path: Path, wanted: Tables) -> dict[str, list[Record]]:
    """Return the rows of each table that is there, in the order of their ids.

    Of the wanted columns those that there are; no other is looked at. Raises
    StoreError.
    """
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists() and journal.stat().st_size:
        remedy = "try again, or after a crash start what writes it once"
        raise StoreError(f"{path}: is being written, it has a -journal: {remedy}")
    try:
        with untouched(path) as db:
            db.text_factory = lambda text: text.decode("utf-8", "replace")
            there = {name: _columns(db, name) for name in wanted}
            return {
                name: _rows(db, name, [each for each in columns if each in there[name]])
                for name, columns in wanted.items()
                if "id" in there[name]
            }
    except Error as error:
        raise StoreError(f"{path}: cannot be read as a database: {error}") from None


def _columns(db: Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info([{table}])")}


def _rows(db: Connection, table: str, columns: Sequence[str]) -> list[Record]:
    names = ",".join(f"[{column}]" for column in columns)
    rows = db.execute(f"SELECT {names} FROM [{table}] ORDER BY id").fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]
