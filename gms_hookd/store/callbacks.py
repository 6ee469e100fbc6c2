"""Where the outcome of a delivery's runs is to be sent."""

from typing import NamedTuple

from gms_hookd.model import RunStatus
from gms_hookd.store.dbthread import Connection


class Callback(NamedTuple):
    """Where to tell the outcome of a delivery; `tries` have failed so far."""

    delivery_id: int
    url: str
    tries: int
    statuses: tuple[RunStatus, ...]


def add(db: Connection, delivery_id: int, url: str, now: int) -> None:
    """Have the outcome of a delivery sent."""
    query = "INSERT INTO callbacks(delivery_id,url,due_ms) VALUES(?,?,?)"
    db.execute(query, (delivery_id, url, now))


def due(db: Connection, now: int, longest: int) -> list[Callback]:
    """List what is to be sent now: the runs have ended, the next try is due.

    None waits longer than `longest` ms, whatever becomes of the clock.
    """
    rows = db.execute(
        "SELECT delivery_id,url,tries FROM callbacks c"
        " WHERE due_ms NOT BETWEEN :now+1 AND :now+:longest"
        " AND NOT EXISTS(SELECT 1 FROM deliveries d JOIN runs r ON r.id=d.run_id"
        "  WHERE d.id=c.delivery_id AND r.status IN ('queued','running'))"
        " AND NOT EXISTS(SELECT 1 FROM links l JOIN runs r ON r.id=l.run_id"
        "  WHERE l.delivery_id=c.delivery_id AND r.status IN ('queued','running'))"
        " ORDER BY due_ms LIMIT 20",
        {"now": now, "longest": longest},
    ).fetchall()
    return [Callback(i, url, tries, _statuses(db, i)) for i, url, tries in rows]


def _statuses(db: Connection, delivery_id: int) -> tuple[RunStatus, ...]:
    query = (
        "SELECT r.status FROM deliveries d JOIN runs r ON r.id=d.run_id WHERE d.id=:id"
        " UNION ALL SELECT r.status FROM links l JOIN runs r ON r.id=l.run_id"
        " WHERE l.delivery_id=:id"
    )
    rows = db.execute(query, {"id": delivery_id}).fetchall()
    return tuple(RunStatus(row[0]) for row in rows)


def done(db: Connection, delivery_id: int) -> None:
    """Forget a callback: it was made, or given up."""
    db.execute("DELETE FROM callbacks WHERE delivery_id=?", (delivery_id,))


def again(db: Connection, delivery_id: int, at: int) -> None:
    """Note a try that failed; the next is due at `at` (ms)."""
    query = "UPDATE callbacks SET tries=tries+1,due_ms=? WHERE delivery_id=?"
    db.execute(query, (at, delivery_id))
