"""The log of one run: what is kept of it, and what can be watched while it grows."""

import threading
from collections.abc import Iterable

from gms_hookd.redact import redacted, spellings

HEAD = 64 * 1024
TAIL = 192 * 1024
LINE = 2000  # characters; a longer line says nothing more


class RunLog:
    """Lines and progress of one run, without secrets, of bounded size.

    One thread writes, any number follow. What is kept is the first 64 KiB and the
    last 192 KiB; followers get the same text with progress in between (ended by a
    carriage return), from a window of the last 192 KiB.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._changed = threading.Condition()
        self._head = ""
        self._tail = ""
        self._left_out = 0
        self._live = ""
        self._live_start = 0
        self._closed = False
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these, in all their spellings, from now on."""
        self._secrets.update(s for secret in secrets for s in spellings(secret))

    def clean(self, text: str) -> str:
        """Take the secrets out of a text."""
        return redacted(text, self._secrets)

    def line(self, text: str) -> None:
        """Add a line that is kept."""
        safe = self.clean(text.rstrip("\n").replace("\r", " "))
        safe = safe.encode("utf-8", "replace").decode()
        full = "\n".join(_cut(one) for one in safe.split("\n")) + "\n"
        with self._changed:
            self._keep(full)
            self._show(full)

    def progress(self, text: str) -> None:
        """Show a line to those who watch; the next one takes its place."""
        safe = _cut(self.clean(text).encode("utf-8", "replace").decode())
        with self._changed:
            self._show(safe + "\r")

    def text(self) -> str:
        """Give all that is kept."""
        with self._changed:
            gap = f"\n[{self._left_out} characters left out]\n"
            return self._head + (gap if self._left_out else "") + self._tail

    def follow(self, offset: int, timeout: float) -> tuple[str, int, bool]:
        """Wait up to timeout seconds for more than offset characters.

        Returns the text after the offset (later, if it left the window), the next
        offset and whether the log is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._end > offset or self._closed, timeout)
            start = min(max(offset - self._live_start, 0), len(self._live))
            return self._live[start:], self._end, self._closed

    def close(self) -> None:
        """Say that nothing will follow."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def _end(self) -> int:
        return self._live_start + len(self._live)

    def _keep(self, full: str) -> None:
        room = max(HEAD - len(self._head), 0) if not self._tail else 0
        self._head += full[:room]
        self._tail += full[room:]
        if len(self._tail) > 2 * TAIL:
            self._left_out += len(self._tail) - TAIL
            self._tail = self._tail[-TAIL:]

    def _show(self, full: str) -> None:
        self._live += full
        if len(self._live) > 2 * TAIL:
            self._live_start += len(self._live) - TAIL
            self._live = self._live[-TAIL:]
        self._changed.notify_all()


def _cut(line: str) -> str:
    return line if len(line) <= LINE else line[:LINE] + " ..."
