"""Which deliveries came by which hook, noted when there is time for it.

An index that each delivery writes made accepting it 6 % dearer alone and 16 % in a
burst of 64, and the bytes of its commit 2 to 6 times as many (tests/bench/year.py). Who
lists the deliveries of a hook looks through the newest ones, which are not noted yet.
"""

from gms_hookd.store.dbthread import Connection

BATCH = 500


def noted(db: Connection) -> int:
    """Return the newest delivery that is noted, 0 for none."""
    row = db.execute("SELECT delivery_id FROM noted").fetchone()
    return 0 if row is None else int(row[0])


def note(db: Connection) -> int:
    """Note one batch of deliveries; give how many."""
    query = "SELECT hook,id FROM deliveries WHERE id>? ORDER BY id LIMIT ?"
    found = db.execute(query, (noted(db), BATCH)).fetchall()
    if found:
        db.executemany("INSERT OR IGNORE INTO by_hook VALUES(?,?)", found)
        db.execute("INSERT OR REPLACE INTO noted VALUES(1,?)", (found[-1][1],))
    return len(found)
