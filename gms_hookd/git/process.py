"""One process of git or ssh: started, listened to, and ended in time."""

import contextlib
import errno
import os
import re
import resource
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gms_hookd.git.errors import ErrorKind, GitError, classify, read
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.stall import Silence
from gms_hookd.runlog import RunLog, Window
from gms_hookd.safetext import one_line


@dataclass(slots=True)
class Stop:
    """A request, from another thread, to end a run now.

    `reason` is "cancelled" or "shutdown", "" as long as nobody asked.
    """

    reason: str = ""
    _event: threading.Event = field(default_factory=threading.Event)

    def set(self, reason: str) -> None:
        """Ask; the first reason given stays."""
        self.reason = self.reason or reason
        self._event.set()

    def is_set(self) -> bool:
        """Whether someone asked."""
        return self._event.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait up to timeout seconds for it."""
        return self._event.wait(timeout)


DEAD = ("Z", "X")


def born(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; "" if it is dead."""
    fields = process_fields(str(pid))
    return fields[19] if fields and fields[0] not in DEAD else ""


def group_lives(group: int) -> bool:
    """Return whether a process of the group lives; dead ones may wait to be reaped."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(of == group for _, of in running_processes())


def running_processes() -> list[tuple[int, int]]:
    """Return the number and the process group of each process that is not dead."""
    names = [path.name for path in Path("/proc").glob("[0-9]*")]
    found = ((name, process_fields(name)) for name in names)
    return [(int(name), int(f[2])) for name, f in found if f and f[0] not in DEAD]


def process_fields(pid: str) -> list[str]:
    """Return what proc(5) tells of a process, from its state on; [] if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def is_alive(pid: int, birth: str) -> bool:
    """Return whether the process is alive, by its fields in /proc."""
    return bool(birth) and born(pid) == birth


GRACE = 5.0  # seconds between TERM and KILL
DYING = 1.0  # seconds at most that killed processes are waited for
ORDERLY = (0, 1)  # git's status is 128 where another did not come to its own end
SLICE = 0.2  # seconds at most until a stop is seen, or a line of git's is shown
# Seconds between the looks for the end of who has closed its pipes: mostly it is there.
AT_END, LINGERS = 0.0001, 0.01
FRESH = 16 * 1024  # bytes of stderr that are looked into at once: masking costs a call
OUT_CAP = 24 * 1024 * 1024  # bytes of stdout: 300,000 refs
READ_CAP = 1024 * 1024 * 1024  # bytes of stdout of which only some lines are kept
ERR_CAP = 64 * 1024  # characters of stderr kept to tell why
ERR_LOGGED = 1024 * 1024  # characters of stderr of one command that go to the log
LINE_COSTS = 100  # characters that a short line is taken for
SPOKE_V2 = late_pattern(r'=> Send header: POST |"negotiated-version","value":"2"')
SHOWN = 1500  # characters of a command in the log
SAID = 700  # characters of an error, without its remedy
Sink = Callable[[bytes], None]


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
    ended: ErrorKind | None = None  # TIMEOUT, STALL, STOPPED or SIZE where we ended it
    headers: str = field(default="", repr=False)  # of http requests and answers

    @property
    def tells_symrefs(self) -> bool:
        """Whether a host was spoken to by protocol v2, which tells all symbolic refs.

        By http v0 has nothing to ask for by POST once the refs were listed.
        """
        return bool(SPOKE_V2.search(self.headers))

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
        kind, reading = self.kind, read(self.err)
        said = f"git {what}: {str(reading) or f'exit status {self.status}'}"
        if kind is self.ended and kind is not ErrorKind.STALL:
            said = f"git {what}: ended: {kind}{_LIMIT.get(kind, '')}"
        elif self.status < 0 and not self.ended:
            said = f"git {what} was {_killed(-self.status)}"
        elif kind is ErrorKind.SIGNAL:
            said += _guess(reading.failed)
        if kind is ErrorKind.MISSING:
            said += " (missing, or no access)"
        return GitError(kind, one_line(said, SAID), self.err)

    @property
    def kind(self) -> ErrorKind:
        """Tell the class of its failure."""
        if self.ended:
            return self.ended
        if self.status < 0:
            return (
                ErrorKind.SIZE if self.status == -signal.SIGXFSZ else ErrorKind.SIGNAL
            )
        return classify(self.err)


# By what limit of ours a command is ended, and what to do.
_LIMIT = {
    ErrorKind.TIMEOUT: " (sync.timeout, or the task's own: gms-hookd task set TASK"
    " timeout=...)",
    ErrorKind.SIZE: f": it lists more than {OUT_CAP >> 20} MiB of refs: select fewer",
}


def _killed(number: int) -> str:
    words = f"killed by signal {number}"
    return words + _guess(f"signal {number}") if number == signal.SIGKILL else words


def _guess(said: str) -> str:
    """Return what is most likely behind a kill that nobody owns up to."""
    return ": out of memory?" if re.search(r"(?i)signal 9\b|killed", said) else ""


@dataclass(slots=True)
class _Output:
    """Collects what a running command prints, and no more than is of use."""

    log: RunLog
    quiet: bool
    lines: re.Pattern[bytes] | None = None
    out: bytearray = field(default_factory=bytearray)
    read: int = 0
    rest: bytes = b""
    err: Window = field(default_factory=lambda: Window(ERR_CAP))
    fresh: bytes = b""  # of stderr, not looked into yet
    looked: float = field(default_factory=time.monotonic)
    line: bytes = b""
    room: int = ERR_LOGGED

    @property
    def too_large(self) -> bool:
        """Whether more is printed than anybody can have asked for."""
        return len(self.out) > OUT_CAP or self.read > READ_CAP

    def stdout(self, chunk: bytes) -> None:
        self.read += len(chunk)
        if self.lines is None:
            self.out += chunk
            return
        whole, _, self.rest = (self.rest + chunk).rpartition(b"\n")
        self.out += b"".join(line + b"\n" for line in self.lines.findall(whole))
        if len(self.rest) > ERR_CAP:  # no line at all
            self.out += self.rest
            self.rest = b""

    def stderr(self, chunk: bytes) -> None:
        self.fresh += chunk
        if len(self.fresh) > FRESH:
            self._look()

    def turn(self, now: float) -> None:
        """Look into what came on stderr, now and then."""
        if now - self.looked >= SLICE:
            self._look()
            self.looked = now

    def _look(self) -> None:
        chunk, self.fresh = self.fresh, b""
        if not chunk:
            return
        if self.room <= 0:  # a flood: its end is kept, and not looked into
            self.err.add(chunk.decode("utf-8", "replace"))
            return
        *lines, self.line = (self.line + chunk).split(b"\n")
        self._full(lines)
        *passing, self.line = self.line.split(b"\r")
        if passing and not self.quiet:
            self.log.progress(passing[-1].decode("utf-8", "replace"))
        if len(self.line) > ERR_CAP:
            self._end_line()

    def end(self) -> None:
        self._look()
        self._end_line()

    def _end_line(self) -> None:
        if self.line.strip():
            self._full([self.line])
        self.line = b""

    def _full(self, lines: Sequence[bytes]) -> None:
        """Keep lines while there is room; the log takes, and masks, them together."""
        kept: list[str] = []
        for line in lines:
            if self.room <= 0:
                break
            last = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
            kept.append(last.rstrip())
            self.room -= LINE_COSTS + len(last)
        self.err.add("".join(f"{text}\n" for text in kept))
        if kept and self.room <= 0:
            kept[-1] = "[the rest is left out]"
        told = [f"  {text}" for text in kept if text]
        if told and not self.quiet:
            self.log.line("\n".join(told))


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
        self.ended: ErrorKind | None = None

    def watch(self, output: _Output) -> None:
        """Read until it is over, or until it had to be ended."""
        poll, sinks = select.poll(), self._sinks(output)
        for fd in sinks:
            poll.register(fd, select.POLLIN)
        over, pause = False, AT_END
        while not over:
            gone = self._exited()  # asked first: its last words may come after
            ready = poll.poll(SLICE * 1000) if sinks else []
            for fd, _ in ready:
                _take(fd, sinks, poll)
            if not (gone or sinks):
                time.sleep(pause)
                pause = min(2 * pause, LINGERS)
            now = time.monotonic()
            output.turn(now)
            self._turn(now, full=output.too_large, heard=bool(ready))
            # a pipe still open after the exit is held by something outside the group
            over = gone and not (ready and sinks)
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
        while time.monotonic() < until and group_lives(self._process.pid):
            time.sleep(0.002)

    def _sinks(self, output: _Output) -> dict[int, Sink]:
        process = self._process
        pipes = ((process.stdout, output.stdout), (process.stderr, output.stderr))
        return {pipe.fileno(): sink for pipe, sink in pipes if pipe}

    def _turn(self, now: float, *, full: bool, heard: bool) -> None:
        if heard and self._silence:
            self._silence.broken(now)
        if self.ended is None:
            self.ended = self._reason(now, full=full)
            self._kill_at = now + self._limits.grace
            if self.ended:
                self._signal(signal.SIGTERM)
        elif now >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _reason(self, now: float, *, full: bool) -> ErrorKind | None:
        if self._limits.stop.is_set():
            return ErrorKind.STOPPED
        if now >= self._limits.deadline:
            return ErrorKind.TIMEOUT
        if self._silence and self._silence.too_long(now):
            return ErrorKind.STALL
        return ErrorKind.SIZE if full else None

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
    keep: Sequence[int] = (),
    lines: re.Pattern[bytes] | None = None,
) -> Done:
    """Run a command to its end, or end it.

    started is called with the number of its process, which is that of its group too.
    stall is for how many seconds it may get nothing from the host that it talks to.
    keep names the descriptors that it inherits. lines is what a line of stdout has
    to be like to be kept, and to be counted.

    Raises GitError only where it cannot be started.
    """
    with _standard_input(stdin) as given:
        child = _Child(_spawn(argv, environ, given, keep), limits, stall)
        child.cap()
    output = _Output(limits.log, quiet, lines)
    try:
        if started:
            started(child.pid)
        child.watch(output)
    finally:
        status = child.finish()
    if child.ended is ErrorKind.STALL:
        output.err.add(f"fatal: no byte from the host for {stall:g} s (sync.stall)\n")
    out = b"" if child.ended is ErrorKind.SIZE else bytes(output.out)
    said = limits.log.clean(output.err.since(0))  # whole, before a line of it is taken
    return Done(status, out, said, child.ended)


def run(argv: Sequence[str], environ: Mapping[str, str], seconds: float) -> Done:
    """Run a command that is part of no sync; it is ended after so many seconds.

    Raises GitError only where it cannot be started.
    """
    return execute(argv, environ, Limits(time.monotonic() + seconds, Stop(), RunLog()))


def _has_terminal() -> bool:
    """Return whether a command of ours could ask somebody at a terminal.

    Only then it gets a session of its own: for each of these the kernel makes a group
    of its scheduler (sched(7), autogroup), and on a busy machine that makes each git
    wait; a process group is enough to end it as a whole.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in (errno.ENXIO, errno.ENOENT)
    return True


def _spawn(
    argv: Sequence[str],
    environ: Mapping[str, str],
    given: IO[bytes] | int,
    keep: Sequence[int],
) -> subprocess.Popen[bytes]:
    terminal = _has_terminal()
    try:
        return subprocess.Popen(
            argv,
            env=environ,
            cwd="/",
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=terminal,
            process_group=None if terminal else 0,
            pass_fds=keep,
        )
    except OSError as error:
        full = error.errno == errno.ENOSPC
        kind = ErrorKind.DISK if full else ErrorKind.GIT
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
