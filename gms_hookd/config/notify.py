"""[notify.NAME]: whom to tell of what; each key refused with its full name."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

from gms_hookd.auth.signature import standard_webhooks_key
from gms_hookd.auth.whitelist import is_loopback
from gms_hookd.config import validators
from gms_hookd.config.records import NotifyConfig
from gms_hookd.config.sources import Settings, Table
from gms_hookd.notify import policy
from gms_hookd.notify.registry import EMAIL, NAMES
from gms_hookd.notify.texts import LANGUAGES

_USUAL = (policy.FAILED, policy.CONFLICT, policy.RECOVERED)
_EVENTS: Mapping[str, tuple[str, ...]] = {
    "ping": policy.HEARTBEAT,
    "packagist": (policy.CHANGED,),
}
_OWN: Mapping[str, tuple[str, ...]] = {
    "email": ("from", "to"),
    "telegram": ("chat_id",),
    "packagist": ("username", "repository"),
    "dingtalk": ("keyword",),
    "feishu": ("keyword",),
}
_OPTIONS = frozenset(key for keys in _OWN.values() for key in keys)
_OPTIONAL = frozenset({"keyword"})
_SIGNED = frozenset({"webhook", "dingtalk", "feishu"})
_TOKENS = frozenset({"gotify", "packagist"})  # nobody is told without a secret
_SECRETS = _SIGNED | _TOKENS | {"ntfy"}
# Docker Hub's callback has its address from each delivery: hooks.NAME.callback.
_KINDS = tuple(name for name in NAMES if name != "dockerhub")
_DAY = 86400.0
STALLED_AFTER = 3600.0  # seconds


def notify_targets(found: Settings) -> tuple[NotifyConfig, ...]:
    """Return the targets, in the order of the file. Raises ConfigError."""
    names = tuple(dict.fromkeys(found.tables("notify")))
    targets = tuple(_target(found.table("notify", name), name) for name in names)
    for target in targets:
        _check_fallback(found.table("notify", target.name), target, names)
    return targets


def stalled_after(value: object) -> float:
    """Take for how many seconds a queue may stand still; a target may be so called."""
    return STALLED_AFTER if isinstance(value, dict) else validators.interval(value)


def _target(table: Table, name: str) -> NotifyConfig:
    table.check_name()
    kind = _kind(table, name)
    insecure = table.get("insecure", validators.flag, False)
    return NotifyConfig(
        name=name,
        kind=kind,
        url=_url(table, kind, insecure=insecure),
        secrets=_secrets(table, kind),
        events=frozenset(_events(table, kind)),
        tasks=table.get("tasks", validators.tasks, None),
        language=table.get("language", _language, "en"),
        fallback=table.get("fallback", validators.line, None),
        remind=table.get("remind", validators.interval, _DAY),
        proxy=_proxy(table, kind),
        ca_file=_ca_file(table),
        insecure=insecure,
        options=MappingProxyType(_options(table, kind)),
    )


def _kind(table: Table, name: str) -> str:
    kind = table.get("kind", validators.text, name)
    if kind in _KINDS:
        return kind
    if kind == "dockerhub":
        problem = "dockerhub is set up with hooks.NAME.callback = true"
        raise table.error(problem, "kind")
    said = "is missing: name one of" if kind == name else f"{kind!r} is none of"
    raise table.error(f"{said} {', '.join(_KINDS)}", "kind")


def _events(table: Table, kind: str) -> tuple[str, ...]:
    known = policy.EVENTS + ((policy.SUCCESS,) if kind == "ping" else ())
    known = _EVENTS[kind] if kind == "packagist" else known
    given = table.get("events", validators.texts, _EVENTS.get(kind, _USUAL))
    for event in given or ("",):
        if event not in known:
            raise table.error(f"{event!r} is none of {', '.join(known)}", "events")
    return given


def _language(value: object) -> str:
    given = validators.text(value)
    if given not in LANGUAGES:
        raise ValueError(f"{given!r} is none of {', '.join(LANGUAGES)}")
    return given


def _url(table: Table, kind: str, *, insecure: bool) -> str:
    for key in ("url", "url_file"):
        table.get(key, validators.line, None)
    chosen = table.one_of("url", "url_file")
    if chosen is None:
        if kind == "packagist":
            return ""
        raise table.error(f"is missing: set url or url_file for {kind}", "url")
    source, name = chosen
    written = source.read(name, validators.line)
    url = source.secret(name, written) if name[-1] == "url_file" else written
    with source.naming(name):
        _check_url(kind, url, insecure=insecure)
    return url


def _check_url(kind: str, url: str, *, insecure: bool) -> None:
    """Raise ValueError for what is no address of this kind; the text has none of it."""
    parts = _parts(url)
    mail = kind == EMAIL
    schemes = ("smtps", "smtp") if mail else ("https", "http")
    if parts is None or parts.scheme not in schemes or not parts.hostname:
        shape = "smtps://user@host:465" if mail else "https://host/path"
        raise ValueError(f'must look like "{shape}"')
    if parts.password is not None or (parts.username is not None and not mail):
        where = "password_file" if mail else "secret_file"
        raise ValueError(f"holds a password: put it into {where}")
    if mail and (parts.path not in ("", "/") or parts.query):
        raise ValueError('must end after the port, as in "smtps://user@host:465"')
    _check_vendor(kind, parts)
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ValueError(
            "http:// shows the text and the address to others on the way: use https://,"
            " or set insecure = true"
        )


def _check_vendor(kind: str, parts: SplitResult) -> None:
    """Raise ValueError for addresses that a vendor has given up, and parts of them."""
    host = parts.hostname or ""
    if kind == "teams" and host.endswith("webhook.office.com"):
        raise ValueError(
            "is a connector, which Microsoft has given up: make a workflow, "
            '"When a Teams webhook request is received", and take its URL'
        )
    if kind == "feishu" and parts.path.startswith("/open-apis/bot/hook/"):
        raise ValueError("is an older form: take that with /open-apis/bot/v2/hook/")
    own = host == "api.telegram.org" or parts.path.endswith("/sendMessage")
    if kind == "telegram" and own and not re.fullmatch(r"/bot[^/]+/?", parts.path):
        raise ValueError('must look like "https://api.telegram.org/bot<token>"')


def _parts(url: str) -> SplitResult | None:
    if not (url.isascii() and url.isprintable()) or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # not a number: ValueError
    except ValueError:
        return None
    return parts


def _secrets(table: Table, kind: str) -> tuple[str, ...]:
    key = "password_file" if kind == EMAIL else "secret_file"
    other = "secret_file" if kind == EMAIL else "password_file"
    if table.one_of(other):
        raise table.error(f"is not for {kind}: set {key}", other)
    chosen = table.one_of(key)
    if chosen is None:
        if kind in _TOKENS:
            raise table.error(f"is missing: {kind} wants a token", key)
        return ()
    if kind not in _SECRETS and kind != EMAIL:
        raise table.error(f"is not for {kind}: its secret is in the url", key)
    source, name = chosen
    secrets = [source.secret(name, path) for path in source.read(name, _files)]
    signing = [each for each in secrets if each.startswith("whsec_")]
    for secret in signing if kind == "webhook" else ():
        with source.naming(name):  # what looks like one of Standard Webhooks is one
            standard_webhooks_key(secret)
    return tuple(secrets)


def _files(value: object) -> tuple[str, ...]:
    """Take the path of a file, or a list of them, the newest first."""
    given = value if isinstance(value, list | tuple) and value else (value,)
    return tuple(validators.line(path) for path in given)


def _refuse_options(table: Table, keys: Collection[str]) -> None:
    for key in sorted(keys):
        if table.one_of(key):
            fit = next(name for name, own in _OWN.items() if key in own)
            raise table.error(f"is for {fit} only", key)


def _options(table: Table, kind: str) -> dict[str, str]:
    own = _OWN.get(kind, ())
    _refuse_options(table, _OPTIONS - set(own))
    options = {}
    for key in own:
        reader = _addresses if key == "to" else _option
        value = table.get(key, reader, "")
        if not value and key not in _OPTIONAL:
            raise table.error(f"is missing: {kind} wants it", key)
        options[key] = value
    return {key: value for key, value in options.items() if value}


def _option(value: object) -> str:
    """Take a text; a chat's number may stand without quotes."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return validators.line(str(value) if is_number else value)


def _addresses(value: object) -> str:
    given = validators.texts([value] if isinstance(value, str) else value)
    for address in given or ("",):
        if "@" not in address or address != validators.line(address):
            raise ValueError(f"{address!r} is no mail address")
    return ", ".join(given)


def _proxy(table: Table, kind: str) -> str:
    proxy = table.get("proxy", validators.line, "")
    if not proxy:
        return ""
    if kind == EMAIL:
        problem = "is not for email: HTTP's proxies pass on no mail"
        raise table.error(problem, "proxy")
    parts = _parts(proxy)
    if parts is None or parts.scheme != "http" or not parts.hostname:
        raise table.error('must look like "http://proxy:3128"', "proxy")
    return proxy


def _ca_file(table: Table) -> Path | None:
    path = table.path("ca_file")
    if path is not None and not path.is_file():
        raise table.error(f"{path}: is not a file of certificates (PEM)", "ca_file")
    return path


def _check_fallback(table: Table, target: NotifyConfig, names: tuple[str, ...]) -> None:
    if target.fallback == target.name:
        raise table.error("is this target itself: name another", "fallback")
    if target.fallback is not None and target.fallback not in names:
        problem = f"there is no [notify.{target.fallback}]: add it, or leave this out"
        raise table.error(problem, "fallback")
