"""The durable memory: tasks, runs and deliveries in one sqlite3 file.

`Store` is the face; what is asked of it are the functions of `tasks`, `runs`,
`deliveries` and `upkeep`, each of which takes the connection first.
"""

from gms_hookd.errors import Conflict, Invalid, NotFound, StoreError, Unavailable
from gms_hookd.store.lane import Connection
from gms_hookd.store.store import Store

__all__ = [
    "Conflict",
    "Connection",
    "Invalid",
    "NotFound",
    "Store",
    "StoreError",
    "Unavailable",
]
