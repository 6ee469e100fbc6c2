"""The engine of a configuration, and those of earlier ones while they have runs."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

from gms_hookd.config.records import Config
from gms_hookd.git.cache_lock import Holds
from gms_hookd.safetext.mask import Mask
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.threads import Pool


@dataclass(eq=False, repr=False)
class Engines:
    """The engines of one state directory: one for new runs, others that end theirs.

    `fetched` is told each run that needs its source no more, `count` each command
    of git and its result. An engine is retired in `pool`: to end its connections may
    take a while, and nobody waits for that.
    """

    state: StateDirectory
    pool: Pool
    _: KW_ONLY
    fetched: Callable[[int], None]
    count: Callable[[str, str], None]
    _holds: Holds = field(default_factory=Holds, init=False)
    _open: list[Engine] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        return len(self._open)

    def exchange(
        self, config: Config, environ: Mapping[str, str], mask: Mask
    ) -> Engine:
        """Return an engine for new runs; the others close when their last run ends."""
        for each in self._open:
            self.pool.do(each.retire)
        settings = _settings(config, self.state, mask, self.count)
        parts = self.state.caches, settings, environ
        engine = Engine(*parts, holds=self._holds, fetched=self.fetched)
        self._open = [each for each in self._open if not each.closed] + [engine]
        return engine

    def close(self) -> None:
        """Close all of them."""
        for engine in self._open:
            engine.close()


def _settings(
    config: Config, state: StateDirectory, mask: Mask, count: Callable[[str, str], None]
) -> EngineSettings:
    return EngineSettings(
        home=state.home,
        timeout=config.sync.timeout,
        stall=config.sync.stall,
        lfs=config.sync.lfs,
        allow_protocols=config.sync.allow_protocols,
        credentials=config.credentials,
        ssh_key_file=config.sync.ssh_key_file,
        ssh_known_hosts=config.sync.ssh_known_hosts,
        backups=config.retention.backups,
        trust_owners=config.sync.trust_owners,
        mask=mask,
        count=count,
    )
