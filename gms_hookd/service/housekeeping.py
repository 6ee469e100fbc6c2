"""What is done now and then: retention, the space of store and caches, the clock."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from gms_hookd.config.records import Retention
from gms_hookd.safetext import reason
from gms_hookd.service.clock import ClockWatch
from gms_hookd.service.inspection import git_version
from gms_hookd.service.usage import size_of
from gms_hookd.store import StoreError, by_hook, maintenance, notices, tasks
from gms_hookd.sync.engine import Engine
from gms_hookd.threads import Supervised
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
BEATS = 86_400_000  # ms that a heartbeat is kept which was sent
MAINTENANCE = 600.0  # seconds between rounds of maintenance
LOOK = 15.0  # seconds between looks at the wall clock
LONGEST_UPKEEP = 86400.0  # seconds; it tidies every cache


@dataclass(eq=False, repr=False)
class Housekeeping:
    """Deletes what is too old, by the context, retention and engine of the moment.

    `measured` is the size of all caches, and which git there is.
    """

    context: Callable[[], Context]
    retention: Callable[[], Retention]
    engine: Callable[[], Engine]
    _: KW_ONLY
    caches: Path
    environ: Mapping[str, str]
    stopping: threading.Event
    measured: tuple[int | None, str] = field(
        default_factory=lambda: (None, ""), init=False
    )

    def __post_init__(self) -> None:
        self._clock = ClockWatch(self.context())

    def run_forever(self, thread: Supervised) -> None:
        """Look at the clock often, and now and then do all else, until the end."""
        due = self.context().monotonic() + MAINTENANCE
        self._believes_clock()
        self.measure()
        while not self.stopping.wait(LOOK):
            thread.beat()
            self._believes_clock()
            if self.context().monotonic() >= due:
                thread.beat(LONGEST_UPKEEP)
                self.keep_up()
                self.measure()
                due = self.context().monotonic() + MAINTENANCE

    def measure(self) -> None:
        """Find out what takes long to find out: the size of all caches, which git."""
        self.measured = size_of(self.caches), git_version(self.environ)

    def _believes_clock(self) -> bool:
        try:
            return self._clock.look()
        except StoreError as error:
            log.error("cannot look at the clock error=%s", reason(error))
            return False

    def keep_up(self) -> None:
        """Delete what is older than the retention says, and give the space back.

        Not while the clock by which it seems old may be wrong.
        """
        believed = self._believes_clock()
        try:
            self._prune(self.context().now() if believed else 0)
            self.context().store.alone(maintenance.shrink).result()
            every = self.context().store.read(tasks.every).result()
        except StoreError as error:
            log.error("upkeep failed error=%s", reason(error))
            return
        sources = {task.source for task in every}
        self.engine().maintain(sources, delete=believed)

    def _prune(self, now: int) -> None:
        """Delete what is too old at `now` (ms) or too much, batch by batch."""
        retention, store = self.retention(), self.context().store
        limits = (retention.runs, retention.deliveries, retention.bodies or 0)
        runs, deliveries, bodies = (now - int(seconds * 1000) for seconds in limits)
        first = store.read(maintenance.first_since, deliveries).result()
        pruned, texts, gone = 0, 0, 1
        while gone and not self.stopping.is_set():
            rows = store.write(maintenance.prune, runs, first).result()
            emptied = store.write(maintenance.drop_bodies, bodies).result()
            rows += store.write(notices.prune, runs, now - BEATS).result()
            pruned, texts, gone = pruned + rows, texts + emptied, rows + emptied
        surplus = self._drop_surplus()
        while store.write(by_hook.note).result() and not self.stopping.is_set():
            pass
        if pruned or texts or surplus:
            line = "retention deleted rows=%d bodies=%d surplus=%d"
            log.info(line, pruned, texts, surplus)

    def _drop_surplus(self) -> int:
        store, count = self.context().store, 0
        more = maintenance.surplus(store.path)
        while more and not self.stopping.is_set():
            store.write(maintenance.drop, more[: maintenance.BATCH]).result()
            count += len(more[: maintenance.BATCH])
            more = more[maintenance.BATCH :] or maintenance.surplus(store.path)
        return count
