"""Deliveries in the store: one row for each request to a hook, with its outcome."""

import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gms_hookd.errors import NotFound
from gms_hookd.model import Delivery, RunStatus
from gms_hookd.store import by_hook
from gms_hookd.store.dbthread import Connection, Row
from gms_hookd.store.rows import column, value

_COLUMNS = (
    "id,hook,provider,event,delivery_key,received_ms,client,status,reason,task_ids,"
    "run_id"
)
NEWEST = "(SELECT coalesce(max(id),0) FROM deliveries)"
_INSERT = (
    "INSERT INTO deliveries(status,reason,task_ids,run_id,hook,provider,client,"
    "received_ms,event) VALUES(?,?,?,?,?,?,?,?,?)"
)
_INSERT_KEYED = (
    "INSERT INTO deliveries(status,reason,task_ids,run_id,hook,provider,client,"
    "received_ms,event,delivery_key,digest) VALUES(?,?,?,?,?,?,?,?,?,?,?)"
)
_LINK = "INSERT OR IGNORE INTO links(delivery_id,run_id) VALUES(?,?)"


class NewDelivery(NamedTuple):
    """A delivery before its outcome is known."""

    hook: str
    provider: str
    client: str
    received_at: int
    event: str | None = None
    delivery_key: str | None = None
    digest: bytes | None = None


class RecordedDelivery(NamedTuple):
    """A delivery with its outcome; `joined`: its run had been queued before."""

    new_delivery: NewDelivery
    status: int
    reason: str
    task_ids: tuple[int, ...] = ()
    run_ids: tuple[int, ...] = ()
    joined: bool = False


class DeliveryContent(NamedTuple):
    """What came with a delivery: headers as a JSON object, and the body if kept."""

    headers: str
    body: bytes | None = None


def record(
    db: Connection,
    new_delivery: NewDelivery,
    status: int,
    reason: str,
    *,
    task_ids: tuple[int, ...] = (),
    run_ids: tuple[int, ...] = (),
    content: DeliveryContent | None = None,
) -> int:
    """Keep a delivery with the HTTP status it was answered with; gives its id."""
    recorded = RecordedDelivery(new_delivery, status, reason, task_ids, run_ids)
    row = (*_row(recorded), new_delivery.delivery_key, new_delivery.digest)
    delivery_id = db.execute(_INSERT_KEYED, row).lastrowid or 0
    db.executemany(_LINK, [(delivery_id, run_id) for run_id in run_ids[1:]])
    if content is not None:
        body = None if content.body is None else zlib.compress(content.body, 6)
        query = "INSERT INTO parcels(delivery_id,headers,body) VALUES(?,?,?)"
        db.execute(query, (delivery_id, content.headers, body))
    return delivery_id


def record_all(db: Connection, entries: Sequence[RecordedDelivery]) -> None:
    """Keep deliveries without a key, each served by one run at most."""
    # For a key that is None the sqlite3 module would look for an adapter.
    db.executemany(_INSERT, [_row(entry) for entry in entries])


def newest(db: Connection) -> int:
    """Tell the highest id that a delivery has; no id is ever given twice."""
    return int(value(db, f"SELECT {NEWEST}"))


def _row(entry: RecordedDelivery) -> Row:
    """Return the values of `_INSERT`."""
    new_delivery, status, reason, task_ids, run_ids, _ = entry
    ids = f"[{', '.join(map(str, task_ids))}]"  # JSON; json.dumps takes 2.9 us
    run_id = run_ids[0] if run_ids else None
    return status, reason, ids, run_id, *new_delivery[:5]  # up to its event


def content(db: Connection, delivery_id: int) -> DeliveryContent | None:
    """Find what came with a delivery, None if nothing of it is kept."""
    query = "SELECT headers,body FROM parcels WHERE delivery_id=?"
    row = db.execute(query, (delivery_id,)).fetchone()
    if row is None:
        return None
    headers, body = row
    return DeliveryContent(headers, None if body is None else zlib.decompress(body))


def of_run(db: Connection, run_id: int) -> tuple[int, ...]:
    """List the deliveries that a run serves."""
    query = (
        "SELECT d.id FROM runs r JOIN deliveries d ON d.id>r.after_delivery"
        " AND d.id<=coalesce(r.last_delivery,:all) AND d.run_id=r.id WHERE r.id=:id"
        " UNION SELECT delivery_id FROM links WHERE run_id=:id"
    )
    return tuple(column(db, query, {"id": run_id, "all": sys.maxsize}))


def outcome(db: Connection, delivery_id: int) -> tuple[RunStatus, ...]:
    """List how the runs that serve a delivery have ended, or stand."""
    query = (
        "SELECT r.status FROM deliveries d JOIN runs r ON r.id=d.run_id WHERE d.id=:id"
        " UNION ALL SELECT r.status FROM links l JOIN runs r ON r.id=l.run_id"
        " WHERE l.delivery_id=:id"
    )
    return tuple(map(RunStatus, column(db, query, {"id": delivery_id})))


def hand_over(db: Connection, old: int, new: int) -> None:
    """Let another run serve what a run was to serve."""
    db.execute(
        "UPDATE deliveries SET run_id=:new WHERE run_id=:old"
        " AND id>(SELECT after_delivery FROM runs WHERE id=:old)",
        {"new": new, "old": old},
    )
    db.execute("UPDATE OR IGNORE links SET run_id=? WHERE run_id=?", (new, old))
    db.execute("DELETE FROM links WHERE run_id=?", (old,))


def get(db: Connection, delivery_id: int) -> Delivery:
    """Find a delivery; Missing if there is none."""
    found = where(db, "id=:id", {"id": delivery_id, "limit": 1})
    if not found:
        raise NotFound(f"no delivery {delivery_id}")
    return found[0]


def latest(
    db: Connection,
    hook: str | None,
    limit: int,
    *,
    status: int | None = None,
    before: int = sys.maxsize,
    since: int = 0,
) -> list[Delivery]:
    """List the newest deliveries first, of one hook or of all, of one HTTP status.

    Those before an id only, and since a time (ms).
    """
    values = {"hook": hook, "status": status, "before": before, "since": since}
    which = "id<:before AND received_ms>=:since"
    which += "" if status is None else " AND status=:status"
    if hook is None:
        return where(db, which, {**values, "limit": limit})
    values["noted"] = by_hook.noted(db)
    newer = f"{which} AND hook=:hook AND id>:noted"
    found = where(db, newer, {**values, "limit": limit})
    query = (
        f"SELECT {_COLUMNS} FROM by_hook CROSS JOIN deliveries ON id=delivery_id"
        f" WHERE name=:hook AND delivery_id<=:noted AND {which}"
        " ORDER BY delivery_id DESC LIMIT :limit"
    )
    values["limit"] = limit - len(found)
    return found + [_delivery(db, row) for row in db.execute(query, values).fetchall()]


def where(db: Connection, term: str, values: Mapping[str, object]) -> list[Delivery]:
    """List the newest deliveries first for which `term` holds, `:limit` of them."""
    query = (
        f"SELECT {_COLUMNS} FROM deliveries WHERE {term} ORDER BY id DESC LIMIT :limit"
    )
    return [_delivery(db, row) for row in db.execute(query, values).fetchall()]


def is_known(db: Connection, hook: str) -> bool:
    """Return whether a delivery of this hook is kept."""
    return bool(latest(db, hook, 1))


def latest_of_hooks(db: Connection) -> dict[str, int]:
    """Return when the last verified delivery of each hook came (ms)."""
    rows = db.execute(
        "SELECT hook,max(received_ms) FROM deliveries WHERE status=200 GROUP BY hook"
    )
    return dict(rows.fetchall())


def refused(db: Connection, limit: int) -> list[Delivery]:
    """List the newest refused deliveries first, looked for among the newest 2,000."""
    return where(db, f"id>{NEWEST}-2000 AND status>=400", {"limit": limit})


def earlier(db: Connection, new_delivery: NewDelivery) -> Delivery | None:
    """Find the newest delivery with the same key and body at the same hook."""
    same = "hook=:hook AND delivery_key=:delivery_key AND digest=:digest AND status=200"
    found = where(db, same, {**new_delivery._asdict(), "limit": 1})
    return found[0] if found else None


def _delivery(db: Connection, row: Row) -> Delivery:
    delivery_id, *known, task_ids, run_id = row
    # The run may be gone; its id is nobody else's.
    query = (
        "SELECT id FROM runs WHERE id=?"
        " UNION SELECT run_id FROM links WHERE delivery_id=? ORDER BY 1"
    )
    runs = tuple(column(db, query, (run_id, delivery_id)))
    values: list[Any] = [*known, tuple(json.loads(task_ids)), runs]
    return Delivery(delivery_id, *values)
