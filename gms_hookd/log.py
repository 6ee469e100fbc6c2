"""How the log looks: one event a line, whatever the event's text holds.

Under the journal a line begins with its priority and has no time, which the journal
adds; elsewhere it begins with local time and level. Line breaks, escape sequences and
tracebacks are written escaped on the event's own line, so that nobody whose text is
logged can begin a record of his own or choose its priority. Nobody waits for who reads
it: lines that are not read in time are dropped and counted.
"""

import logging
import math
import os
import select
import socket
import stat
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TextIO

from gms_hookd.safetext import flattened, quoted
from gms_hookd.safetext.journald import under_journal

EXCEPTION_LIMIT = 600
FRAMES = 12
CAUSES = ("exception", "cause", "root")
# The journal splits a line at 48 KiB, and its second half would choose its priority.
LINE_LIMIT = 8000
MOST_KEPT = 2000  # lines that wait for a reader; older ones are dropped, and counted
PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
# As `extra` of a record: of its kind there is one line a minute, and then their count.
SELDOM = {"seldom": True}
MINUTE = 60.0
TIME = "%Y-%m-%d %H:%M:%S"
# Takes bytes without waiting; returns how many it took. OSError: nobody reads.
_Sender = Callable[[bytes], int]
_OWN = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ROOT = logging.getLogger()
# Level, whether it is masked already, Unix time, text.
_Event = tuple[int, bool, float, str]
_KIND = itemgetter(0, 1)


def setup(
    stream: TextIO,
    environ: Mapping[str, str],
    level: int | str = logging.INFO,
    redact: Callable[[str], str] = str,
) -> logging.Handler:
    """Send every log record to `stream`, redacted, instead of where it went before."""
    handler = _Handler(stream, _Lines(under_journal(stream, environ), redact))
    for earlier in _handlers():
        _ROOT.removeHandler(earlier)
        earlier.close()
    _ROOT.addHandler(handler)
    _ROOT.setLevel(level)
    logging.captureWarnings(True)
    # No line names them, and finding them out for each costs as much as writing it.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as the logging HOWTO has it: nor the source
    return handler


def silence() -> None:
    """Let nothing of ours be written where nobody has said where to (`setup`)."""
    logging.getLogger("gms_hookd").addHandler(logging.NullHandler())


def redact(mask: Callable[[str], str]) -> None:
    """Redact every line from now on by another function."""
    for handler in _handlers():
        handler.lines.redact = mask


def hold() -> None:
    """Keep lines back until `release`: many together cost little more than one."""
    for handler in _ROOT.handlers:
        if isinstance(handler, _Handler):
            handler.held = True


def release() -> None:
    """Write what was kept back."""
    for handler in _ROOT.handlers:
        if isinstance(handler, _Handler):
            handler.held = False
            handler.let_out()


def dropped() -> int:
    """Count the lines that were dropped, and of which the log does not tell yet."""
    return sum(handler.dropped for handler in _handlers())


def finish(seconds: float = 1.0) -> None:
    """Give who reads slowly so many seconds at most for the last lines."""
    until = time.monotonic() + seconds
    for handler in _handlers():
        while not handler.let_out() and time.monotonic() < until:
            time.sleep(0.01)


def event(
    logger: logging.Logger,
    text: str,
    level: int = logging.INFO,
    *,
    masked: bool = False,
) -> None:
    """Log `text`: for what comes so often that a record is dear.

    It is `masked` if all that is not of our making in it is: then nobody looks again.
    """
    if not logger.isEnabledFor(level):
        return
    handlers = _ROOT.handlers
    if len(handlers) == 1 and isinstance(handlers[0], _Handler):
        handlers[0].take((level, masked, time.time(), text))
    else:
        logger.log(level, "%s", text)


def _handlers() -> list["_Handler"]:
    return [h for h in _ROOT.handlers if isinstance(h, _Handler)]


class _Handler(logging.Handler):
    def __init__(self, stream: TextIO, lines: "_Lines") -> None:
        super().__init__()
        self.setFormatter(lines)
        self.held = False
        self.dropped = 0
        self.lines = lines
        self._out = _Stream(stream)
        # Appended to and taken from by several threads, each in one atomic step.
        self._kept: deque[_Event] = deque()
        # By the text of a kind without its values: when it was last told, how many
        # were left out since. There are as many as the program has such lines.
        self._seldom: dict[str, tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is one of many of its kind."""
        level, masked, created, text = self._event(record)
        if getattr(record, "seldom", False):
            last, left_out = self._seldom.get(str(record.msg), (-math.inf, 0))
            if time.monotonic() - last < MINUTE:
                self._seldom[str(record.msg)] = last, left_out + 1
                return
            self._seldom[str(record.msg)] = time.monotonic(), 0
            text += f" left_out={left_out}" if left_out else ""
        self.take((level, masked, created, text))

    def take(self, event: _Event) -> None:
        """Write an event; between `hold` and `release` only a warning gets through."""
        self._kept.append(event)
        if not self.held or event[0] >= logging.WARNING:
            self.let_out()

    def let_out(self) -> bool:
        """Write what was kept back; where nobody reads the oldest lines are dropped.

        Tell whether all is written.
        """
        with self.lock or nullcontext():
            try:
                gone = self._out.flush() and self._write()
            except (OSError, ValueError):
                gone = True
                self.dropped += self._out.drop()
            while len(self._kept) > MOST_KEPT:
                self._kept.popleft()
                self.dropped += 1
            return gone

    def _write(self) -> bool:
        kept = [self._kept.popleft() for _ in range(len(self._kept))]
        if not kept:
            return True
        lost = self.dropped
        lines = [_dropped(lost), *kept] if lost else kept
        try:
            gone = self._out.write("".join(self.lines.of(lines)))
        except (OSError, ValueError):
            self._out.drop()
            self.dropped += len(kept)
            return True
        self.dropped -= lost
        return gone

    def close(self) -> None:
        """Close what was opened for the stream, not the stream itself."""
        self._out.close()
        super().close()

    def _event(self, record: logging.LogRecord) -> _Event:
        try:
            return record.levelno, False, record.created, self.format(record)
        except Exception:  # noqa: BLE001 - one line says so, which a traceback would not
            lost = f"log event lost by={record.name} event={quoted(record.msg)}"
            return logging.ERROR, False, record.created, lost


def _dropped(count: int) -> _Event:
    return logging.WARNING, True, time.time(), f"log lines dropped count={count}"


class _Lines(logging.Formatter):
    def __init__(self, journal: bool, redact: Callable[[str], str]) -> None:
        super().__init__()
        self.journal = journal
        self.redact = redact
        self._time = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """Give the text of a record."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text += "".join(self._causes(record.exc_info[1]))
        return text

    def of(self, events: list[_Event]) -> Iterator[str]:
        """Give events as lines; those that follow on each other have the same time."""
        for (level, masked), group in groupby(events, key=_KIND):
            _, _, times, texts = zip(*group, strict=True)
            head = self._head(level, times[0])
            joined = self._safe(texts, str if masked else self.redact)
            yield f"{head}{joined}".replace("\n", f"\n{head}") + "\n"

    def _safe(self, texts: Sequence[str], redact: Callable[[str], str]) -> str:
        """Join texts, one a line; to look at all of them at once is quicker."""
        joined = redact("\n".join(texts))
        lines = joined.split("\n")
        safe = len(lines) == len(texts) and "".join(lines).isprintable()
        if safe and max(map(len, lines)) <= LINE_LIMIT:
            return joined
        return "\n".join(_middle_out(flattened(redact(text))) for text in texts)

    def _head(self, level: int, created: float) -> str:
        if self.journal:
            return f"<{next(p for n, p in PRIORITIES if level >= n)}>"
        second = int(created)
        if second != self._time[0]:
            self._time = second, time.strftime(TIME, time.localtime(second))
        return f"{self._time[1]} {logging.getLevelName(level)} "

    def _causes(self, error: BaseException) -> Iterator[str]:
        summary = traceback.TracebackException.from_exception(error, limit=-FRAMES)
        for name, cause in zip(CAUSES, _chain(summary), strict=False):
            what = "".join(cause.format_exception_only()).strip()
            yield f" {name}={quoted(self.redact(what), EXCEPTION_LIMIT)}"
            yield f" trace={quoted(_frames(cause), EXCEPTION_LIMIT)}"


def _chain(
    error: traceback.TracebackException | None,
) -> Iterator[traceback.TracebackException]:
    while error:
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _frames(error: traceback.TracebackException) -> str:
    frames = error.stack or ()
    names = (f"{os.path.basename(f.filename)}:{f.lineno}:{f.name}" for f in frames)
    return ">".join(names)


def _middle_out(text: str) -> str:
    if len(text) <= LINE_LIMIT:
        return text
    return f"{text[: LINE_LIMIT // 2]} ... {text[-LINE_LIMIT // 2 :]}"


class _Stream:
    """Text on its way to a stream, which never waits for who reads it.

    What does not go at once is kept, and goes first the next time. A pipe or a terminal
    is opened a second time for that: O_NONBLOCK belongs to an open file, which we share
    with whoever gave it to us (open(2)). A socket, as the journal's, is sent to without
    waiting (MSG_DONTWAIT); a file on a disk makes nobody wait.
    """

    def __init__(self, stream: TextIO) -> None:
        self._send, self._close = _way(stream)
        self._encoding = stream.encoding or "utf-8"
        self._rest = b""
        self._torn = False

    def write(self, text: str) -> bool:
        """Send lines, or keep what does not go; tell whether all of it has gone.

        Raises OSError, ValueError: nobody reads.
        """
        data = text.encode(self._encoding, "backslashreplace")
        # Behind the half of a line that was dropped a new line begins.
        self._rest += b"\n" + data if self._torn and not self._rest else data
        return self.flush()

    def flush(self) -> bool:
        """Send what was kept; tell whether all of it has gone. Raises as `write`."""
        while self._rest:
            sent = self._send(self._rest)
            if not sent:
                return False
            self._torn = not self._rest[:sent].endswith(b"\n")
            self._rest = self._rest[sent:]
        self._torn = False
        return True

    def drop(self) -> int:
        """Forget what was kept; return how many lines that were."""
        dropped = self._rest.count(b"\n")
        self._rest = b""
        return dropped

    def close(self) -> None:
        """Give back what was opened for it; the stream itself stays open."""
        self._close()


def _way(stream: TextIO) -> tuple[_Sender, Callable[[], None]]:
    """Choose how to send to a stream; return with it how to close what that opened."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return partial(_to_text, stream), _nothing
    if stat.S_ISREG(mode):
        return partial(os.write, descriptor), _nothing
    if stat.S_ISSOCK(mode):
        end = socket.socket(fileno=os.dup(descriptor))
        return partial(_to_socket, end), end.close
    with suppress(OSError):
        own = os.open(f"/proc/self/fd/{descriptor}", _OWN)
        return partial(_to_own, own), partial(os.close, own)
    return partial(_to_shared, descriptor), _nothing


def _nothing() -> None:
    pass


def _to_text(stream: TextIO, data: bytes) -> int:
    stream.write(data.decode(stream.encoding or "utf-8"))
    stream.flush()
    return len(data)


def _to_socket(end: socket.socket, data: bytes) -> int:
    with suppress(BlockingIOError):
        return end.send(data, socket.MSG_DONTWAIT)
    return 0


def _to_own(descriptor: int, data: bytes) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0


def _to_shared(descriptor: int, data: bytes) -> int:
    """Send no more than surely goes when poll(2) says that a pipe takes something."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return os.write(descriptor, data[: select.PIPE_BUF]) if poll.poll(0) else 0
