"""What one run works with, put together by the engine."""

from collections.abc import Callable
from dataclasses import dataclass

from gms_hookd.git.cache import Cache
from gms_hookd.git.cache_lock import Hold
from gms_hookd.git.refspec import Selection
from gms_hookd.git.remote import Remote
from gms_hookd.runlog import RunLog
from gms_hookd.sync.fetch import RecentFetches
from gms_hookd.sync.job import SyncJob
from gms_hookd.sync.pushlog import PushLog


@dataclass(frozen=True, slots=True)
class SyncContext:
    """The job of a run, its cache and its two ends, and what outlives it.

    `fetched` is called when the run needs its source no more; `lfs` is as in sync.lfs.
    """

    job: SyncJob
    selection: Selection
    cache: Cache
    source: Remote
    target: Remote
    hold: Hold
    pushes: PushLog
    fetches: RecentFetches
    fetched: Callable[[], None]
    lfs: str = "warn"

    @property
    def log(self) -> RunLog:
        """The log of the run."""
        return self.cache.git.limits.log
