"""Reads what metrics show, at most once in five seconds, however many ask."""

import sys
import threading
from functools import partial

from gms_hookd import __version__
from gms_hookd.futures import Future, apply, recover, then
from gms_hookd.store import gauges
from gms_hookd.store.gauges import Gauges
from gms_hookd.web.metrics import Reading, gauges_text
from gms_hookd.workers.running import Context, DaemonState

INTERVAL = 5.0  # seconds


class Sampler:
    """Keeps the last reading; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: tuple[float, Future[bytes]] | None = None

    def read(self, context: Context) -> Future[bytes]:
        """Return what was read within the last five seconds, or read it now; as text.

        The text of thousands of series is made as seldom.
        """
        now = context.monotonic()
        with self._lock:
            if self._read and now - self._read[0] < INTERVAL:
                return self._read[1]
            reading = then(context.condition(), partial(_with_gauges, context))
            future = apply(reading, gauges_text)
            self._read = now, future
            return future


def _with_gauges(context: Context, condition: DaemonState) -> Future[Reading]:
    """Add what the store says; without its answer all else is shown."""
    found = recover(context.store.read(gauges.gauges), lambda _: None)
    return apply(found, partial(_reading, context, condition))


def _reading(context: Context, condition: DaemonState, found: Gauges | None) -> Reading:
    build = (
        ("version", __version__),
        ("python", sys.version.split()[0]),
        ("git", condition.git),
    )
    busy = context.running.under_way
    targets = frozenset(target for target, _ in context.counters.notices.counts())
    return Reading(context.now(), condition, found, busy, build, targets)
