"""Keeps ssh connections open between git commands, and ends them.

A master is an ssh of our own with a socket in a private folder; gits that talk to the
same host as the same user with the same files go through it. It ends by itself after a
minute without use, and with us at the latest.


The way into one repository: opened at its first use, closed with the run.
"""

import contextlib
import hashlib
import itertools
import math
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from gms_hookd.files import lock_file
from gms_hookd.git import credentials
from gms_hookd.git.advice import Way, advice
from gms_hookd.git.credentials import Access, CredentialStore, Tls
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.process import Limits, Stop, execute
from gms_hookd.git.ssh import Identity, ssh_command
from gms_hookd.git.url import GitUrl
from gms_hookd.runlog import RunLog

IDLE = 60  # seconds
SESSIONS = 8  # at once on one connection; sshd allows 10 by default
CONNECT = 30.0  # seconds
FRESH = 0.5  # seconds for which a connection is taken for alive after its last use
PROBED = 5.0  # seconds that its host gets to answer
PROBE = "alive"  # a subsystem that no server has
LOCK = "lock"
ENDING = 1.0  # seconds in which a connection that was cut surely ends
LOGGED = 4096  # bytes of a connection's log that are looked at
# No other connection would fare better.
FINAL = (ErrorKind.AUTH, ErrorKind.TRUST, ErrorKind.CONFIG, ErrorKind.PROXY)


@dataclass(slots=True)
class _Connection:
    """A place for the socket of one connection, and who is about it."""

    path: Path
    opening: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    used: float = -math.inf  # when its host was last heard of


class SshConnections:
    """The open connections; any number of threads may use them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._folder: _Folder | None = None
        self._connections: dict[Path, _Connection] = {}
        self._dead: list[Path] = []

    @contextlib.contextmanager
    def session(
        self, url: GitUrl, keys: CredentialStore, limits: Limits
    ) -> Iterator[Path | None]:
        """Give the socket of a connection to the URL's host, or None."""
        identity = credentials.checked_identity(url, keys)
        connection = self._take(url, identity)
        try:
            opened = self._open(connection, url, identity, limits)
            yield connection.path if opened else None
        finally:
            with self._lock:
                connection.users -= 1
                connection.used = time.monotonic()

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            folder, self._folder = self._folder, None
            paths = [*self._connections, *self._dead]
        for path in paths:
            self._end(path)
        if folder:
            folder.remove()

    def _take(self, url: GitUrl, identity: Identity) -> _Connection:
        name = _name(url, identity)
        with self._lock:
            self._folder = self._folder or _Folder.make(Path(self._environ["HOME"]))
            numbered = self._numbered(self._folder.path, name)
            connection = next(each for each in numbered if each.users < SESSIONS)
            connection.users += 1
        return connection

    def _numbered(self, folder: Path, name: str) -> Iterator[_Connection]:
        """Yield the connections of a name, without end: those there are, then new."""
        for number in itertools.count():
            path = folder / f"{name}{number}"
            yield self._connections.setdefault(path, _Connection(path))

    def _open(
        self, connection: _Connection, url: GitUrl, identity: Identity, limits: Limits
    ) -> bool:
        with connection.opening:
            kept = _listens(connection.path)
            if kept and self._answers(connection, url, identity, limits):
                return True
            if kept:
                limits.log.line("the kept ssh connection is dead: opening another")
                self._abandon(connection)
            return self._start(connection.path, url, identity, limits)

    def _answers(
        self, connection: _Connection, url: GitUrl, identity: Identity, limits: Limits
    ) -> bool:
        """Ask the host for a subsystem that none has; any answer will do.

        A connection whose state a NAT has dropped is open for ssh until it has missed
        four answers, which takes a minute.
        """
        if time.monotonic() - connection.used < FRESH:
            return True
        deadline = min(time.monotonic() + PROBED, limits.deadline)
        short = replace(limits, deadline=deadline, grace=0.0)
        argv = _probe(connection.path, url, identity)
        done = execute(argv, self._environ, short, quiet=True)
        late = done.ended is ErrorKind.TIMEOUT and limits.deadline <= deadline
        if late or done.ended is ErrorKind.STOPPED:
            raise done.failure(f"(ssh to {_host(url)})")
        said = done.err.lower()
        reached = "control socket" not in said and "mux_client" not in said
        return done.ended is None and reached and _listens(connection.path)

    def _abandon(self, connection: _Connection) -> None:
        """Let no new session begin on a connection; those that it has may see its end.

        It may be slow only, so nothing is ended that others still use.
        """
        aside = connection.path.with_name(f"{connection.path.name}.{time.time_ns()}")
        with contextlib.suppress(FileNotFoundError):
            connection.path.rename(aside)
        with self._lock:
            self._dead.append(aside)
            alone = connection.users == 1
        if alone:
            self._end(aside)

    def _end(self, path: Path) -> None:
        if _listens(path):
            limits = Limits(time.monotonic() + CONNECT, Stop(), RunLog())
            argv = ("ssh", "-F", "/dev/null", "-S", str(path), "-O", "exit", "x")
            execute(argv, self._environ, limits, quiet=True)

    def _start(
        self, path: Path, url: GitUrl, identity: Identity, limits: Limits
    ) -> bool:
        path.unlink(missing_ok=True)
        _log(path).unlink(missing_ok=True)
        argv = _master(path, url, identity)
        environ = {**self._environ, **identity.environ}
        done = execute(argv, environ, limits, quiet=True, stall=limits.stall)
        done = replace(done, err=_logged(path) + done.err)
        if done.ended or (done.failed and done.kind in FINAL):
            raise _with_advice(done.failure(f"(ssh to {_host(url)})"), url, identity)
        return not done.failed and _listens(path)


def _name(url: GitUrl, identity: Identity) -> str:
    # By what the files are now: one that was exchanged is used from then on.
    files = [(p, _stamp(p)) for p in (identity.key, identity.known_hosts)]
    names = (url.user, url.host, url.port, files, (identity.options, identity.proxy))
    return hashlib.sha256(repr(names).encode()).hexdigest()[:16]


def _master(path: Path, url: GitUrl, identity: Identity) -> tuple[str, ...]:
    own = ("-E", str(_log(path)), "-o", f"ControlPersist={IDLE}", "-fNM")
    return (*ssh_command(identity, path), *own, *_login(url), "--", _host(url))


def _probe(path: Path, url: GitUrl, identity: Identity) -> tuple[str, ...]:
    there = replace(identity, proxy=None)  # or it would win over the one that fails
    argv = (*ssh_command(there, path), "-o", "ProxyCommand=false")
    return (*argv, *_login(url), "-T", "-s", "--", _host(url), PROBE)


def _with_advice(error: GitError, url: GitUrl, identity: Identity) -> GitError:
    error = credentials.with_remedy(error, credentials.ssh_remedies(url, identity))
    return credentials.with_remedy(error, {error.kind: advice(error, Way(url, Tls()))})


def _remove_left(home: Path) -> None:
    for left in home.glob("ssh-*"):
        lock = lock_file(left / LOCK) if left.is_dir() else None
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A private folder for sockets, which nobody else clears while its lock is held."""

    real: Path
    path: Path  # by which its sockets are named
    held: tuple[int, ...]

    @classmethod
    def make(cls, home: Path) -> "_Folder":
        """Make one, and remove those whose processes were killed."""
        _remove_left(home)
        real = Path(tempfile.mkdtemp(prefix="ssh-", dir=home))
        lock = lock_file(real / LOCK)
        held = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A socket's name has 107 bytes at most, of which ssh wants 17 for a moment.
        long = len(os.fsencode(real)) > 107 - 2 * 18
        path = Path(f"/proc/{os.getpid()}/fd/{held}") if long else real
        return cls(real, path, (held,) if lock is None else (held, lock))

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.real, ignore_errors=True)
        for each in self.held:
            os.close(each)


def _login(url: GitUrl) -> tuple[str, ...]:
    port = ("-p", str(url.port)) if url.port else ()
    return (*port, "-l", url.user) if url.user else port


def _host(url: GitUrl) -> str:
    return url.host.strip("[]")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def last_words(path: Path, url: GitUrl, stop: Stop) -> str:
    """Return why a kept connection has just ended, "" while it lives.

    An ssh that goes through it is told nothing, and may end a moment before it.
    """
    until = time.monotonic() + ENDING
    while listens := _listens(path):
        if time.monotonic() > until or stop.wait(ENDING / 20):
            break
    # Of an orderly end ssh tells on a terminal only.
    closed = f"Connection to {_host(url)} closed by remote host.\n"
    return "" if listens else _logged(path) or closed


def _logged(path: Path) -> str:
    try:
        return _log(path).read_bytes()[-LOGGED:].decode("utf-8", "replace")
    except OSError:
        return ""


def _log(path: Path) -> Path:
    return path.with_name(path.name + ".log")


def _listens(path: Path) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


BASE = "[gc]\n\tautoDetach = false\n"


class SafeDirectories:
    """The file of git settings that children of git read too: whom we trust here.

    A repository that another user owns is used only if this file names it; neither
    arguments nor environment reach the git that serves a local path.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._paths: set[str] = set()

    def ready(self) -> None:
        """See that the file is there; what dead processes left is removed with that."""
        with self._lock:
            if not self._file.exists():
                self._clear()
                self._write(self._paths)

    def _clear(self) -> None:
        for left in self._file.parent.glob("gitconfig-*"):
            if not left.name.startswith(f"gitconfig-{os.getpid()}-"):
                left.unlink(missing_ok=True)

    def add(self, path: str) -> None:
        """Trust a local repository, whoever owns it."""
        with self._lock:
            if path not in self._paths:
                self._write(self._paths | {path, f"{path.rstrip('/')}/.git"})

    def close(self) -> None:
        """Remove the file, if that can be done."""
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _write(self, paths: set[str]) -> None:
        lines = (f"\tdirectory = {_quoted(p)}\n" for p in sorted(paths))
        fresh = self._file.with_name(self._file.name + ".new")
        fresh.write_text(BASE + "[safe]\n" + "".join(lines), errors="surrogateescape")
        fresh.rename(self._file)
        self._paths = paths


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Need(Enum):
    """What a repository may turn out to want beyond what is usual."""

    SECOND_KEY = "the key, refused as a bearer token, is tried as a password"
    LENGTH = "the host wants to know the length of all that it is sent"
    PROBE = "the host hung up before the push: it is asked first from now on"
    HTTP_1 = "HTTP/2 was broken off: HTTP/1.1 from now on"
    FOLDER = "TLS failed with the file of authorities alone: their folder is read, too"


class AccessFactory:
    """Gives access to repositories; remembers what each has turned out to want."""

    def __init__(
        self, keys: CredentialStore, masters: SshConnections, trust: SafeDirectories
    ) -> None:
        self.keys = keys
        self.masters = masters
        self.trust = trust
        self.needs: dict[str, set[Need]] = {}

    def access(
        self, url: GitUrl, limits: Limits, stack: ExitStack
    ) -> "RepositoryAccess":
        """Return the access of a run; the stack closes it."""
        needs = self.needs.setdefault(url.canonical, set())
        return RepositoryAccess(self, url, limits, stack, needs)


@dataclass(eq=False, repr=False)
class RepositoryAccess:
    """How one run gets into one repository."""

    access_factory: AccessFactory
    url: GitUrl
    limits: Limits
    stack: ExitStack
    needs: set[Need]  # what it has turned out to want
    _access: Access | None = field(default=None, init=False)
    _kept: Path | None = field(default=None, init=False)

    def access(self) -> Access:
        """Say what opens it; raises GitError where a secret cannot be used."""
        if self._access is None:
            found = self._find()
            other = found.other if Need.SECOND_KEY in self.needs else None
            self._access = other or found
            self.limits.log.hide({*found.secrets, *self._access.secrets})
        return self._access

    @property
    def by_http(self) -> bool:
        """Return whether it is reached by http or https."""
        return self.url.scheme in ("http", "https")

    @property
    def tls(self) -> Tls:
        """Return the certificates that are used."""
        return self.access_factory.keys.tls(self.url)

    @property
    def key(self) -> Path | None:
        """Return the file of the key that is used by ssh."""
        if self.url.scheme != "ssh":
            return None
        return self.access_factory.keys.identity(self.url).key

    def other(self) -> bool:
        """Turn to the second key after the first was refused; False if none is left."""
        other = self.access().other
        if other is None:
            return False
        self.limits.log.hide(other.secrets)
        self.learn(Need.SECOND_KEY)
        self._access = other
        return True

    def learn(self, what: Need) -> bool:
        """Remember that it wants that; return whether it is news."""
        if what in self.needs:
            return False
        self.limits.log.line(what.value)
        self.needs.add(what)
        return True

    def _find(self) -> Access:
        if self.url.local:
            self.access_factory.trust.add(self.url.path)
            return credentials.access(self.url, self.access_factory.keys)
        keys, masters = self.access_factory.keys, self.access_factory.masters
        if self.url.scheme != "ssh":
            return credentials.access(self.url, keys)
        session = masters.session(self.url, keys, self.limits)
        self._kept = self.stack.enter_context(session)
        return credentials.access(self.url, keys, self._kept)

    def last_words(self) -> str:
        """Return why the kept ssh connection has ended, if it has, else ""."""
        if not self._kept:
            return ""
        return last_words(self._kept, self.url, self.limits.stop)
