"""What every handler of requests needs at hand: store, live runs, engine, clocks."""

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from gms_hookd.live import Live
from gms_hookd.store import Store
from gms_hookd.sync.job import Engine


@dataclass(frozen=True, slots=True)
class Desk:
    """The store, the live runs, a pool for what takes long, clocks (seconds).

    The engine is there to plan, not to sync: that is the workers' business.
    """

    store: Store
    live: Live
    pool: Executor
    engine: Engine
    protocols: tuple[str, ...] = ("https", "ssh", "file")
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def now(self) -> int:
        """Tell the time as Unix milliseconds."""
        return int(self.clock() * 1000)
