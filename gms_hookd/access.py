"""What it takes to get into a repository: headers, keys, pinned host keys.

Secrets are read from their files for each run, and leave this module only as settings
in the environment of the one git command that needs them.
"""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gms_hookd import giturl
from gms_hookd.giterror import GitError, Kind
from gms_hookd.giturl import PORTS, GitUrl

LARGEST = 65536  # bytes of a secret file

SSH_OPTIONS = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "LogLevel=ERROR",
)


class Credential(Protocol):
    """User and secret for every repository below a URL."""

    @property
    def url(self) -> str:
        """The prefix it is for."""

    @property
    def username(self) -> str | None:
        """Who, where the host asks for it."""

    @property
    def password_file(self) -> Path | None:
        """Where the password is."""

    @property
    def token_file(self) -> Path | None:
        """Where the token is."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Who we are at other hosts, and how we know them."""

    home: Path
    credentials: Sequence[Credential] = ()
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None

    @property
    def identity(self) -> Path:
        """The ssh key: the configured one, or the one in our home."""
        return self.ssh_key_file or self.home / ".ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys: the configured file, or the one in our home."""
        return self.ssh_known_hosts or self.home / ".ssh" / "known_hosts"


@dataclass(frozen=True, slots=True)
class Access:
    """What git is given for one URL; other is a second try, where there is one."""

    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    remedy: str = ""
    other: "Access | None" = field(default=None, repr=False)


def access(url: GitUrl, keys: Keys, control: Path | None = None) -> Access:
    """Find what a URL needs; raises GitError where a secret cannot be used."""
    if url.scheme == "ssh":
        return _by_ssh(url, keys, control)
    if url.scheme in ("http", "https"):
        return _by_http(url, keys)
    return Access()


def ssh_command(keys: Keys, control: Path | None = None) -> tuple[str, ...]:
    """Write the ssh that trusts pinned hosts only and reads no configuration."""
    options = (
        *SSH_OPTIONS,
        f"IdentityFile={_path(keys.identity)}",
        f"UserKnownHostsFile={_path(keys.known_hosts)}",
        f"ControlPath={_path(control) if control else 'none'}",
    )
    return ("ssh", "-F", "/dev/null", *(w for o in options for w in ("-o", o)))


def _path(path: Path) -> str:
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'


def _by_ssh(url: GitUrl, keys: Keys, control: Path | None) -> Access:
    extra = {
        "GIT_SSH_COMMAND": shlex.join(ssh_command(keys, control)),
        "GIT_SSH_VARIANT": "ssh",
    }
    return Access(extra=extra, remedy=pinning(url, keys.known_hosts))


def with_remedy(error: GitError, remedy: str) -> GitError:
    """Tell how to pin a host whose key is unknown or has changed."""
    if error.kind is not Kind.TRUST or not remedy:
        return error
    message = f"{error}; if that key is the right one, pin it: {remedy}"
    return GitError(error.kind, message, error.stderr)


def pinning(url: GitUrl, known_hosts: Path) -> str:
    """Write the command that pins a host's key, once a human has compared it."""
    port = url.port or PORTS["ssh"]
    host = url.host.strip("[]")
    name = host if port == PORTS["ssh"] else f"[{host}]:{port}"
    where = shlex.quote(str(known_hosts))
    scan = ["ssh-keyscan", *(["-p", str(port)] if port != PORTS["ssh"] else []), host]
    return (
        f"ssh-keygen -R {shlex.quote(name)} -f {where}; {shlex.join(scan)} >> {where}"
        if _pinned(name, known_hosts)
        else f"{shlex.join(scan)} >> {where}"
    )


def _pinned(name: str, known_hosts: Path) -> bool:
    try:
        lines = known_hosts.read_text(errors="replace").split("\n")
    except OSError:
        return False
    return any(name in line.split(" ")[0].split(",") for line in lines)


def _by_http(url: GitUrl, keys: Keys) -> Access:
    fitting = [c for c in keys.credentials if _covers(c.url, url)]
    if not fitting:
        return Access()
    best = max(fitting, key=lambda c: len(c.url.rstrip("/")))
    secret = _secret(best)
    basic = _header(best.url, secret, best.username or "x-access-token")
    if best.username or not best.token_file:
        return basic
    bearer = (f"http.{best.url}.extraHeader", f"Authorization: Bearer {secret}")
    return Access((bearer,), secrets=(secret,), other=basic)


def _header(url: str, secret: str, user: str) -> Access:
    both = base64.b64encode(f"{user}:{secret}".encode()).decode()
    setting = (f"http.{url}.extraHeader", f"Authorization: Basic {both}")
    return Access((setting,), secrets=(secret, both))


def _covers(prefix: str, url: GitUrl) -> bool:
    try:
        own = giturl.parse(prefix.rstrip("/") + "/x", PORTS)
    except ValueError:
        return False
    same = (own.scheme, own.host) == (url.scheme, url.host)
    ports = {u.port or PORTS[u.scheme] for u in (own, url)} if same else set()
    return len(ports) == 1 and f"{url.path}/".startswith(own.path.removesuffix("x"))


def _secret(credential: Credential) -> str:
    path = credential.password_file or credential.token_file
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            secret = file.read(LARGEST).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        message = f'credentials."{credential.url}": {path}: {reason}'
        raise GitError(Kind.CONFIG, message) from error
    if not secret or any(c in secret for c in "\r\n\0"):
        message = f'credentials."{credential.url}": {path}: not one line of text'
        raise GitError(Kind.CONFIG, message)
    return secret
