"""The URLs of sources and targets: read strictly, compared loosely."""

import hashlib
import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote

from gms_hookd.git.forgeurl import canonical
from gms_hookd.safetext.addresses import in_address

PORTS = {"https": 443, "http": 80, "ssh": 22}
SPOKEN = ("https", "ssh", "file", "http")
# As text: re compiles each at its first use and keeps it.
_HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]"
_USER = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_FULL = r"(?s)([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(/.*)?"
_AUTHORITY = r"(?s)(?:(.*)@)?(\[[^\]]*\]|[^:@]*)(?::(.*))?"
_SCP = r"(?s)(?:([^@:/]*)@)?(\[[^\]]*\]|[^:/@]+):(?!:)(.+)"
_LOGIN = r"[^/@]+@[^/@:]+:"  # what follows "user:" in user:pw@host:
_CONTROLS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_CODED = r"%(?![0-9A-Fa-f]{2})|%0[0-9A-Fa-f]|%1[0-9A-Fa-f]|%7[Ff]"


@dataclass(frozen=True, slots=True)
class GitUrl:
    """Where a repository is; text is what git is given.

    A local one is a path on this machine.
    """

    text: str
    scheme: str
    host: str
    port: int | None
    path: str
    user: str | None
    local: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "local", self.scheme == "file")

    @property
    def origin(self) -> str:
        """Name its host and port alone."""
        port = "" if self.port in (None, PORTS.get(self.scheme)) else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Take its path apart, without what percents encode."""
        return tuple(unquote(part) for part in self.path.split("/") if part)

    @property
    def canonical(self) -> str:
        """Spell it in the one way that all equal URLs share."""
        if self.local:
            return posixpath.normpath(self.path)
        user = f"{self.user}@" if self.user else ""
        port = self.port or PORTS[self.scheme]
        return f"{self.scheme}://{user}{self.host}:{port}/{self.path.strip('/')}"

    @property
    def key(self) -> str:
        """Name its cache; equal URLs share it."""
        spelling = self.canonical.encode("utf-8", "surrogateescape")
        return hashlib.sha256(spelling).hexdigest()


def parse(text: str, allow_protocols: Collection[str]) -> GitUrl:
    """Read a URL, scp-like address or absolute path; ValueError says what to do."""
    url = _read(text)
    if url.scheme not in allow_protocols:
        others = " or ".join(sorted(allow_protocols)) or "another protocol"
        remedy = f"add it there or use {others}"
        raise ValueError(f"{url.scheme} is not in sync.allow_protocols: {remedy}")
    if _holds_credential(url):
        raise ValueError(
            "a URL holds no user, password or token, wherever in it: put them under"
            f' [credentials."{url.origin}"] in the configuration'
        )
    return url


def _holds_credential(url: GitUrl) -> bool:
    if url.local:  # a folder may be named as it likes
        return ":/" in unquote(url.path) and in_address(url.path, http=False)
    http = url.scheme != "ssh"
    if http and ("?" in url.path or "#" in url.path):
        return True  # git would put its own path behind a query
    return in_address(f"{url.user or ''}/{url.path}", http=http)


@lru_cache(4096)
def origin(text: str) -> str:
    """Name host and port of a source or target, "" where none is named."""
    try:
        url = parse(text, SPOKEN)
    except ValueError:
        return ""
    return "" if url.local else url.origin


def cache_key(source: str) -> str:
    """Name the cache of a source. Raises ValueError."""
    return _read(source).key


def normalised(text: str) -> tuple[str, str]:
    """Reduce a URL to (host, path) for comparison, whatever its scheme and user.

    Lower case, no ".git", no outer slashes, in the one spelling of its forge; ("",
    path) for a local path, whose case counts. Raises ValueError where it is no URL.
    """
    url = loosely(text)
    if url.local:
        return "", posixpath.normpath(_without_suffix(url) or "/")
    return canonical(url.host, bare_path(url), url.user)


def loosely(text: str) -> GitUrl:
    """Read a URL of a payload, which may have what a task's may not.

    Raises ValueError.
    """
    return _read(re.sub(r"^(?i:(https?://))[^/@]*@", r"\1", text.strip()))


def bare_path(url: GitUrl) -> str:
    """Return the path on its host as compared: lower case, without ".git"."""
    return _without_suffix(url).strip("/").lower()


def _without_suffix(url: GitUrl) -> str:
    return unquote(url.path).rstrip("/").removesuffix(".git").rstrip("/")


def place(source: str) -> tuple[str, str]:
    """Return host and path of a task's source; ("", "") where it is no URL."""
    try:
        return normalised(source)
    except ValueError:
        return "", ""


def _read(text: str) -> GitUrl:
    if not text or text != text.strip() or re.search(_CONTROLS, text):
        raise ValueError("a URL is one line without spaces around it or control bytes")
    if text.startswith("-"):
        raise ValueError("a URL does not start with '-'")
    if text.startswith("/"):
        return _local(text, text)
    if full := re.fullmatch(_FULL, text):
        return _full(text, *full.groups())
    if scp := re.fullmatch(_SCP, text):
        return _scp(text, *scp.groups())
    raise ValueError(
        "not a git URL: use https://host/path, ssh://user@host/path,"
        " user@host:path or an absolute local path"
    )


def _local(text: str, path: str) -> GitUrl:
    return GitUrl(text, "file", "", None, path, None)


def _full(text: str, scheme: str, authority: str, path: str | None) -> GitUrl:
    scheme = scheme.lower()
    if scheme == "file":
        return _file(authority, path or "")
    if scheme not in PORTS:
        raise ValueError(f"{scheme}:// is not spoken here: use https, ssh or a path")
    user, host, port = re.fullmatch(_AUTHORITY, authority).groups()  # type: ignore[union-attr]
    number = _port(port)
    if scheme != "ssh" and user is not None:
        place = f"{scheme}://{host}" + (f":{number}" if number else "")
        raise ValueError(
            "a URL holds no user or password: put them under"
            f' [credentials."{place}"] in the configuration'
        )
    _check(host, user, path or "")
    spoken = scheme + text[len(scheme) :]  # git knows its transports in lower case
    if scheme != "ssh":
        spoken = re.sub(r"[^!-~]", lambda found: quote(found[0]), spoken)
    return GitUrl(spoken, scheme, host.lower(), number, path or "", user)


def _file(authority: str, path: str) -> GitUrl:
    if authority not in ("", "localhost") or not path:
        raise ValueError("a file URL is file:///absolute/path")
    if re.search(_CODED, path):
        raise ValueError("the path has a broken or forbidden %-code")
    return _local(unquote(path), unquote(path))


def _scp(text: str, user: str | None, host: str, path: str) -> GitUrl:
    _check(host, user, path)
    if path.startswith("-"):
        raise ValueError("a path does not start with '-'")
    if user is None and re.match(_LOGIN, path):
        raise ValueError("an address holds a user name at most, never a password")
    return GitUrl(text, "ssh", host.lower(), None, path, user)


def _check(host: str, user: str | None, path: str) -> None:
    if not re.fullmatch(_HOST, host):
        raise ValueError("the host is neither a name nor an address")
    if user is not None and not re.fullmatch(_USER, user):
        raise ValueError("a URL holds a plain user name at most, never a password")
    if not path.strip("/"):
        raise ValueError("the URL names no repository on its host")
    if re.search(_CODED, path):
        raise ValueError("the path has a broken or forbidden %-code")


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise ValueError("the port is not a number from 1 to 65535")
    return int(text)
