"""The store's files: whether they are still there, and as we left them.

Nobody but the writing connection changes the file and its -wal. So what they are after
one of its commits they still are before the next; else somebody removed or replaced
them, or wrote into them, and what is committed from then on may be lost. What another
process did by sqlite, a commit or a checkpoint, is no such thing.
"""

import os
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

from gms_hookd.store.walindex import WalIndex, checkpoints

SUFFIXES = ("", "-wal")
RESTORE = "restore a backup: gms-hookd manual operating"
SAVE = f"put it back; or save it (gms-hookd backup FILE), {RESTORE}"
# What tells a file from another, and what one content of it from another.
_Place = tuple[int, int]
_Content = tuple[int, int | None]
_PLACE = attrgetter("st_ino", "st_dev")
_CONTENT = attrgetter("st_size", "st_mtime_ns")
_NOTHING = os.stat_result([0] * 10)  # its time in ns is None
_Marks = tuple[list[_Place], list[_Content]]


class Files:
    """The file and its -wal, as the writing connection left them.

    The -shm is memory that we hold mapped: without its name nothing is lost. `spoilt`
    says what was done to their content: no later commit mends that.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [f"{path}{suffix}" for suffix in SUFFIXES]
        self._left: _Marks = [], []
        self._index = WalIndex(path)
        self._index_left = b""
        self._unsure = False  # whether we wrote to them while they were elsewhere
        self.spoilt = ""

    def note(self) -> str:
        """Remember them as a write of ours left them; return what is wrong with them.

        What is committed to a file that is gone is not kept.
        """
        moved, (size, written) = self._take()
        if moved:
            self._unsure = True
        if not size and written is not None:
            self.spoil("was truncated")
        return self.spoilt or moved

    def reopen(self) -> None:
        """Take them as they are, unless the file itself is another one.

        Of connections that close, the last one writes to the file and removes the -wal.
        """
        self._index.reopen()
        del self._left[0][1:]
        self._take()

    def problem(self, committed: Callable[[], bool]) -> str:
        """Return what somebody has done to them since, with the remedy, or "".

        `committed` tells whether another process has written to them as sqlite does.
        """
        now = self._look()
        if now == self._left and not self.spoilt:
            return ""
        problem = self.spoilt or self._moved(now[0])
        what = "" if problem else self._written(now[1])
        if what and (self._unsure or committed() or self._checkpointed()):
            self._take()
        elif what:
            self.spoil(what)
        return problem or self.spoilt

    def _take(self) -> tuple[str, _Content]:
        """Take them as they are unless one is moved; return whether, and the file."""
        # In this order: a checkpoint that writes after the look ends after it, too.
        index = self._index.read()
        now = self._look()
        moved = self._moved(now[0])
        if not moved:
            self._left, self._index_left = now, index
            self._unsure = False
        return moved, now[1][0]

    def _checkpointed(self) -> bool:
        come, to_come = found = checkpoints(self._index.read())
        return come != to_come or found != checkpoints(self._index_left)

    def moved(self) -> str:
        """Return which of them is not in its place any more, with the remedy, or ""."""
        return self._moved(self._look()[0])

    def spoil(self, what: str) -> None:
        """Take note of what was done to their content."""
        self.spoilt = f"{self._name(0)} {what} while in use: {RESTORE}"

    def _look(self) -> _Marks:
        # Twice at each commit, so as few steps of Python as can be.
        try:
            found = list(map(os.stat, self._paths))
        except OSError:
            found = list(map(_stat, self._paths))
        return list(map(_PLACE, found)), list(map(_CONTENT, found))

    def _moved(self, now: list[_Place]) -> str:
        if now == self._left[0]:
            return ""
        for number, (old, new) in enumerate(zip(self._left[0], now, strict=False)):
            if any(old) and old != new:
                what = "replaced" if any(new) else "removed"
                return f"{self._name(number)} was {what} while in use: {SAVE}"
        return ""

    def _written(self, now: list[_Content]) -> str:
        for number, (old, new) in enumerate(zip(self._left[1], now, strict=False)):
            if old != new and None not in (old[1], new[1]):
                what = "truncated" if new[0] < old[0] else "written to"
                return f"was {what}" if number == 0 else f"had its -wal {what}"
        return ""

    def _name(self, number: int) -> str:
        return os.path.basename(self._paths[number])


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError:
        return _NOTHING
