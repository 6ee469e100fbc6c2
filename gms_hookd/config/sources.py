"""Where settings come from, and which source wins; what they mean is config's to know.

A setting's name is a tuple, ("hooks", "github", "secret"); people see it with dots.
Environment variables are called GMS_HOOKD_<SECTION>_<KEY>; lists in them have commas.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from gms_hookd.auth.secret_file import SecretFileError, read_secret
from gms_hookd.config.validators import line
from gms_hookd.errors import ConfigError

Name = tuple[str, ...]
Value = TypeVar("Value")
Default = TypeVar("Default")
_HOOK = ("secret", "secret_file", "secrets", "rate_limit", "ip_whitelist")
KEYS: Mapping[str, tuple[str, ...]] = {
    "server": (
        "listen", "port", "tls_cert", "tls_key", "trusted_proxies", "max_body",
        "public_url", "shard",
    ),
    "webhook": _HOOK,
    "hooks": (
        "provider", "scheme", *_HOOK,
        "header", "algorithm", "prefix", "encoding", "username", "tasks", "callback",
        "when",
    ),
    "api": ("token", "token_file", "tokens", "read_token", "read_token_file"),
    "sync": (
        "workers", "timeout", "stall", "attempts", "allow_protocols", "ssh_key_file",
        "ssh_known_hosts", "trust", "reconcile", "lfs", "trust_owners",
        "per_host",
    ),
    "credentials": (
        "username", "password_file", "token_file", "ssh_key_file", "ssh_known_hosts",
        "tls_cert_file", "tls_key_file", "ca_file", "allow_fsck", "ssh_options",
        "ssh_proxy",
    ),
    "aliases": (),
    "notify": (
        "kind", "url", "url_file", "secret_file", "events", "tasks", "language",
        "fallback", "remind", "proxy", "ca_file", "insecure", "password_file", "from",
        "to", "chat_id", "username", "repository", "keyword",
    ),
    "retention": ("runs", "deliveries", "backups", "bodies"),
}  # fmt: skip
NAMED = ("hooks", "credentials", "notify")
# Settings beside the tables of such a section, all tables being alike.
BESIDE: frozenset[Name] = frozenset({("notify", "stalled")})
FREE = ("aliases",)  # sections whose keys the operator chooses
_LISTS = {
    "listen", "trusted_proxies", "secrets", "tokens", "ip_whitelist",
    "allow_protocols", "trust_owners",
}  # fmt: skip
_NUMBERS = {"port", "rate_limit", "workers", "attempts", "per_host"}
# What GMS configures and we do not.
_FOREIGN = frozenset({
    "rpc", "database", "debug", "storage", "lock", "log", "lint", "code_review",
    "redis", "prometheus", "notification", "mirror", "server.external_url",
})  # fmt: skip
_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,64}")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PREFIX = "GMS_HOOKD_"
_OTHERS = ("GMS_HOOKD_CONFIG", "GMS_HOOKD_STATE", "GMS_HOOKD_DEBUG")
_COMMAND = re.compile(r": (?:chgrp|chmod|chown) ")


@dataclass(frozen=True, slots=True)
class Source:
    """One place that settings come from.

    `values` are what it says, not yet looked at; `calls` are names of its own for them;
    relative paths start at `folder`; `place` ends each error text. `foreign` are names
    that are not ours. `origin` is what people know it by, where its names do not tell.
    """

    values: Mapping[Name, object] = field(repr=False)
    calls: Mapping[Name, str] = field(default_factory=dict)
    folder: Path = Path()
    place: str = ""
    foreign: tuple[str, ...] = ()
    origin: str = ""

    def error(self, name: Name, problem: object) -> ConfigError:
        """Make the error for one of its settings."""
        # A command that it ends with is to be pasted as it stands.
        place = "" if _COMMAND.search(str(problem)) else self.place
        return ConfigError(f"{self.called(name)}: {problem}{place}", name)

    def without(self, names: Collection[Name]) -> "Source":
        """Return the source without these settings and what is below them."""
        kept = {
            name: value
            for name, value in self.values.items()
            if not any(name[: len(each)] == each for each in names)
        }
        return replace(self, values=kept)

    def called(self, name: Name) -> str:
        """Return what this source calls a setting."""
        return self.calls.get(name) or dotted(name)

    @contextmanager
    def naming(self, name: Name) -> Iterator[None]:
        """Raise the error for a setting where its value is found wrong."""
        try:
            yield
        except (ValueError, SecretFileError) as error:
            raise self.error(name, error) from None

    def read(self, name: Name, reader: Callable[[object], Value]) -> Value:
        """Return what the reader makes of a setting; its ValueError gets a name."""
        with self.naming(name):
            return reader(self.values[name])

    def secret(self, name: Name, path: str) -> str:
        """Return the secret in a file that a setting names."""
        with self.naming(name):
            return read_secret(self.folder / path)


class Settings:
    """The sources, the first of which wins; all are checked, also what is overruled."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def get(
        self, name: Name, reader: Callable[[object], Value], default: Default
    ) -> Value | Default:
        """Return a setting as its reader makes it, or the default where none says."""
        found = [source.read(name, reader) for source in self._with(name)]
        return found[0] if found else default

    def path(self, name: Name) -> Path | None:
        """Return a setting that is a path."""
        found = [s.folder / s.read(name, line) for s in self._with(name)]
        return found[0] if found else None

    def one_of(self, *names: Name) -> tuple[Source, Name] | None:
        """Return the first source with one of these, and which; refuse two in one."""
        found = [(s, n) for s in self._sources for n in names if n in s.values]
        for (source, first), (other, second) in pairwise(found):
            if source is other:
                also = source.called(first)
                raise source.error(second, f"is set as well as {also}: keep one")
        return found[0] if found else None

    def overruled(self, *names: Name) -> Iterator[str]:
        """Name what says one of these without effect, and what is used in its place."""
        found = [(s, n) for s in self._sources for n in names if n in s.values]
        for source, name in found[1:]:
            winner, used = found[0]
            said = winner.origin or winner.called(used)
            yield (
                f"{source.called(name)}{source.place}: has no effect, as {said}"
                " goes first: remove one of the two"
            )

    def error(self, name: Name, problem: object) -> ConfigError:
        """Make the error for a setting, wherever it is or would be set."""
        return next(self._with(name), Source({})).error(name, problem)

    def table(self, *name: str) -> "Table":
        """Return the settings of one section, or of one of its tables."""
        return Table(self, name)

    def tables(self, section: str) -> list[str]:
        """Return the names of the tables in a section of named ones, in order."""
        found = [item for source in self._sources for item in source.values.items()]
        return [
            name[1]
            for name, body in found
            if name[0] == section and len(name) == 2
            if name not in BESIDE or isinstance(body, dict)
        ]

    def _with(self, name: Name) -> Iterator[Source]:
        return (source for source in self._sources if name in source.values)


@dataclass(frozen=True, slots=True)
class Table:
    """The settings below one name, each by its key alone."""

    settings: Settings
    name: Name

    def get(
        self, key: str, reader: Callable[[object], Value], default: Default
    ) -> Value | Default:
        """Return a setting as its reader makes it, or the default where none says."""
        return self.settings.get((*self.name, key), reader, default)

    def path(self, key: str) -> Path | None:
        """Return a setting that is a path."""
        return self.settings.path((*self.name, key))

    def one_of(self, *keys: str) -> tuple[Source, Name] | None:
        """Return the first source with one of these, and which; refuse two in one."""
        return self.settings.one_of(*((*self.name, key) for key in keys))

    def check_name(self) -> None:
        """Raise ConfigError if the name that the operator gave the table is odd."""
        if not _NAME.fullmatch(self.name[-1]):
            problem = "must be 1 to 64 letters, digits, dots, underscores and hyphens"
            raise self.error(problem)

    def error(self, problem: object, *key: str) -> ConfigError:
        """Make the error for one of its settings, or without a key for all of it."""
        return self.settings.error((*self.name, *key), problem)


def environment(environ: Mapping[str, str]) -> Source:
    """Return what the variables GMS_HOOKD_* say; ConfigError for unknown ones."""
    known = {_variable(name): name for name in _plain_names()}
    values: dict[Name, object] = {}
    for variable in sorted(environ):
        if variable in known:
            values[known[variable]] = _parsed(known[variable], environ[variable])
        elif variable.startswith(_PREFIX) and variable not in _OTHERS:
            meant = suggestion(variable, {name: name for name in known})
            text = f"{variable}: unknown variable{meant}"
            raise ConfigError(text, (variable,))
    return Source(values, {name: _variable(name) for name in values})


def variable(name: str, setting: Name, environ: Mapping[str, str]) -> Source:
    """Return the one setting that a variable of another naming says, if it is set."""
    values = {setting: environ[name]} if name in environ else {}
    return Source(values, {setting: name})


def credentials(environ: Mapping[str, str]) -> Source:
    """Return the secrets that systemd hands over, by the paths of their files."""
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    found = secret_files(
        {
            ("webhook", "secret_file"): Path(folder, "webhook-secret"),
            ("api", "token_file"): Path(folder, "api-token"),
        }
        if folder
        else {}
    )
    return replace(found, origin="the credential that systemd hands over")


def secret_files(files: Mapping[Name, Path]) -> Source:
    """Return settings that are paths of secret files, where the files exist."""
    return Source({n: str(path) for n, path in files.items() if os.path.lexists(path)})


def contents(content: object, file: Path, *, yaml: bool) -> Source:
    """Return what a file says. Raises ConfigError for unknown names and no values."""
    found = _Content(yaml, f" in {file}")
    found.read(content)
    return Source(found.values, {}, file.parent, found.place, tuple(found.foreign))


def suggestion(wrong: str, known: Mapping[str, str], likeness: float = 0.75) -> str:
    """Return " (did you mean X?)" for what is spelt like `wrong`, or ""."""
    words = {spelling.lower(): meant for spelling, meant in known.items()}
    close = get_close_matches(wrong.lower(), words, n=1, cutoff=likeness)
    return f" (did you mean {words[close[0]]}?)" if close else ""


def pruned(content: object, names: Collection[Name]) -> object:
    """Return a file's content without these settings and sections."""
    if () in names:
        return {}
    if not isinstance(content, dict):
        return content
    below = {key: [n[1:] for n in names if n[:1] == (str(key),)] for key in content}
    return {
        key: pruned(body, below[key])
        for key, body in content.items()
        if () not in below[key]
    }


class _Content:
    """Flattens a file's content by name; refuses what nobody knows."""

    def __init__(self, yaml: bool, place: str) -> None:
        self.values: dict[Name, object] = {}
        self.foreign: list[str] = []
        self.place = place
        self._yaml = yaml

    def read(self, content: object) -> None:
        for section, body in self._table((), content).items():
            if section in NAMED:
                self._tables(section, self._table((section,), body))
            elif section in FREE:
                pairs = self._table((section,), body).items()
                self.values |= {(section, key): value for key, value in pairs}
            elif section in KEYS:
                self._keys((section,), self._table((section,), body))
            else:
                self._other(section, body)

    def _tables(self, section: str, tables: Mapping[str, object]) -> None:
        for name, body in tables.items():
            self.values[section, name] = body
            if (section, name) in BESIDE and not isinstance(body, dict):
                continue
            self._keys((section, name), self._table((section, name), body))

    def _keys(self, table: Name, keys: Mapping[str, object]) -> None:
        for key, value in keys.items():
            name = (*table, key)
            if dotted(name) in _FOREIGN:
                self.foreign.append(dotted(name))
            elif key not in KEYS[table[0]]:
                meant = _meant(name) or _known(table)
                raise self._error(name, f"unknown key{meant}{_blank(key)}")
            elif value is not None:
                self.values[name] = value
            elif key not in _LISTS:
                raise self._error(name, "has no value: give it one, or leave it out")

    def _other(self, name: str, body: object) -> None:
        """Pass over a section of GMS, unless keys of its webhook have got into it."""
        if name not in _FOREIGN:
            kind = "section" if isinstance(body, dict) else "key"
            alike = suggestion(name, {section: section for section in KEYS}, 0.82)
            meant = alike or _meant((name,)) or _known(())
            raise self._error((name,), f"unknown {kind}{meant}{_blank(name)}")
        for key in body if isinstance(body, dict) else ():
            if str(key).strip() in _HOOK:
                misplaced = (name, str(key))
                raise self._error(misplaced, f"unknown key{_meant(misplaced)}")
        self.foreign.append(dotted((name,)))

    def _table(self, name: Name, body: object) -> Mapping[str, object]:
        if body is None and self._yaml:
            return {}
        if not isinstance(body, dict):
            raise self._error(name, "must be a section with keys")
        for key in body:
            if not isinstance(key, str):
                raise self._error(name, f"the key {key} must be a text: quote it")
        return body

    def _error(self, name: Name, problem: str) -> ConfigError:
        text = f"{dotted(name) or 'the file'}: {problem}{self.place}"
        return ConfigError(text, name)


def dotted(name: Name) -> str:
    """Write a name as TOML would: parts that are no bare words are quoted."""
    return ".".join(p if _BARE.fullmatch(p) else json.dumps(p) for p in name)


def _plain_names() -> list[Name]:
    plain = ((s, key) for s, keys in KEYS.items() for key in keys if s not in NAMED)
    return [*plain, *sorted(BESIDE)]


def _meant(name: Name) -> str:
    own = [(*name[:-1], key) for key in KEYS.get(name[0], ())]
    whole = {dotted(known): dotted(known) for known in (*_plain_names(), *own)}
    last = {known[-1]: dotted(known) for known in _plain_names()}
    return suggestion(dotted(name), whole) or suggestion(name[-1], last)


def _known(table: Name) -> str:
    return f" (known are {', '.join(KEYS[table[0]] if table else KEYS)})"


def _blank(key: str) -> str:
    """Say of a key that begins or ends with a blank that only looks like one."""
    odd = [char for char in key[:1] + key[-1:] if char.isspace() and char != " "]
    return f": U+{ord(odd[0]):04X} is no space: indent with spaces" if odd else ""


def _variable(name: Name) -> str:
    return _PREFIX + "_".join(name).upper()


def _parsed(name: Name, text: str) -> object:
    if name[-1] in _LISTS:
        # Blanks only: a control character in a secret is refused, not dropped.
        return [item.strip(" ") for item in text.split(",") if item.strip(" ")]
    is_number = name[-1] in _NUMBERS and re.fullmatch("[0-9]{1,18}", text)
    return int(text) if is_number else text
