"""Which deliveries came by which hook, noted when there is time for it.

An index that each delivery writes made accepting it 6 % dearer alone and 16 % in a
burst of 64, and the bytes of its commit 2 to 6 times as many (tests/bench/year.py). Who
lists the deliveries of a hook looks through the newest ones, which are not noted yet.
"""

from gms_hookd.store.dbthread import Connection
from gms_hookd.store.rows import value

BATCH = 500


def noted(db: Connection) -> int:
    """Return the newest delivery that is noted, 0 for none."""
    return value(db, "SELECT delivery_id FROM noted") or 0


def note(db: Connection) -> int:
    """Note one batch of deliveries; give how many."""
    query = "SELECT hook,id FROM deliveries WHERE id>? ORDER BY id LIMIT ?"
    found = db.execute(query, (noted(db), BATCH)).fetchall()
    if found:
        _, newest = found[-1]
        db.executemany("INSERT OR IGNORE INTO by_hook VALUES(?,?)", found)
        db.execute("INSERT OR REPLACE INTO noted VALUES(1,?)", (newest,))
    return len(found)
