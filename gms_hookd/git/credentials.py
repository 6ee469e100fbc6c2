"""What it takes to get into a repository: headers, keys, pinned host keys.

Secrets are read from their files for each run, and leave this module only as settings
in the environment of the one git command that needs them.
"""

import base64
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from gms_hookd.auth.secret_file import SecretFileError, check_secret, read_secret
from gms_hookd.git import url as giturl
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.ssh import Identity, pinning, ssh_command
from gms_hookd.git.ssh_proxy import Proxy
from gms_hookd.git.url import PORTS, SPOKEN, GitUrl


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are at URLs with this prefix; its files are to be read at each run."""

    url: str
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    ca_file: Path | None = None
    allow_fsck: tuple[str, ...] = ()
    ssh_options: tuple[str, ...] = ()
    ssh_proxy: Proxy | None = field(default=None, repr=False)

    @property
    def files(self) -> tuple[Path | None, ...]:
        """All files that it may name."""
        secrets = self.password_file, self.token_file
        tls = self.tls_cert_file, self.tls_key_file, self.ca_file
        return *secrets, *tls, self.ssh_key_file, self.ssh_known_hosts


NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tls:
    """Who we are at a host by TLS, and who vouches for it; None is git's default."""

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Return the files by the names of their settings."""
        named = {
            "tls_cert_file": self.cert, "tls_key_file": self.key, "ca_file": self.ca,
        }  # fmt: skip
        return {name: path for name, path in named.items() if path}


@dataclass(frozen=True, slots=True)
class CredentialStore:
    """Who we are at other hosts, and how we know them."""

    home: Path
    credentials: Sequence[Credential] = ()
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None

    def identity(self, url: GitUrl) -> Identity:
        """Find key and pinned host keys for a URL, each by the longest prefix."""
        home = self.home / ".ssh"
        found = Identity(
            self.ssh_key_file or home / "id_ed25519",
            self.ssh_known_hosts or home / "known_hosts",
        )
        for each in self.fitting(url):
            found = _overridden(found, each)
        return found

    def tls(self, url: GitUrl) -> Tls:
        """Find certificate and authorities for a URL, each by the longest prefix."""
        found = Tls()
        for each in self.fitting(url):
            own = (each.tls_cert_file, each.tls_key_file)
            cert, key = own if each.tls_cert_file else (found.cert, found.key)
            found = Tls(cert, key, each.ca_file or found.ca)
        return found

    def allowed(self, url: GitUrl) -> tuple[str, ...]:
        """Return what fsck may find at a URL, by the longest prefix that says it."""
        said = [each.allow_fsck for each in self.fitting(url) if each.allow_fsck]
        return tuple(said[-1]) if said else ()

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
    login: tuple[str, str] | None = field(default=None, repr=False)

    def with_settings(
        self, more: Sequence[tuple[str, str]], extra: Mapping[str, str] = NOTHING
    ) -> "Access":
        """Return it, and its second try, with more settings and environment."""
        return replace(
            self,
            settings=(*self.settings, *more),
            extra={**self.extra, **extra},
            other=self.other and self.other.with_settings(more, extra),
        )


def _overridden(identity: Identity, credential: Credential) -> Identity:
    """Return an identity with what a credential names instead."""
    return Identity(
        credential.ssh_key_file or identity.key,
        credential.ssh_known_hosts or identity.known_hosts,
        credential.ssh_options or identity.options,
        credential.ssh_proxy or identity.proxy,
    )


def access(url: GitUrl, keys: CredentialStore, control: Path | None = None) -> Access:
    """Find what a URL needs; raises GitError where a secret cannot be used."""
    allowed = tuple((f"fetch.fsck.{kind}", "ignore") for kind in keys.allowed(url))
    if url.scheme == "ssh":
        return _by_ssh(url, keys, control).with_settings(allowed)
    if url.scheme in ("http", "https"):
        found = _by_http(url, keys)
        return _by_tls(url, keys.tls(url), found).with_settings(allowed)
    return Access(allowed)


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
        **identity.environ,
    }
    secrets = (identity.proxy.password,) if identity.proxy else ()
    remedies = ssh_remedies(url, identity)
    return Access(extra=extra, secrets=secrets, remedies=remedies)


def ssh_remedies(url: GitUrl, identity: Identity) -> dict[ErrorKind, str]:
    """Tell what to look at where ssh is refused, and how to pin an unknown host."""
    pin = pinning(url, identity.known_hosts)
    where = ", where the host is in reach" if identity.proxy else ""
    used = f"the key was {identity.key}"
    public = f"ssh-keygen -y -f {shlex.quote(str(identity.key))}"
    return {
        ErrorKind.AUTH: f"{used}: {public}  # enter that at {url.host}",
        ErrorKind.MISSING: used,
        ErrorKind.TRUST: f"if that key is the right one, pin it{where}: {pin}",
    }


def with_remedy(error: GitError, remedies: Mapping[ErrorKind, str]) -> GitError:
    """Add to an error what helps against its kind."""
    if not remedies.get(error.kind):
        return error
    remedied = GitError(error.kind, f"{error}; {remedies[error.kind]}", error.stderr)
    remedied.remedy = remedies[error.kind]
    return remedied


def _by_http(url: GitUrl, keys: CredentialStore) -> Access:
    fitting = [c for c in keys.fitting(url) if c.password_file or c.token_file]
    if not fitting:
        table = f'[credentials."{url.origin}/"]'
        return Access(remedies={ErrorKind.AUTH: f"no login is set for it: see {table}"})
    return _logged_in(url, fitting[-1])


def _logged_in(url: GitUrl, credential: Credential) -> Access:
    secret = _secret(credential)
    name = "token" if credential.token_file else "password"
    used = f"the {name} was {credential.token_file or credential.password_file}"
    basic = _header(url, secret, credential.username or "x-access-token")
    basic = replace(basic, remedies={ErrorKind.AUTH: used})
    if credential.username or not credential.token_file:
        return basic
    bearer = (_header_of(url), f"Authorization: Bearer {secret}")
    return replace(basic, settings=(bearer,), secrets=(secret,), other=basic)


def _by_tls(url: GitUrl, tls: Tls, found: Access) -> Access:
    """Add certificates: ours for this host only, those of authorities for all of git.

    That git would rather take the authorities of its environment (git-config,
    http.sslCAInfo) is why they go there.
    """
    private = tls.key or tls.cert  # a certificate without a key has it in its file
    for name, path in tls.files.items():
        if problem := _problem_of(path, private=path == private):
            raise GitError(ErrorKind.CONFIG, f"{url.origin}: {name}: {problem}")
    host = f"http.{url.origin}/"
    cert = ((f"{host}.sslCert", str(tls.cert)),) if tls.cert else ()
    key = ((f"{host}.sslKey", str(tls.key or tls.cert)),) if tls.cert else ()
    extra = {"GIT_SSL_CAINFO": str(tls.ca)} if tls.ca else {}
    return found.with_settings((*cert, *key), extra)


def _problem_of(path: Path, *, private: bool) -> str:
    """Return why a file is not handed to git, "" where nothing speaks against it."""
    if not path.exists():
        return f"{path} does not exist"
    if not path.is_file():
        return f"{path} is not a regular file"
    try:
        if private:
            check_secret(path, path.stat())
    except SecretFileError as error:
        return str(error)
    return "" if os.access(path, os.R_OK) else f"{path} may not be read"


def _header(url: GitUrl, secret: str, user: str) -> Access:
    both = base64.b64encode(f"{user}:{secret}".encode()).decode()
    setting = (_header_of(url), f"Authorization: Basic {both}")
    return Access((setting,), secrets=(secret, both), login=(user, secret))


def _header_of(url: GitUrl) -> str:
    return f"http.{url.text}.extraHeader"


def _covers(prefix: str, url: GitUrl) -> bool:
    try:
        own = giturl.parse(prefix.rstrip("/") + "/x", SPOKEN)
    except ValueError:
        return False
    same = (own.scheme, own.host) == (url.scheme, url.host)
    ports = {u.port or PORTS.get(u.scheme) for u in (own, url)} if same else set()
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
