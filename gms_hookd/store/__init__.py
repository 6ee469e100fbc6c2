"""The durable memory: tasks, runs and deliveries in one sqlite3 file.

`Store` is the face; what is asked of it are the functions of `tasks`, `runs`,
`deliveries` and `upkeep`, each of which takes the connection first.
"""

from gms_hookd.store.lane import Connection
from gms_hookd.store.problem import Clash, Invalid, Missing, StoreError, Unavailable
from gms_hookd.store.store import Store

__all__ = [
    "Clash",
    "Connection",
    "Invalid",
    "Missing",
    "Store",
    "StoreError",
    "Unavailable",
]
