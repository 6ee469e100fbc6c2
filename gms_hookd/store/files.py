"""The store's files: whether they are still there, and as we left them.

Nobody but the writing connection changes the file and its -wal. So what they are after
one of its commits they still are before the next; else somebody removed or replaced
them, or wrote into them, and what is committed from then on may be lost. What another
process did by sqlite, a commit or a checkpoint, is no such thing.
"""

import os
from collections.abc import Callable
from pathlib import Path

from gms_hookd.store.walindex import WalIndex

SUFFIXES = ("", "-wal")
RESTORE = "stop gms-hookd, restore a backup, start it again"
SAVE = f"put it back; or save it (gms-hookd backup FILE), {RESTORE}"
# Inode, device, size, time of the last write (ns): what tells a file from another, and
# one content of it from another. None: it is not there.
_Mark = tuple[int, int, int, int] | None


class Files:
    """The file and its -wal, as the writing connection left them.

    The -shm is memory that we hold mapped: without its name nothing is lost. `spoilt`
    says what was done to their content: no later commit mends that.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [f"{path}{suffix}" for suffix in SUFFIXES]
        self._left: list[_Mark] = []
        self._inodes: list[tuple[int, int] | None] = []
        self._index = WalIndex(path)
        self._checkpoints = b"", b""
        self._unsure = False  # whether we wrote to them while they were elsewhere
        self.spoilt = ""

    def note(self) -> str:
        """Remember them as a write of ours left them; return what is wrong with them.

        What is committed to a file that is gone is not kept.
        """
        now, moved = self._take()
        self._unsure = self._unsure or bool(moved)
        if now[0] and not now[0][2]:
            self.spoil("was truncated")
        return self.spoilt or moved

    def reopen(self) -> None:
        """Take them as they are, unless the file itself is another one.

        Of connections that close, the last one writes to the file and removes the -wal.
        """
        self._index.reopen()
        del self._left[1:]
        self._take()

    def problem(self, committed: Callable[[], bool]) -> str:
        """Return what somebody has done to them since, with the remedy, or "".

        `committed` tells whether another process has written to them as sqlite does.
        """
        now = self._look()
        if now == self._left and not self.spoilt:
            return ""
        problem = self.spoilt or self._moved(now)
        what = "" if problem else self._written(now)
        if what and (self._unsure or committed() or self._checkpointed()):
            self._take()
        elif what:
            self.spoil(what)
        return problem or self.spoilt

    def _take(self) -> tuple[list[_Mark], str]:
        """Take them as they are unless one is moved; return them, and whether."""
        # In this order: a checkpoint that writes after the look ends after it, too.
        checkpoints = self._index.checkpoints()
        now = self._look()
        moved = self._moved(now)
        if not moved:
            self._left, self._checkpoints = now, checkpoints
            self._unsure = False
            self._inodes = [mark and mark[:2] for mark in now]
        return now, moved

    def _checkpointed(self) -> bool:
        come, to_come = found = self._index.checkpoints()
        return come != to_come or found != self._checkpoints

    def moved(self) -> str:
        """Return which of them is not in its place any more, with the remedy, or ""."""
        return self._moved(self._look())

    def spoil(self, what: str) -> None:
        """Take note of what was done to their content."""
        self.spoilt = f"{self._name(0)} {what} while in use: {RESTORE}"

    def _look(self) -> list[_Mark]:
        # At each commit, so as few steps of Python as can be.
        marks: list[_Mark] = []
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError:
                marks.append(None)
            else:
                marks.append((found[1], found[2], found[6], found.st_mtime_ns))
        return marks

    def _moved(self, now: list[_Mark]) -> str:
        if [mark and mark[:2] for mark in now] == self._inodes:
            return ""
        for number, (old, new) in enumerate(zip(self._left, now, strict=False)):
            if old and (new is None or old[:2] != new[:2]):
                what = "replaced" if new else "removed"
                return f"{self._name(number)} was {what} while in use: {SAVE}"
        return ""

    def _written(self, now: list[_Mark]) -> str:
        for number, (old, new) in enumerate(zip(self._left, now, strict=False)):
            if old and new and old != new:
                what = "truncated" if new[2] < old[2] else "written to"
                return f"was {what}" if number == 0 else f"had its -wal {what}"
        return ""

    def _name(self, number: int) -> str:
        return os.path.basename(self._paths[number])
