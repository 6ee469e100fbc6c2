"""The engine, loaded when it first has something to do.

It is a third of all modules, and no start needs it.
"""

import threading
from collections.abc import Callable, Collection, Mapping

from gms_hookd.config import Config
from gms_hookd.order import Engine, Order, Outcome
from gms_hookd.runlog import RunLog
from gms_hookd.state import State
from gms_hookd.stop import Stop


class LateEngine:
    """An engine that is built at its first use."""

    def __init__(self, build: Callable[[], Engine]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._built: Engine | None = None

    def sync(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Have the engine sync."""
        return self._engine().sync(order, log, stop)

    def plan(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Have the engine plan."""
        return self._engine().plan(order, log, stop)

    def probe(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Have the engine probe."""
        return self._engine().probe(order, log, stop)

    def tidy(self, sources: Collection[str]) -> None:
        """Have the engine tidy."""
        self._engine().tidy(sources)

    def close(self) -> None:
        """Close the engine if it was built."""
        with self._lock:
            if self._built:
                self._built.close()

    def _engine(self) -> Engine:
        with self._lock:
            self._built = self._built or self._build()
            return self._built


def build(config: Config, state: State, environ: Mapping[str, str]) -> Engine:
    """Load and build the engine of a configuration."""
    from gms_hookd import sync  # noqa: PLC0415

    settings = sync.Settings(
        home=state.home,
        timeout=config.sync.timeout,
        allow_protocols=config.sync.allow_protocols,
        credentials=config.credentials,
        ssh_key_file=config.sync.ssh_key_file,
        ssh_known_hosts=config.sync.ssh_known_hosts,
        backups=config.retention.backups,
    )
    return sync.Engine(state.caches, settings, environ)
