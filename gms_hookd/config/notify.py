"""[notify.NAME]: whom to tell of what; each key refused with its full name."""

import re
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

from gms_hookd.auth.signature import standard_webhooks_key
from gms_hookd.config import validators
from gms_hookd.config.records import NotifyConfig
from gms_hookd.config.sources import Name, Settings
from gms_hookd.files import SecretFileError, read_secret
from gms_hookd.notify import policy
from gms_hookd.notify.registry import EMAIL, NAMES
from gms_hookd.notify.texts import LANGUAGES

_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,64}")
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
    targets = tuple(_target(found, name) for name in names)
    for target in targets:
        _check_fallback(found, target, names)
    return targets


def stalled_after(value: object) -> float:
    """Take for how many seconds a queue may stand still; a target may be so called."""
    return STALLED_AFTER if isinstance(value, dict) else validators.interval(value)


def _target(found: Settings, name: str) -> NotifyConfig:
    table = ("notify", name)
    if not _NAME.fullmatch(name):
        problem = "must be 1 to 64 letters, digits, dots, underscores and hyphens"
        raise found.error(table, problem)
    kind = _kind(found, table)
    insecure = found.get((*table, "insecure"), validators.flag, False)
    return NotifyConfig(
        name=name,
        kind=kind,
        url=_url(found, table, kind, insecure=insecure),
        secrets=_secrets(found, table, kind),
        events=frozenset(_events(found, table, kind)),
        tasks=found.get((*table, "tasks"), validators.tasks, None),
        language=found.get((*table, "language"), _language, "en"),
        fallback=found.get((*table, "fallback"), validators.line, None),
        remind=found.get((*table, "remind"), validators.interval, _DAY),
        proxy=_proxy(found, table, kind),
        ca_file=_ca_file(found, table),
        insecure=insecure,
        options=MappingProxyType(_options(found, table, kind)),
    )


def _kind(found: Settings, table: Name) -> str:
    name = (*table, "kind")
    kind = found.get(name, validators.text, table[1])
    if kind in _KINDS:
        return kind
    if kind == "dockerhub":
        raise found.error(name, "dockerhub is set up with hooks.NAME.callback = true")
    said = "is missing: name one of" if kind == table[1] else f"{kind!r} is none of"
    raise found.error(name, f"{said} {', '.join(_KINDS)}")


def _events(found: Settings, table: Name, kind: str) -> tuple[str, ...]:
    name = (*table, "events")
    known = policy.EVENTS + ((policy.SUCCESS,) if kind == "ping" else ())
    known = _EVENTS[kind] if kind == "packagist" else known
    given = found.get(name, validators.texts, _EVENTS.get(kind, _USUAL))
    for event in given or ("",):
        if event not in known:
            raise found.error(name, f"{event!r} is none of {', '.join(known)}")
    return given


def _language(value: object) -> str:
    given = validators.text(value)
    if given not in LANGUAGES:
        raise ValueError(f"{given!r} is none of {', '.join(LANGUAGES)}")
    return given


def _url(found: Settings, table: Name, kind: str, *, insecure: bool) -> str:
    written, file = (*table, "url"), (*table, "url_file")
    found.get(written, validators.line, None)
    found.get(file, validators.line, None)
    chosen = found.one_of(written, file)
    if chosen is None:
        if kind == "packagist":
            return ""
        raise found.error(written, f"is missing: set url or url_file for {kind}")
    source, name = chosen
    if name == file:
        url = _secret_file(found, file, source.folder / source.read(name, _text))
    else:
        url = source.read(name, validators.line)
    try:
        _check_url(kind, url, insecure=insecure)
    except ValueError as error:
        raise source.error(name, error) from None
    return url


def _text(value: object) -> str:
    return validators.line(value)


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


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _secrets(found: Settings, table: Name, kind: str) -> tuple[str, ...]:
    key = "password_file" if kind == EMAIL else "secret_file"
    other = "secret_file" if kind == EMAIL else "password_file"
    if found.one_of((*table, other)):
        raise found.error((*table, other), f"is not for {kind}: set {key}")
    name = (*table, key)
    chosen = found.one_of(name)
    if chosen is None:
        if kind in _TOKENS:
            raise found.error(name, f"is missing: {kind} wants a token")
        return ()
    if kind not in _SECRETS and kind != EMAIL:
        raise found.error(name, f"is not for {kind}: its secret is in the url")
    source, _ = chosen
    paths = source.read(name, _files)
    secrets = [_secret_file(found, name, source.folder / path) for path in paths]
    for secret in secrets if kind == "webhook" else ():
        _check_signing(found, name, secret)
    return tuple(secrets)


def _check_signing(found: Settings, name: Name, secret: str) -> None:
    """Refuse what looks like a secret of Standard Webhooks and is none."""
    try:
        if secret.startswith("whsec_"):
            standard_webhooks_key(secret)
    except ValueError as error:
        raise found.error(name, error) from None


def _files(value: object) -> tuple[str, ...]:
    """Take the path of a file, or a list of them, the newest first."""
    given = value if isinstance(value, list | tuple) and value else (value,)
    return tuple(validators.line(path) for path in given)


def _secret_file(found: Settings, name: Name, path: Path) -> str:
    try:
        return read_secret(path)
    except SecretFileError as error:
        raise found.error(name, error) from None


def _refuse_options(found: Settings, table: Name, keys: Collection[str]) -> None:
    for key in sorted(keys):
        if found.one_of((*table, key)):
            fit = next(name for name, own in _OWN.items() if key in own)
            raise found.error((*table, key), f"is for {fit} only")


def _options(found: Settings, table: Name, kind: str) -> dict[str, str]:
    own = _OWN.get(kind, ())
    _refuse_options(found, table, _OPTIONS - set(own))
    options = {}
    for key in own:
        reader = _addresses if key == "to" else _option
        value = found.get((*table, key), reader, "")
        if not value and key not in _OPTIONAL:
            raise found.error((*table, key), f"is missing: {kind} wants it")
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


def _proxy(found: Settings, table: Name, kind: str) -> str:
    name = (*table, "proxy")
    proxy = found.get(name, validators.line, "")
    if not proxy:
        return ""
    if kind == EMAIL:
        raise found.error(name, "is not for email: HTTP's proxies pass on no mail")
    parts = _parts(proxy)
    if parts is None or parts.scheme != "http" or not parts.hostname:
        raise found.error(name, 'must look like "http://proxy:3128"')
    return proxy


def _ca_file(found: Settings, table: Name) -> Path | None:
    name = (*table, "ca_file")
    path = found.path(name, validators.line)
    if path is not None and not path.is_file():
        raise found.error(name, f"{path}: is not a file of certificates (PEM)")
    return path


def _check_fallback(
    found: Settings, target: NotifyConfig, names: tuple[str, ...]
) -> None:
    name = ("notify", target.name, "fallback")
    if target.fallback == target.name:
        raise found.error(name, "is this target itself: name another")
    if target.fallback is not None and target.fallback not in names:
        problem = f"there is no [notify.{target.fallback}]: add it, or leave this out"
        raise found.error(name, problem)
