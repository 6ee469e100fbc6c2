"""The configuration as frozen records, checked and complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gms_hookd.contract import HOOKS
from gms_hookd.forges.condition import Condition
from gms_hookd.git.credentials import Credential
from gms_hookd.git.host_alias import Aliases
from gms_hookd.model import WHOLE, Shard

ETC = Path("/etc/gms-hookd")
GMS_HOOK = "task-sync"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The front: where it listens, whom it believes, how much it reads (bytes).

    `public_url` is what forges must call, without the path of a hook. `shard` is which
    of several nodes this one is.
    """

    listen: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    trusted_proxies: tuple[str, ...]
    max_body: int
    public_url: str | None = None
    shard: Shard = WHOLE

    def hook_url(self, name: str) -> str | None:
        """Return what a forge must call; None where nobody has said by what name."""
        return f"{self.public_url}{HOOKS}{name}" if self.public_url else None


@dataclass(frozen=True, slots=True)
class HookConfig:
    """One inbound endpoint; `secrets` newest first, none if none is configured yet.

    `rate_limit` is per minute and client address, 0 is off, and None leaves verified
    deliveries unlimited. `scheme` None is the provider's default. `tasks` are the ids
    or names it is limited to, None for all. `callback`: the outcome is sent to Docker
    Hub. `when`: what a payload must have to start anything.
    """

    name: str
    provider: str
    scheme: str | None
    secrets: tuple[str, ...] = field(repr=False)
    rate_limit: int | None
    ip_whitelist: tuple[str, ...]
    options: Mapping[str, str]
    tasks: tuple[int | str, ...] | None = None
    callback: bool = False
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """The API on the network; without a token it is on the control socket only.

    `tokens`, the newest first, open every call, `read_token` those that only look.
    """

    tokens: tuple[str, ...] = field(default=(), repr=False)
    read_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SyncConfig:
    """How runs are carried out; `timeout` is of one attempt, in seconds.

    `per_host` is how many runs one host gets at a time, None is all workers. `stall` is
    for how many seconds a host may send nothing at all. `trust` is how long
    a remembered target is believed, `reconcile` how often source and target of each
    task are looked at (seconds); 0 is never.
    `lfs` is what becomes of refs whose large files cannot be carried: "warn": they are
    pushed, "strict": they are not, "off": nobody looks.
    `trust_owners` are the ids of users whose local repositories are used, beside root's
    and ours.
    """

    workers: int
    timeout: float
    attempts: int
    allow_protocols: tuple[str, ...]
    ssh_key_file: Path | None
    ssh_known_hosts: Path | None
    trust: float = 900.0
    reconcile: float = 900.0
    stall: float = 60.0
    lfs: str = "warn"
    trust_owners: tuple[int, ...] = ()
    per_host: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in seconds; bodies of deliveries, None: not at all."""

    runs: float
    deliveries: float
    backups: float
    bodies: float | None = None


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Whom to tell of what, and how it is reached.

    `url` is a credential itself at most vendors; `secrets` newest first, at `email` the
    password. `tasks` are ids, names or globs, None for all. `remind` is in seconds, 0
    for never. `insecure`: not by TLS. `options` are those of the kind.
    """

    name: str
    kind: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    events: frozenset[str]
    tasks: tuple[int | str, ...] | None = None
    language: str = "en"
    fallback: str | None = None
    remind: float = 86400.0
    proxy: str = field(default="", repr=False)
    ca_file: Path | None = None
    insecure: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """All that is configured; `warnings` are lines for the operator.

    `stalled` is for how many seconds the queue may stand still untold, 0: for ever.
    """

    file: Path | None
    server: ServerConfig
    webhook: HookConfig
    hooks: tuple[HookConfig, ...]
    api: ApiConfig
    sync: SyncConfig
    credentials: tuple[Credential, ...]
    retention: Retention
    warnings: tuple[str, ...]
    aliases: Aliases = Aliases()
    notify: tuple[NotifyConfig, ...] = ()
    stalled: float = 3600.0
