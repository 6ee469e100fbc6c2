"""The log of one run: what is kept of it, and what can be watched while it grows."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from gms_hookd.safetext.mask import Mask

HEAD = 64 * 1024
TAIL = 192 * 1024
LINE = 2000  # characters; a longer line says nothing more


class Window:
    """The last so many characters of a text that is written piece by piece."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: deque[str] = deque()
        self._size = 0
        self.start = 0

    @property
    def end(self) -> int:
        """Count the characters that were ever written."""
        return self.start + self._size

    def add(self, piece: str) -> None:
        """Write a piece, and forget the oldest ones beyond the limit."""
        self._pieces.append(piece)
        self._size += len(piece)
        while self._size > self._limit and len(self._pieces) > 1:
            gone = len(self._pieces.popleft())
            self._size -= gone
            self.start += gone

    def since(self, offset: int) -> str:
        """Give what was written after so many characters, as far as it is here."""
        text = "".join(self._pieces)
        return text[max(offset - self.start, 0) :]


class RunLog:
    """Lines and progress of one run, without secrets, of bounded size.

    One thread writes, any number follow. What is kept is the first 64 KiB and the
    last 192 KiB; followers get the same text with progress in between (ended by a
    carriage return), from a window of the last 192 KiB.
    """

    def __init__(self, mask: Mask | None = None) -> None:
        self._mask = mask or Mask()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []
        self._head = ""
        self._tail = Window(TAIL)
        self._running = Window(TAIL)
        self._closed = False
        self.answered: dict[str, bool] = {}
        self.waits_for: str | None = None

    def use(self, mask: Mask) -> None:
        """Mask all that this one does, too, from now on."""
        self._mask = mask.plus(self._mask.secrets)

    def note_host(self, host: str, answered: bool) -> None:
        """Note whether a host that the run talked to answered it last."""
        self.answered[host] = answered

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these secrets from now on."""
        self._mask = self._mask.plus(secrets)

    def clean(self, text: str) -> str:
        """Return a text without secrets, and without what no encoding can hold."""
        return self._mask(text).encode("utf-8", "replace").decode() if text else ""

    def holds(self, text: str) -> bool:
        """Return whether a text holds a secret."""
        return self._mask.holds(text)

    def line(self, text: str) -> None:
        """Add a line, or several, that are kept."""
        safe = self.clean(text.rstrip("\n").replace("\r", " "))
        full = "".join(_cut(one) + "\n" for one in safe.split("\n"))
        with self._lock:
            self._keep(full)
            self._running.add(full)
        self._call_all()

    def progress(self, text: str) -> None:
        """Show a line to those who watch; the next one takes its place."""
        safe = _cut(self.clean(text))
        with self._lock:
            self._running.add(safe + "\r")
        self._call_all()

    def text(self) -> str:
        """Give all that is kept."""
        with self._lock:
            gap = f"\n[{self._tail.start} characters left out]\n"
            tail = self._tail.since(0)
            return self._head + (gap if self._tail.start else "") + tail

    def follow(self, offset: int) -> tuple[str, int, bool]:
        """Return what came after so many characters, as far as it is here.

        With it come the next offset and whether the log is closed.
        """
        with self._lock:
            return self._running.since(offset), self._running.end, self._closed

    def call(self, offset: int, call: Callable[[], None]) -> None:
        """Call, once, when there is more than `offset`, or nothing will follow.

        It is called in the thread that writes, or at once in this one.
        """
        with self._lock:
            there_is = self._running.end > offset or self._closed
            if not there_is:
                self._calls.append(call)
        if there_is:
            call()

    def forget(self, call: Callable[[], None]) -> None:
        """Call no longer."""
        with self._lock, suppress(ValueError):
            self._calls.remove(call)

    def close(self) -> None:
        """Say that nothing will follow."""
        with self._lock:
            self._closed = True
        self._call_all()

    def _call_all(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def _keep(self, full: str) -> None:
        room = max(HEAD - len(self._head), 0) if not self._tail.end else 0
        self._head += full[:room]
        if full[room:]:
            self._tail.add(full[room:])


def _cut(line: str) -> str:
    return line if len(line) <= LINE else line[:LINE] + " ..."
