"""One fetch for all the runs of a cache that were asked for before it began.

What was asked, and when, is told by the numbers of deliveries, which only grow: no
clock, which can be set, decides whether a trigger is answered with an older state.
"""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from gms_hookd.intake import Served
from gms_hookd.order import Order

CACHES = 64  # that are remembered
SIZE = 100_000  # characters of refs and their ids, at most, of one of them


class _Fetch(NamedTuple):
    specs: tuple[str, ...]
    newest: int
    served: Served


class Fetches:
    """The last fetch of each cache; who holds the cache's lock asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[Path, _Fetch] = OrderedDict()

    def note(
        self, cache: Path, specs: tuple[str, ...], order: Order, served: Served
    ) -> None:
        """Remember what a fetch that began in this run brought."""
        with self._lock:
            self._last.pop(cache, None)
            if order.newest and _size(served) <= SIZE:
                self._last[cache] = _Fetch(specs, order.newest, served)
            while len(self._last) > CACHES:
                self._last.popitem(last=False)

    def recall(
        self, cache: Path, specs: tuple[str, ...], order: Order
    ) -> Served | None:
        """Give what was fetched since the run was asked for, if anything was."""
        if order.asked is None or order.verify:
            return None
        with self._lock:
            last = self._last.get(cache)
        if last is None or last.specs != specs or order.asked > last.newest:
            return None
        return last.served


def _size(served: Served) -> int:
    return sum(len(ref) + len(oid) for ref, oid in served.refs.items())
