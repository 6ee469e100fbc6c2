"""The configuration: read once, checked whole, handed on as frozen records.

Sources, the first of which wins: command line; WEBHOOK_SECRET, as in GMS; environment
GMS_HOOKD_<SECTION>_<KEY>; systemd credentials; the file; the secret that was made in
the state directory. `secret`, `secret_file` and `secrets` are one setting, and so are
those of `token` and of `read_token`, `listen` and `port`.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from gms_hookd.auth import secret_file
from gms_hookd.auth.strength import weakness
from gms_hookd.auth.whitelist import Whitelist, is_loopback, is_socket
from gms_hookd.config import file as configfile
from gms_hookd.config import records, sources, validators
from gms_hookd.config.file import config_file
from gms_hookd.config.notify import STALLED_AFTER, notify_targets, stalled_after
from gms_hookd.config.sources import Name, Settings, Source, Table
from gms_hookd.contract import comes_with_start
from gms_hookd.errors import ConfigError
from gms_hookd.files import closed
from gms_hookd.forges.registry import PROVIDERS, scheme_of
from gms_hookd.git import host_alias
from gms_hookd.git.credentials import Credential
from gms_hookd.git.host_alias import Aliases
from gms_hookd.model import WHOLE

# Reads the configuration without the settings that it is given.
Load = Callable[[Collection[Name]], records.Config]
MADE = "webhook-secret"
MOST_FAULTS = 50
_SECRETS = ("secret", "secret_file", "secrets")
_OPTIONS = ("header", "algorithm", "prefix", "encoding", "username")
_LOGIN = ("username", "password_file", "token_file")
_TOKENS = ("token", "token_file", "tokens")
_READ_TOKENS = ("read_token", "read_token_file")
_KEYS_OF: Mapping[str, tuple[str, ...]] = {
    "https": (*_LOGIN, "tls_cert_file", "tls_key_file", "ca_file"),
    "http": _LOGIN,
    "ssh": ("ssh_key_file", "ssh_known_hosts", "ssh_options", "ssh_proxy"),
    "file": (),
}
_FOR_ALL = ("allow_fsck",)
_INLINE = frozenset({"secret", "secrets", "token", "tokens", "read_token"})
# A secret of every form, for what is checked before there is one.
_ANY_SECRET = ("0" * 64,)
_NOTHING: Mapping[str, object] = MappingProxyType({})
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_RATE = validators.whole(0, 1_000_000)


def load_config(
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    state: Path,
    overrides: Mapping[str, object] = _NOTHING,
    folder: Path = records.ETC,
    without: Collection[Name] = (),
) -> records.Config:
    """Read the configuration; `overrides` are the command line's, by dotted name.

    What is named in `without` is passed over, all of it if that holds (). Raises
    ConfigError. Without any secret it is for the caller to call `made_secret` and to
    load again.
    """
    environ = {n: text for n, text in environ.items() if (n,) not in without}
    given = [
        Source({tuple(name.split(".")): given for name, given in overrides.items()}),
        *_variables(environ),
    ]
    path = None if () in without else config_file(environ, file, folder)
    read = configfile.read_config(path) if path else None
    written = _written(read, path, without)
    *files, made = _files(environ, written, state)
    every = [source.without(without) for source in (*given, *files, made)]
    found = Settings(every)
    config = _config(found, path)
    exposed = read is not None and read.exposed
    warnings = (
        *_warnings(config, written, exposed),
        *_doubts(found, config),
        *_overruled(Settings(every[:-1])),
    )
    return replace(config, warnings=warnings)


def faults(load: Load) -> tuple[records.Config, list[str]]:
    """Return the configuration without what is wrong with it, and all that is."""
    without: set[Name] = set()
    found: dict[str, None] = {}
    while True:
        try:
            return load(without), list(found)
        except ConfigError as error:
            if () in without:
                raise
            *table, key = error.setting or ("",)
            # What was left out, or its file, is not missing.
            if without.isdisjoint({error.setting, (*table, f"{key}_file")}):
                found[str(error)] = None
            without.add(_to_leave_out(load, without, error, len(found)))


def _to_leave_out(
    load: Load, without: Collection[Name], error: ConfigError, count: int
) -> Name:
    """Return what to pass over so that this error comes no more: no more than needed.

    What is missing cannot be left out: then what wants it is, or all around it.
    """
    name = error.setting
    if count >= MOST_FAULTS or not name:
        return ()
    table = name[:-1]
    beside = [(*table, key) for key in sources.KEYS.get(name[0], ())]
    for each in (name, *beside):
        if each not in without and not _same(load, {*without, each}, error):
            return each
    while table in without:
        table = table[:-1]
    return table


def _same(load: Load, without: Collection[Name], error: ConfigError) -> bool:
    """Return whether what is left has the same fault."""
    try:
        load(without)
    except ConfigError as another:
        return str(another) == str(error)
    return False


def webhook_secrets(
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    state: Path,
    folder: Path = records.ETC,
) -> tuple[str, ...]:
    """Return the secrets of GMS's hook, the newest first; read no other secret.

    Where the environment says them no file is opened. Raises ConfigError.
    """
    if secrets := _secrets(Settings(_variables(environ)).table("webhook")):
        return secrets
    path = config_file(environ, file, folder)
    written = _written(configfile.read_config(path) if path else None, path)
    found = Settings([*_variables(environ), *_files(environ, written, state)])
    return _secrets(found.table("webhook"))


def _variables(environ: Mapping[str, str]) -> list[Source]:
    return [
        sources.variable("WEBHOOK_SECRET", ("webhook", "secret"), environ),
        sources.environment(environ),
    ]


def _written(
    read: configfile.ConfigFile | None,
    path: Path | None,
    without: Collection[Name] = (),
) -> Source:
    if read is None or path is None:
        return Source({})
    content = sources.pruned(read.content, without)
    return sources.contents(content, path, yaml=read.yaml)


def _files(environ: Mapping[str, str], written: Source, state: Path) -> list[Source]:
    made = sources.secret_files({("webhook", "secret_file"): state / MADE})
    return [sources.credentials(environ), written, made]


def made_secret(state: Path) -> Path:
    """Make a secret in the state directory unless there is one; return its file.

    Raises OSError.
    """
    secret_file.make_secret(state / MADE)
    return state / MADE


def refuse_weak(config: records.Config, listen: Iterable[str]) -> None:
    """Raise ConfigError if a secret that can be guessed would guard a public listener.

    `listen` are the places really listened at, also those that were passed in.
    """
    public = [spec for spec in listen if not _is_local(spec)]
    for name, why in _weak(config) if public else ():
        raise ConfigError(
            f"{name}: {why}, and {public[0]} is open to others: set another (openssl"
            " rand -hex 32), or listen at 127.0.0.1 only"
        )


def shared_sockets(config: records.Config, listen: Iterable[str]) -> Iterator[str]:
    """Name what the clients of each unix socket share, where no proxy is trusted.

    `listen` as for `refuse_weak`.
    """
    hooks = (config.webhook, *config.hooks)
    proxies = Whitelist(config.server.trusted_proxies)
    limited = any(hook.rate_limit or hook.ip_whitelist for hook in hooks)
    for spec in listen:
        if limited and is_socket(spec) and not proxies.covers(spec):
            yield (
                f"server.listen: all clients of {spec} share one rate limit, and"
                ' ip_whitelist admits none of them without the entry "unix": if a proxy'
                ' sends X-Forwarded-For there, add "unix" to server.trusted_proxies'
            )


# --- from settings to records


def _config(found: Settings, path: Path | None) -> records.Config:
    webhook = _gms_hook(found.table("webhook"))
    sync = _sync(found.table("sync"))
    return records.Config(
        file=path,
        server=_server(found.table("server")),
        webhook=webhook,
        hooks=tuple(
            _hook(found.table("hooks", name), name, webhook)
            for name in found.tables("hooks")
        ),
        api=_api(found),
        sync=sync,
        credentials=tuple(
            _credential(found.table("credentials", url), url, sync)
            for url in found.tables("credentials")
        ),
        retention=_retention(found.table("retention")),
        warnings=(),
        aliases=_aliases(found),
        notify=notify_targets(found),
        stalled=found.get(("notify", "stalled"), stalled_after, STALLED_AFTER),
    )


def _server(server: Table) -> records.ServerConfig:
    cert, key = _tls_files(server)
    return records.ServerConfig(
        listen=_listen(server),
        tls_cert=cert,
        tls_key=key,
        trusted_proxies=server.get("trusted_proxies", validators.networks, ()),
        max_body=server.get("max_body", validators.body_size, 25 << 20),
        public_url=server.get("public_url", validators.public_url, None),
        shard=server.get("shard", validators.shard, WHOLE),
    )


def _listen(server: Table) -> tuple[str, ...]:
    listen = server.get("listen", validators.listens, ("127.0.0.1:38080",))
    number = server.get("port", validators.whole(1, 65535), 0)
    chosen = server.one_of("listen", "port")
    return (f":{number}",) if chosen and chosen[1][-1] == "port" else listen


def _tls_files(server: Table) -> tuple[Path | None, Path | None]:
    cert, key = server.path("tls_cert"), server.path("tls_key")
    for name, one, other in (("tls_cert", cert, key), ("tls_key", key, cert)):
        if other and not one:
            raise server.error("is missing: TLS needs tls_cert, tls_key", name)
        if one:
            _check_tls(server, name, one)
    return cert, key


def _check_tls(server: Table, key: str, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except PermissionError:
        raise server.error(f"{path}: {closed(path)}", key) from None
    except OSError as error:
        if comes_with_start(path):
            return
        raise server.error(f"{path}: {error.strerror}", key) from None
    if not stat.S_ISREG(mode):
        raise server.error(f"{path}: is not a regular file", key)
    if key == "tls_key" and mode & 0o007:
        raise server.error(f"{path}: is open to others: chmod o= {path}", key)


def _gms_hook(webhook: Table) -> records.HookConfig:
    return records.HookConfig(
        name=records.GMS_HOOK,
        provider="gms",
        scheme=None,
        secrets=_secrets(webhook),
        rate_limit=webhook.get("rate_limit", _RATE, 100),
        ip_whitelist=webhook.get("ip_whitelist", validators.networks, ()),
        options=_NO_OPTIONS,
    )


def _hook(table: Table, name: str, webhook: records.HookConfig) -> records.HookConfig:
    _check_hook_name(table, name)
    allowed = webhook.ip_whitelist
    hook = records.HookConfig(
        name=name,
        provider=_provider(table, name),
        scheme=table.get("scheme", validators.text, None),
        secrets=_secrets(table) or webhook.secrets,
        rate_limit=table.get("rate_limit", _RATE, None),
        ip_whitelist=table.get("ip_whitelist", validators.networks, allowed),
        options=MappingProxyType(_options(table)),
        tasks=table.get("tasks", validators.tasks, None),
        callback=table.get("callback", validators.flag, False),
        when=table.get("when", validators.conditions, ()),
    )
    if hook.callback and hook.provider != "dockerhub":
        raise table.error("is for Docker Hub's hooks only", "callback")
    _check_scheme(table, hook)
    return hook


def _check_hook_name(table: Table, name: str) -> None:
    if name == records.GMS_HOOK:
        raise table.error("is GMS's own hook: set it up in [webhook]")
    if name == "runs":
        raise table.error("is taken by the API: use another name")
    table.check_name()


def _provider(table: Table, hook: str) -> str:
    provider = table.get("provider", validators.text, hook)
    if provider in PROVIDERS:
        return provider
    said = f"{provider!r} is none of" if provider != hook else "is missing: name one of"
    raise table.error(f"{said} {', '.join(PROVIDERS)}", "provider")


def _options(table: Table) -> dict[str, str]:
    readers = {"header": validators.header}
    given = {
        option: table.get(option, readers.get(option, validators.text), None)
        for option in _OPTIONS
    }
    return {option: value for option, value in given.items() if value is not None}


def _check_scheme(table: Table, hook: records.HookConfig) -> None:
    secrets = hook.secrets or _ANY_SECRET
    try:
        scheme_of(hook.provider, hook.scheme, secrets, hook.options)
    except ValueError as error:
        key, _, problem = str(error).partition(": ")
        if key in ("scheme", *_OPTIONS):
            raise table.error(problem, key) from None
        raise table.error(error, "secret") from None


def _secrets(table: Table) -> tuple[str, ...]:
    return _named_secrets(table)[1]


def _named_secrets(table: Table) -> tuple[str, tuple[str, ...]]:
    """Return the name of the setting that says the secrets of a hook, and them."""
    return _chosen(table, _SECRETS, validators.secret)


def _chosen(
    table: Table, keys: Sequence[str], reader: Callable[[object], str]
) -> tuple[str, tuple[str, ...]]:
    """Return which of these settings says secrets, and them; none where none does.

    `keys` are a secret itself, its file and, where there may be several, their list.
    """
    one, file, *lists = keys
    table.get(one, validators.text, None)
    table.get(file, validators.line, None)
    for key in lists:
        table.get(key, validators.texts, None)
    chosen = table.one_of(*keys)
    if chosen is None:
        return "", ()
    source, name = chosen
    called = source.called(name)
    if name[-1] in lists:
        return called, source.read(name, partial(validators.several, reader))
    if name[-1] == one:
        return called, (source.read(name, reader),)
    with source.naming(name):
        return called, (reader(_secret_in_file(source, name)),)


def _secret_in_file(source: Source, name: Name) -> str:
    return source.secret(name, source.read(name, validators.line))


def _api(found: Settings) -> records.ApiConfig:
    api = found.table("api")
    _, tokens = _chosen(api, _TOKENS, validators.token)
    called, reading = _chosen(api, _READ_TOKENS, validators.token)
    read_token = next(iter(reading), None)
    if read_token in tokens:
        raise ConfigError(
            f"{called}: is api.token too, so that who may read may write:"
            " set another (openssl rand -hex 32)",
            ("api", "read_token"),
        )
    return records.ApiConfig(tokens, read_token)


def _sync(sync: Table) -> records.SyncConfig:
    if key := sync.one_of("ssh_key_file"):
        _check_key(*key)
    usual = ("https", "ssh", "file")
    return records.SyncConfig(
        workers=sync.get("workers", validators.whole(1, 1000), 8),
        timeout=sync.get("timeout", validators.duration, 600.0),
        attempts=sync.get("attempts", validators.whole(1, 1000), 5),
        allow_protocols=sync.get("allow_protocols", validators.protocols, usual),
        ssh_key_file=sync.path("ssh_key_file"),
        ssh_known_hosts=sync.path("ssh_known_hosts"),
        trust=sync.get("trust", validators.duration_or_off, 900.0),
        reconcile=sync.get("reconcile", validators.interval, 900.0),
        stall=sync.get("stall", validators.duration, 60.0),
        lfs=sync.get("lfs", validators.lfs, "warn"),
        trust_owners=sync.get("trust_owners", validators.owners, ()),
        per_host=sync.get("per_host", validators.whole(1, 1000), None),
    )


def _credential(table: Table, url: str, sync: records.SyncConfig) -> Credential:
    prefix, scheme = _credential_url(table, url, sync)
    own = (*_KEYS_OF[scheme], *_FOR_ALL)
    _refuse_others(table, own)
    credential = Credential(
        url=prefix,
        username=table.get("username", validators.line, None),
        password_file=table.path("password_file"),
        token_file=table.path("token_file"),
        ssh_key_file=table.path("ssh_key_file"),
        ssh_known_hosts=table.path("ssh_known_hosts"),
        tls_cert_file=table.path("tls_cert_file"),
        tls_key_file=table.path("tls_key_file"),
        ca_file=table.path("ca_file"),
        allow_fsck=table.get("allow_fsck", validators.fsck, ()),
        ssh_options=table.get("ssh_options", validators.ssh_options, ()),
        ssh_proxy=table.get("ssh_proxy", validators.ssh_proxy, None),
    )
    by_ssh = credential.ssh_options, credential.ssh_proxy
    said = any((*credential.files, credential.allow_fsck, *by_ssh))
    if not said and scheme in ("ssh", "file"):
        raise table.error(f"says nothing: set {' or '.join(own)}")
    _check_login(table, credential, said=said)
    _check_keys(table)
    return credential


def _refuse_others(table: Table, own: Sequence[str]) -> None:
    """Refuse the keys that are for another kind of URL."""
    for key in sources.KEYS["credentials"]:
        if key not in own and table.one_of(key):
            fit = next(name for name, keys in _KEYS_OF.items() if key in keys)
            raise table.error(f"is for {fit}:// only: set {' or '.join(own)} here", key)


def _check_login(table: Table, credential: Credential, *, said: bool) -> None:
    chosen = table.one_of("password_file", "token_file")
    if chosen is None and (credential.username or not said):
        raise table.error("names no secret: set password_file or token_file")
    if credential.password_file and not credential.username:
        raise table.error("is missing: a password needs one", "username")
    if chosen:
        _check_password(*chosen)


def _check_keys(table: Table) -> None:
    cert, key = table.one_of("tls_cert_file"), table.one_of("tls_key_file")
    if key and not cert:
        problem = "is missing: a key needs its certificate"
        raise table.error(problem, "tls_cert_file")
    private = key or cert  # a certificate without one has its key with it
    for chosen in (private, table.one_of("ssh_key_file")):
        if chosen:
            _check_key(*chosen)


def _credential_url(
    table: Table, url: str, sync: records.SyncConfig
) -> tuple[str, str]:
    """Return the beginning of the URLs that a credential is for, and their scheme."""
    try:
        prefix = validators.url_prefix(url)
    except ValueError as error:
        raise table.error(error) from None
    scheme = "file" if prefix.startswith("/") else prefix.partition(":")[0]
    if scheme not in sync.allow_protocols:
        problem = f"{scheme} is not in sync.allow_protocols: add it there, or use https"
        raise table.error(problem)
    return prefix, scheme


def _check_key(source: Source, name: Name) -> Path:
    """Refuse a file that others can read; one that is not there yet is for the run."""
    path = source.folder / source.read(name, validators.line)
    try:
        secret_file.check_secret(path, path.stat())
    except FileNotFoundError:
        pass
    except OSError as error:
        why = closed(path) if isinstance(error, PermissionError) else error.strerror
        raise source.error(name, f"{path}: {why}") from None
    except secret_file.SecretFileError as error:
        raise source.error(name, error) from None
    return path


def _check_password(source: Source, name: Name) -> None:
    """Refuse also what cannot be a secret, if this user may read it."""
    if os.access(_check_key(source, name), os.R_OK):
        _secret_in_file(source, name)


def _retention(retention: Table) -> records.Retention:
    day = 86400.0
    days = partial(retention.get, reader=validators.duration)
    return records.Retention(
        runs=days("runs", default=90 * day),
        deliveries=days("deliveries", default=30 * day),
        backups=days("backups", default=30 * day),
        bodies=days("bodies", default=None),
    )


def _aliases(found: Settings) -> Aliases:
    pairs = []
    for said in found.tables("aliases"):
        name = ("aliases", said)
        try:
            other = found.get(name, validators.line, said)
            pairs.append((host_alias.read(said), host_alias.read(other)))
        except ValueError as error:
            raise found.error(name, error) from None
    return Aliases(tuple(pairs))


# --- what is accepted, but not silently


def _warnings(config: records.Config, written: Source, exposed: bool) -> Iterator[str]:
    if written.foreign:
        yield f"not used by gms-hookd: {', '.join(written.foreign)}{written.place}"
    proxies = (c.ssh_proxy for c in config.credentials if c.ssh_proxy)
    inline = any(name[-1] in _INLINE for name in written.values)
    if exposed and (inline or any(proxy.password for proxy in proxies)):
        yield (
            f"{config.file}: holds a secret and is open to others: put the secret into"
            " a file of its own (secret_file), or chmod 600"
        )
    yield from shared_sockets(config, config.server.listen)
    for name, why in _weak(config):
        yield f"{name}: {why}: set one of your own (openssl rand -hex 32)"
    yield from _missing_files(config)


def _missing_files(config: records.Config) -> Iterator[str]:
    named = ((c, path) for c in config.credentials for path in filter(None, c.files))
    for credential, path in named:
        if not os.path.exists(path):
            name = sources.dotted(("credentials", credential.url))
            yield f"{name}: {path} does not exist yet"


def _overruled(found: Settings) -> Iterator[str]:
    """Name the secrets that are set twice: to rotate the wrong one changes nothing."""
    yield from found.overruled(*(("webhook", key) for key in _SECRETS))
    for keys in (_TOKENS, _READ_TOKENS):
        yield from found.overruled(*(("api", key) for key in keys))


def _doubts(found: Settings, config: records.Config) -> Iterator[str]:
    """Name the secrets that hold what is probably not meant to be part of them."""
    hooks = (("hooks", hook.name) for hook in config.hooks)
    tables = [found.table(*name) for name in (("webhook",), *hooks)]
    named = [_named_secrets(table) for table in tables]
    api = found.table("api")
    named += (_chosen(api, keys, validators.token) for keys in (_TOKENS, _READ_TOKENS))
    for credential in config.credentials:
        name = sources.dotted(("credentials", credential.url))
        path = credential.password_file or credential.token_file
        with suppress(secret_file.SecretFileError):  # this user may not read it
            named += (
                [(f"{name}: {path}", (secret_file.read_secret(path),))] if path else []
            )
    for called, secrets in named:
        for doubt in filter(None, map(secret_file.secret_doubt, secrets)):
            yield f"{called}: {doubt}"


def _weak(config: records.Config) -> Iterator[tuple[str, str]]:
    """Name the secrets that can be guessed, and why they can."""
    for hook in (config.webhook, *config.hooks):
        own = hook.name == records.GMS_HOOK
        name = "webhook.secret" if own else f"hooks.{hook.name}.secret"
        guessed = hook.secrets if own else _guessed(hook)
        if not own and guessed == config.webhook.secrets:
            continue  # inherited, and named there
        yield from ((name, why) for s in guessed if (why := weakness(s)))
    named = [("api.token", token) for token in config.api.tokens]
    named += [("api.read_token", config.api.read_token or "")]
    yield from ((name, why) for name, s in named if s and (why := weakness(s)))


def _guessed(hook: records.HookConfig) -> tuple[str, ...]:
    """Return what of a hook's secrets has to be guessed, by its scheme."""
    if not hook.secrets:
        return ()
    scheme = scheme_of(hook.provider, hook.scheme, hook.secrets, hook.options)
    return tuple(scheme.guessed(secret) for secret in hook.secrets)


def _is_local(listen: str) -> bool:
    host = listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    return listen.startswith("unix:") or is_loopback(host)
