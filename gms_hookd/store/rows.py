"""What a query found, without its rows: one value, or one column."""

from collections.abc import Mapping, Sequence
from typing import Any

from gms_hookd.store.dbthread import Connection

Parameters = Sequence[object] | Mapping[str, object]


def value(db: Connection, query: str, parameters: Parameters = ()) -> Any:
    """Return the first column of the first row, None where no row is found."""
    row = db.execute(query, parameters).fetchone()
    return row[0] if row else None


def column(db: Connection, query: str, parameters: Parameters = ()) -> list[Any]:
    """Return the first column of every row."""
    return [row[0] for row in db.execute(query, parameters)]
