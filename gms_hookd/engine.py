"""The engine of a configuration."""

from collections.abc import Mapping

from gms_hookd.config.records import Config
from gms_hookd.state import State
from gms_hookd.sync.engine import Engine, EngineSettings


def build(config: Config, state: State, environ: Mapping[str, str]) -> Engine:
    """Build the engine of a configuration."""
    settings = EngineSettings(
        home=state.home,
        timeout=config.sync.timeout,
        stall=config.sync.stall,
        allow_protocols=config.sync.allow_protocols,
        credentials=config.credentials,
        ssh_key_file=config.sync.ssh_key_file,
        ssh_known_hosts=config.sync.ssh_known_hosts,
        backups=config.retention.backups,
    )
    return Engine(state.caches, settings, environ)
