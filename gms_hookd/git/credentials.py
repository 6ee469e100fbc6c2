"""What it takes to get into a repository: headers, keys, pinned host keys.

Secrets are read from their files for each run, and leave this module only as settings
in the environment of the one git command that needs them.
"""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from gms_hookd.files import SecretFileError, check_secret, read_regular, read_secret
from gms_hookd.git import url as giturl
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.url import PORTS, GitUrl


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are at URLs with this prefix; its files are to be read at each run."""

    url: str
    username: str | None
    password_file: Path | None
    token_file: Path | None
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None

    @property
    def files(self) -> tuple[Path | None, ...]:
        """All files that it may name."""
        secrets = self.password_file, self.token_file
        return *secrets, self.ssh_key_file, self.ssh_known_hosts


LARGEST = 16 << 20  # bytes of a file of host keys
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
    "SendEnv=GIT_PROTOCOL",  # a kept connection sends what its master may send
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are at a host by ssh, and how we know it."""

    key: Path
    known_hosts: Path


@dataclass(frozen=True, slots=True)
class CredentialStore:
    """Who we are at other hosts, and how we know them."""

    home: Path
    credentials: Sequence[Credential] = ()
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None

    def identity(self, url: GitUrl) -> Identity:
        """Find key and pinned host keys for a URL, each by the longest prefix."""
        key, known_hosts = self.ssh_key_file, self.ssh_known_hosts
        for credential in self.fitting(url):
            key = credential.ssh_key_file or key
            known_hosts = credential.ssh_known_hosts or known_hosts
        home = self.home / ".ssh"
        return Identity(key or home / "id_ed25519", known_hosts or home / "known_hosts")

    def fitting(self, url: GitUrl) -> list[Credential]:
        """List the credentials whose prefix covers a URL, the longest prefix last."""
        return sorted((c for c in self.credentials if _covers(c.url, url)), key=_reach)


@dataclass(frozen=True, slots=True)
class Access:
    """What git is given for one URL; other is a second try, where there is one."""

    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    remedies: Mapping[ErrorKind, str] = field(default_factory=dict)
    other: "Access | None" = field(default=None, repr=False)


def access(url: GitUrl, keys: CredentialStore, control: Path | None = None) -> Access:
    """Find what a URL needs; raises GitError where a secret cannot be used."""
    if url.scheme == "ssh":
        return _by_ssh(url, keys, control)
    if url.scheme in ("http", "https"):
        return _by_http(url, keys)
    return Access()


def ssh_command(identity: Identity, control: Path | None = None) -> tuple[str, ...]:
    """Write the ssh that trusts pinned hosts only and reads no configuration."""
    options = (
        *SSH_OPTIONS,
        f"IdentityFile={_path(identity.key)}",
        f"UserKnownHostsFile={_path(identity.known_hosts)}",
        f"ControlPath={_path(control) if control else 'none'}",
    )
    return ("ssh", "-F", "/dev/null", *(w for o in options for w in ("-o", o)))


def _path(path: Path) -> str:
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'


def checked_identity(url: GitUrl, keys: CredentialStore) -> Identity:
    """Return key and host keys for a URL; GitError for a key that others can read."""
    identity = keys.identity(url)
    try:
        check_secret(identity.key, identity.key.stat())
    except SecretFileError as error:
        raise GitError(ErrorKind.CONFIG, f"ssh key: {error}") from None
    except OSError:
        pass  # ssh says that there is none, and the error names the file
    return identity


def _by_ssh(url: GitUrl, keys: CredentialStore, control: Path | None) -> Access:
    identity = checked_identity(url, keys)
    extra = {
        "GIT_SSH_COMMAND": shlex.join(ssh_command(identity, control)),
        "GIT_SSH_VARIANT": "ssh",
    }
    return Access(extra=extra, remedies=ssh_remedies(url, identity))


def ssh_remedies(url: GitUrl, identity: Identity) -> dict[ErrorKind, str]:
    """Tell what to look at where ssh is refused, and how to pin an unknown host."""
    pin = pinning(url, identity.known_hosts)
    return {
        ErrorKind.AUTH: f"the key was {identity.key}",
        ErrorKind.TRUST: f"if that key is the right one, pin it: {pin}",
    }


def with_remedy(error: GitError, remedies: Mapping[ErrorKind, str]) -> GitError:
    """Add to an error what helps against its kind."""
    if error.kind not in remedies:
        return error
    message = f"{error}; {remedies[error.kind]}"
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
        lines = read_regular(known_hosts, LARGEST)[0].decode(errors="replace")
    except OSError:
        return False
    return any(name in line.split(" ")[0].split(",") for line in lines.split("\n"))


def _by_http(url: GitUrl, keys: CredentialStore) -> Access:
    fitting = keys.fitting(url)
    if not fitting:
        return Access()
    best = fitting[-1]
    secret = _secret(best)
    basic = _header(url, secret, best.username or "x-access-token")
    if best.username or not best.token_file:
        return basic
    bearer = (_header_of(url), f"Authorization: Bearer {secret}")
    return Access((bearer,), secrets=(secret,), other=basic)


def _header(url: GitUrl, secret: str, user: str) -> Access:
    both = base64.b64encode(f"{user}:{secret}".encode()).decode()
    setting = (_header_of(url), f"Authorization: Basic {both}")
    return Access((setting,), secrets=(secret, both))


def _header_of(url: GitUrl) -> str:
    return f"http.{url.text}.extraHeader"


def _covers(prefix: str, url: GitUrl) -> bool:
    try:
        own = giturl.parse(prefix.rstrip("/") + "/x", PORTS)
    except ValueError:
        return False
    same = (own.scheme, own.host) == (url.scheme, url.host)
    ports = {u.port or PORTS[u.scheme] for u in (own, url)} if same else set()
    above = own.parts[:-1]
    below = url.parts[: len(above)] == above
    return len(ports) == 1 and own.user in (None, url.user) and below


def _reach(credential: Credential) -> tuple[int, bool]:
    """Order prefixes by their length; of two alike the one that names a user wins."""
    _, _, place = credential.url.partition("://")
    authority, _, path = place.rstrip("/").partition("/")
    return len(unquote(path)), "@" in authority


def _secret(credential: Credential) -> str:
    path = credential.password_file or credential.token_file
    if path is None:
        return ""
    try:
        return read_secret(path)
    except SecretFileError as error:
        message = f'credentials."{credential.url}": {error}'
        raise GitError(ErrorKind.CONFIG, message) from None
