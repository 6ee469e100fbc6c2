"""Maintenance of the store: retention, disk space, the copy for safe keeping."""

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from gms_hookd.errors import Unavailable
from gms_hookd.store import runs
from gms_hookd.store.dbthread import Connection, Error, connect
from gms_hookd.store.rows import column, value

BATCH = 500
REFUSED = 20_000  # refused deliveries kept: unknown senders must not fill the disk
IDLE = 100_000  # kept at most of those that started nothing: forges tell a lot
PATIENCE_MS = 100
BODIES = 1_000  # bodies kept at most


def first_since(db: Connection, moment: int) -> int:
    """Tell the id of the first delivery that came then (ms) or later."""
    # They came in the order of their ids: an index by age would only cost each of them.
    query = "SELECT id FROM deliveries WHERE received_ms>=? ORDER BY id LIMIT 1"
    found = value(db, query, (moment,))
    return sys.maxsize if found is None else int(found)


# By itself sqlite would go through all runs of each status.
_OLD_RUNS = (
    f"SELECT id FROM runs INDEXED BY runs_ended WHERE {runs.ENDED}"
    " AND ended_ms<? LIMIT ?"
)
_DELETE_DELIVERIES = (
    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries d"
    " WHERE id<? AND id<(SELECT max(id) FROM deliveries)"
    " AND NOT EXISTS(SELECT 1 FROM runs r"
    "  WHERE r.id=d.run_id AND r.status IN ('queued','running'))"
    " AND NOT EXISTS(SELECT 1 FROM links l"
    "  JOIN runs r ON r.id=l.run_id AND r.status IN ('queued','running')"
    "  WHERE l.delivery_id=d.id) ORDER BY id LIMIT ?)"
)


def prune(db: Connection, runs_before: int, first: int) -> int:
    """Delete one batch of what is too old; gives how many rows.

    Too old are runs that ended before (ms), and deliveries before the `first` to stay.
    """
    old = column(db, _OLD_RUNS, (runs_before, BATCH))
    runs.forget(db, old)
    # A delivery stays as long as a run that it is linked to; the newest one always,
    # so that its id is not given again.
    gone = db.execute(_DELETE_DELIVERIES, (first, BATCH)).rowcount
    return len(old) + gone


_DROP_OLD_BODIES = (
    "UPDATE parcels SET body=NULL WHERE delivery_id IN (SELECT delivery_id"
    " FROM parcels p JOIN deliveries d ON d.id=p.delivery_id"
    " WHERE p.body IS NOT NULL AND d.received_ms<? LIMIT ?)"
)


def drop_bodies(db: Connection, before: int) -> int:
    """Forget one batch of the bodies that came before then (ms); gives how many.

    Beyond the newest 1000 none is kept, whenever it came.
    """
    old = db.execute(_DROP_OLD_BODIES, (before, BATCH)).rowcount
    query = (
        "UPDATE parcels SET body=NULL WHERE delivery_id IN (SELECT delivery_id"
        " FROM parcels WHERE body IS NOT NULL"
        " ORDER BY delivery_id DESC LIMIT ? OFFSET ?)"
    )
    return old + db.execute(query, (BATCH, BODIES)).rowcount


def surplus(store: Path) -> list[int]:
    """List the refused and the idle deliveries beyond those to stay.

    It looks at all there are, so it does that beside the lanes: nobody waits for it.
    """
    refused = "status>=400"
    idle = (
        "status=200 AND NOT EXISTS(SELECT 1 FROM runs r WHERE r.id=d.run_id)"
        " AND NOT EXISTS(SELECT 1 FROM links l WHERE l.delivery_id=d.id)"
    )
    try:
        with closing(connect(store, writes=False)) as db:
            return [*_beyond(db, refused, REFUSED), *_beyond(db, idle, IDLE)]
    except Error as error:
        raise Unavailable(f"cannot be read: {error}") from None


def _beyond(db: Connection, which: str, kept: int) -> list[int]:
    query = (
        f"SELECT id FROM deliveries d WHERE {which} ORDER BY id DESC LIMIT ? OFFSET ?"
    )
    return column(db, query, (50 * BATCH, kept))


def drop(db: Connection, delivery_ids: Iterable[int]) -> None:
    """Delete deliveries."""
    keys = [(delivery_id,) for delivery_id in delivery_ids]
    db.executemany("DELETE FROM deliveries WHERE id=?", keys)


def shrink(db: Connection) -> None:
    """Give free pages back to the disk and empty the WAL; not in a transaction."""
    # execute() frees one page a call, executescript() as many as named.
    db.executescript("PRAGMA incremental_vacuum(1024)")
    # It waits for who reads, and writers wait for it: a replicator reads all the time.
    db.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def ping(db: Connection) -> None:
    """Do nothing; an answer says that the thread is alive."""
    db.execute("SELECT 1").fetchone()


def probe(db: Connection) -> None:
    """Write something and take it back: an answer says that writes are committed."""
    db.execute("INSERT INTO merged(id,run_id) VALUES(0,0)")
    db.execute("DELETE FROM merged WHERE id=0")
