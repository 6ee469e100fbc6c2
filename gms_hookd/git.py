"""Runs git, and whatever else must be a process; the only user of subprocess.

A command gets an environment of its own, no terminal, a session of its own which is
killed as a whole, and a cap on what it may print.
"""

import contextlib
import errno
import os
import re
import resource
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from gms_hookd import journal
from gms_hookd.giterror import GitError, Kind, classify, telling_line
from gms_hookd.journal import Journal
from gms_hookd.runlog import RunLog, Window
from gms_hookd.safetext import one_line
from gms_hookd.silence import Silence
from gms_hookd.stop import Stop

GRACE = 5.0  # seconds between TERM and KILL
DYING = 1.0  # seconds at most that killed processes are waited for
ORDERLY = (0, 1)  # git's status is 128 where another did not come to its own end
SLICE = 0.2  # seconds at most until a stop is seen
OUT_CAP = 24 * 1024 * 1024  # bytes of stdout: 300,000 refs
ERR_CAP = 64 * 1024  # characters of stderr kept to tell why
ERR_LOGGED = 1024 * 1024  # characters of stderr of one command that go to the log
LINE_COSTS = 100  # characters that a short line is taken for
SHOWN = 1500  # characters of a command in the log
Sink = Callable[[bytes], None]
PASSED_ON = (
    "PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
    "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ",
)  # fmt: skip
# git asks for authorities by names of its own.
TRUSTED = (("SSL_CERT_FILE", "GIT_SSL_CAINFO"), ("SSL_CERT_DIR", "GIT_SSL_CAPATH"))
ISOLATED = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ADVICE": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_CEILING_DIRECTORIES": "/",
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_LFS_SKIP_SMUDGE": "1",
}
# Given by environment, which a local receive-pack does not inherit: the hooks of a
# target are its owner's, those of a cache nobody's.
SETTINGS = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.useReplaceRefs", "false"),
    ("core.alternateRefsCommand", "exit 0 #"),
    ("core.fsync", "none"),  # a cache can be fetched again; see Cache.pin
    ("core.bigFileThreshold", "32m"),
    ("credential.helper", ""),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fetch.recurseSubmodules", "no"),
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "0"),  # see silence
    ("init.templateDir", ""),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "128m"),
    ("protocol.version", "2"),
    ("safe.bareRepository", "explicit"),
    ("transfer.bundleURI", "false"),
    ("transfer.credentialsInUrl", "die"),
    ("transfer.fsckObjects", "true"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run is given: until when (time.monotonic), and who may stop it."""

    deadline: float
    stop: Stop
    log: RunLog
    grace: float = GRACE
    file_size: int | None = None  # bytes of the largest file it may write
    memory: int | None = None  # bytes of memory that each of its processes may have
    stall: float | None = None  # seconds after which a silent host is given up
    low: bool = False  # whether all else goes before it


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: status is negative for a signal."""

    status: int
    out: bytes
    err: str
    ended: Kind | None = None  # TIMEOUT, STALL, STOPPED or SIZE where we ended it

    @property
    def failed(self) -> bool:
        """Whether it did not do its work."""
        return bool(self.status or self.ended)

    @property
    def orderly(self) -> bool:
        """Whether it came to its own end."""
        return self.status in ORDERLY and self.ended is None

    def failure(self, what: str) -> GitError:
        """Say as an error why it failed."""
        kind = self.kind
        said = telling_line(self.err) or f"exit status {self.status}"
        if kind is self.ended and kind is not Kind.STALL:
            said = f"ended: {kind}"
        if kind is Kind.MISSING:
            said += " (missing, or no access)"
        if re.search(r"returned error: 30[1-8]", self.err):
            said += " (a redirect, which is not followed: give the final URL)"
        return GitError(kind, one_line(f"git {what}: {said}"), self.err)

    @property
    def kind(self) -> Kind:
        """Tell the class of its failure."""
        if self.ended:
            return self.ended
        if self.status < 0:
            return Kind.SIZE if self.status == -signal.SIGXFSZ else Kind.SIGNAL
        return classify(self.err)


@dataclass(slots=True)
class _Output:
    """Collects what a running command prints, and no more than is of use."""

    log: RunLog
    quiet: bool
    out: bytearray = field(default_factory=bytearray)
    err: Window = field(default_factory=lambda: Window(ERR_CAP))
    line: bytes = b""
    room: int = ERR_LOGGED

    def stdout(self, chunk: bytes) -> None:
        self.out += chunk

    def stderr(self, chunk: bytes) -> None:
        if self.room <= 0:  # a flood: its end is kept, and not looked into
            self.err.add(chunk.decode("utf-8", "replace"))
            return
        *lines, self.line = (self.line + chunk).split(b"\n")
        for line in lines:
            self._full(line)
        *passing, self.line = self.line.split(b"\r")
        if passing and not self.quiet:
            self.log.progress(passing[-1].decode("utf-8", "replace"))
        if len(self.line) > ERR_CAP:
            self.end()

    def end(self) -> None:
        if self.line.strip():
            self._full(self.line)
        self.line = b""

    def _full(self, line: bytes) -> None:
        if self.room <= 0:
            return
        kept = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
        self.err.add(kept.rstrip() + "\n")
        self.room -= LINE_COSTS + len(kept)
        if not self.quiet and kept.strip():
            full = "[the rest is left out]" if self.room <= 0 else kept.rstrip()
            self.log.line("  " + full)


class _Child:
    """One process group from its start to its last breath."""

    def __init__(
        self, process: subprocess.Popen[bytes], limits: Limits, stall: float | None
    ) -> None:
        self._process = process
        self._limits = limits
        self.pid = process.pid
        start = time.monotonic()
        self._silence = Silence(self.pid, stall, start) if stall else None
        self._kill_at = 0.0
        self.ended: Kind | None = None

    def watch(self, output: _Output) -> None:
        """Read until it is over, or until it had to be ended."""
        poll = select.poll()
        sinks = self._sinks(output)
        for fd in sinks:
            poll.register(fd, select.POLLIN)
        over = False
        while not over:
            ready = poll.poll(SLICE * 1000 if sinks else 1)
            for fd, _ in ready:
                _take(fd, sinks, poll)
            self._turn(time.monotonic(), len(output.out), heard=bool(ready))
            # a pipe still open after the exit is held by something outside the group
            over = not (ready and sinks) and self._exited()
        output.end()

    def cap(self) -> None:
        """Limit the size of the files it may write, and its share of the machine."""
        limits = self._limits
        self._limit(resource.RLIMIT_FSIZE, limits.file_size)
        self._limit(resource.RLIMIT_DATA, limits.memory)
        if limits.low:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.pid, 19)

    def _limit(self, what: int, most: int | None) -> None:
        if most is not None:
            with contextlib.suppress(OSError):  # it ended at once
                resource.prlimit(self.pid, what, (most, most))

    def finish(self) -> int:
        """Kill what is left of the group, then let the leader go."""
        self._signal(signal.SIGKILL)  # while it is a zombie its number is not reused
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        status = self._process.wait()
        if status not in ORDERLY:
            self._await_the_dead()
        return status

    def _await_the_dead(self) -> None:
        """Wait until nothing is left of the group.

        Who is killed within a system call finishes that: a lock may appear after the
        kill, but not after the death.
        """
        until = time.monotonic() + DYING
        while time.monotonic() < until and journal.group_lives(self._process.pid):
            time.sleep(0.002)

    def _sinks(self, output: _Output) -> dict[int, Sink]:
        process = self._process
        pipes = ((process.stdout, output.stdout), (process.stderr, output.stderr))
        return {pipe.fileno(): sink for pipe, sink in pipes if pipe}

    def _turn(self, now: float, size: int, *, heard: bool) -> None:
        if heard and self._silence:
            self._silence.broken(now)
        if self.ended is None:
            self.ended = self._reason(now, size)
            self._kill_at = now + self._limits.grace
            if self.ended:
                self._signal(signal.SIGTERM)
        elif now >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _reason(self, now: float, size: int) -> Kind | None:
        if self._limits.stop.is_set():
            return Kind.STOPPED
        if now >= self._limits.deadline:
            return Kind.TIMEOUT
        if self._silence and self._silence.too_long(now):
            return Kind.STALL
        return Kind.SIZE if size > OUT_CAP else None

    def _exited(self) -> bool:
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _take(fd: int, sinks: dict[int, Sink], poll: select.poll) -> None:
    chunk = os.read(fd, 65536)
    if chunk:
        sinks[fd](chunk)
    else:
        poll.unregister(fd)
        del sinks[fd]


def execute(
    argv: Sequence[str],
    environ: Mapping[str, str],
    limits: Limits,
    *,
    stdin: bytes | None = None,
    quiet: bool = False,
    started: Callable[[int], None] | None = None,
    stall: float | None = None,
) -> Done:
    """Run a command to its end, or end it.

    started is told the number of its process, which is that of its group too. stall
    is for how many seconds it may get nothing from the host that it talks to.

    Raises GitError only where it cannot be started.
    """
    with _standard_input(stdin) as given:
        child = _Child(_spawn(argv, environ, given), limits, stall)
        child.cap()
    output = _Output(limits.log, quiet)
    try:
        if started:
            started(child.pid)
        child.watch(output)
    finally:
        status = child.finish()
    if child.ended is Kind.STALL:
        output.err.add(f"fatal: no byte from the host for {stall:g} s (sync.stall)\n")
    out = b"" if child.ended is Kind.SIZE else bytes(output.out)
    return Done(status, out, output.err.since(0), child.ended)


def _spawn(
    argv: Sequence[str],
    environ: Mapping[str, str],
    given: IO[bytes] | int,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            env=environ,
            cwd="/",
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        full = error.errno == errno.ENOSPC
        kind = Kind.DISK if full else Kind.GIT
        raise GitError(kind, f"{argv[0]} cannot be run: {error.strerror}") from error


@contextlib.contextmanager
def _standard_input(data: bytes | None) -> Iterator[IO[bytes] | int]:
    if data is None:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file


def environment(
    inherited: Mapping[str, str], home: Path, name: str, protocols: Sequence[str]
) -> dict[str, str]:
    """Make the environment of a git command: nothing of the user, no prompt."""
    kept = {name: inherited[name] for name in PASSED_ON if name in inherited}
    own = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "GIT_CONFIG_GLOBAL": str(home / f"gitconfig-{name}"),
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
    }
    own |= {git: inherited[name] for name, git in TRUSTED if inherited.get(name)}
    return {"PATH": os.defpath, **kept, **ISOLATED, **own}


def configured(
    environ: Mapping[str, str], settings: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Add git settings to an environment: not in argv, not in a file."""
    given = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        given[f"GIT_CONFIG_KEY_{number}"] = key
        given[f"GIT_CONFIG_VALUE_{number}"] = value
    return {**environ, **given}


@dataclass(frozen=True, slots=True)
class Git:
    """git on one repository, for one run; its journal knows of each command."""

    gitdir: Path
    environ: Mapping[str, str] = field(repr=False)
    limits: Limits
    journal: Journal
    binary: str = "git"

    def run(
        self,
        *args: str,
        settings: Sequence[tuple[str, str]] = (),
        extra: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        quiet: bool = False,
        writing: str | None = None,
        afar: bool = False,
    ) -> Done:
        """Run one command, whatever its exit status.

        settings and extra are configuration and environment of this command alone;
        a quiet one is not in the log. writing names the local repository that it
        changes, if not this one. With afar it ends when the host that it talks to is
        silent for too long.
        """
        environ = {**self.environ, **(extra or {}), **self.journal.environ}
        environ = configured(environ, (*SETTINGS, *settings))
        argv = (self.binary, f"--git-dir={self.gitdir}", *args)
        if not quiet:
            self.limits.log.line("$ " + one_line(shlex.join(("git", *args)), SHOWN))
        done = execute(
            argv,
            environ,
            self.limits,
            stdin=stdin,
            quiet=quiet,
            started=lambda pid: self.journal.started(pid, writing),
            stall=self.limits.stall if afar else None,
        )
        if writing and done.orderly:
            self.journal.written()
        if done.failed and self._outgrown():
            return replace(done, ended=Kind.SIZE)
        return done

    def _outgrown(self) -> bool:
        """Whether a pack met the limit, of which git says nothing."""
        limit = self.limits.file_size
        packs = (self.gitdir / "objects" / "pack").glob("tmp_pack_*")
        return limit is not None and any(p.stat().st_size >= limit for p in packs)

    def ask(self, *args: str, stdin: bytes | None = None, quiet: bool = True) -> bytes:
        """Run one local command that must succeed, and give what it printed."""
        done = self.run(*args, stdin=stdin, quiet=quiet)
        if done.failed:
            raise done.failure(args[0])
        return done.out
