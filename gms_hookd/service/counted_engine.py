"""An engine that ends when its last run has: a reload replaces it, not the runs."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from gms_hookd.git.process import Stop
from gms_hookd.runlog import RunLog
from gms_hookd.sync.job import SyncEngine, SyncJob, SyncResult, Unreadable


class CountedEngine:
    """An engine that is closed as soon as it is retired and nobody uses it."""

    def __init__(self, engine: SyncEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    @property
    def closed(self) -> bool:
        """Tell whether it is retired and nobody uses it."""
        return self._retired and not self._users

    def sync(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Have the engine sync."""
        with self._in_use() as engine:
            return engine.sync(job, log, stop)

    def plan(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Have the engine plan."""
        with self._in_use() as engine:
            return engine.plan(job, log, stop)

    def probe(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Have the engine probe."""
        with self._in_use() as engine:
            return engine.probe(job, log, stop)

    def dropped(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Have the engine look for what an undo needs."""
        with self._in_use() as engine:
            return engine.dropped(job, log, stop)

    def reach(self, repository: str, within: float) -> Unreadable | None:
        """Have the engine look whether a repository can be read."""
        with self._in_use() as engine:
            return engine.reach(repository, within)

    def maintain(self, sources: Collection[str], *, delete: bool = True) -> None:
        """Have the engine maintain its caches."""
        with self._in_use() as engine:
            engine.maintain(sources, delete=delete)

    def retire(self) -> None:
        """Close it now, or when its last use ends."""
        with self._lock:
            self._retired = True
        self._close_if_idle()

    def close(self) -> None:
        """Close it, whoever uses it."""
        self._engine.close()

    @contextmanager
    def _in_use(self) -> Iterator[SyncEngine]:
        with self._lock:
            self._users += 1
        try:
            yield self._engine
        finally:
            with self._lock:
                self._users -= 1
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        # Who still had it at hand when it was retired opens it again, and closes it.
        if self.closed:
            self._engine.close()
