"""Keeps ssh connections open between git commands, and ends them.

A master is an ssh of our own with a socket in a private folder; gits that talk to the
same host as the same user with the same files go through it. It ends by itself after a
minute without use, and with us at the latest.
"""

import contextlib
import hashlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from gms_hookd.access import (
    Identity,
    Keys,
    checked_identity,
    ssh_command,
    ssh_remedies,
    with_remedy,
)
from gms_hookd.git import Limits, execute
from gms_hookd.giterror import Kind
from gms_hookd.giturl import GitUrl
from gms_hookd.runlog import RunLog
from gms_hookd.stop import Stop

IDLE = 60  # seconds
SESSIONS = 8  # at once on one connection; sshd allows 10 by default
CONNECT = 30.0  # seconds


class Masters:
    """The open connections; any number of threads may use them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._users: dict[Path, int] = {}
        self._starting: dict[Path, threading.Lock] = {}

    @contextlib.contextmanager
    def session(self, url: GitUrl, keys: Keys, limits: Limits) -> Iterator[Path | None]:
        """Give the socket of a connection to the URL's host, or None."""
        identity = checked_identity(url, keys)
        path = self._take(url, identity)
        try:
            yield path if self._open(path, url, identity, limits) else None
        finally:
            with self._lock:
                self._users[path] -= 1

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            folder, self._folder = self._folder, None
            paths = list(self._users)
        limits = Limits(time.monotonic() + CONNECT, Stop(), RunLog())
        for path in paths:
            if _alive(path):
                argv = ("ssh", "-F", "/dev/null", "-S", str(path), "-O", "exit", "x")
                execute(argv, self._environ, limits, quiet=True)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    def _take(self, url: GitUrl, identity: Identity) -> Path:
        # By what the files are now: one that was exchanged is used from then on.
        files = [(p, _stamp(p)) for p in (identity.key, identity.known_hosts)]
        names = (url.user, url.host, url.port, files)
        name = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="gms-hookd-"))
            number = 0
            while self._users.get(self._folder / f"{name}{number}", 0) >= SESSIONS:
                number += 1
            path = self._folder / f"{name}{number}"
            self._users[path] = self._users.get(path, 0) + 1
            self._starting.setdefault(path, threading.Lock())
        return path

    def _open(
        self, path: Path, url: GitUrl, identity: Identity, limits: Limits
    ) -> bool:
        with self._starting[path]:
            return _alive(path) or self._start(path, url, identity, limits)

    def _start(
        self, path: Path, url: GitUrl, identity: Identity, limits: Limits
    ) -> bool:
        path.unlink(missing_ok=True)
        port = ("-p", str(url.port)) if url.port else ()
        user = ("-l", url.user) if url.user else ()
        persist = ("-o", f"ControlPersist={IDLE}")
        argv = (*ssh_command(identity, path), "-fNM", *persist, *port, *user)
        host = url.host.strip("[]")
        argv = (*argv, "--", host)
        done = execute(argv, self._environ, limits, quiet=True, stall=limits.stall)
        if done.ended or (done.failed and done.kind in (Kind.AUTH, Kind.TRUST)):
            error = done.failure(f"(ssh to {host})")
            raise with_remedy(error, ssh_remedies(url, identity))
        return not done.failed and _alive(path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _alive(path: Path) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False
