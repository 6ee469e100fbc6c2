"""store/: the durable memory: tasks, runs and deliveries in one sqlite3 file.

`Store` is the face; what is asked of it are the functions of `tasks`, `runs`,
`schedules`, `deliveries`, `notices`, `source_checks` and `maintenance`, each of
which takes the connection first. Owns sqlite3 (dbthread.py): one thread writes,
in one transaction for all that waits, and a result that a future holds is on the disk.
`turn` keeps back what a loop writes until its turn ends, and says why; `files` notices
what befalls the files meanwhile, `refusals` counts refused requests before they are
rows.

The deliveries of a run are a range, not a list. A delivery has the id of its run only
where it made one; each that joins a pending run lies between the run's first delivery
and the newest one at its claim:

    deliveries   ... 41 [42] 43  44 | 45 ...    run 7: made by 42, joined by 43 and 44
    runs         after_delivery = 41, last_delivery = 44

so that a trigger which joins writes one row and changes none.

May import: auth, cron, errors, files, futures, git, log, model, notify,
safetext, threads.
"""

from gms_hookd.errors import Conflict, Invalid, NotFound, StoreError, Unavailable
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.store import Store

__all__ = [
    "Conflict", "Connection", "Invalid", "NotFound", "Store", "StoreError",
    "Unavailable",
]  # fmt: skip
