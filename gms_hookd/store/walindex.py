"""How far checkpoints have come, as the -shm says it (sqlite.org/walformat.html, 2.2).

A checkpoint of another process writes into the file without a commit: only this tells
it from somebody's writing there.
"""

import os
from pathlib import Path

_FOLDER = "/proc/self/fd"
_END = 136  # WalCkptInfo: nBackfill at 96, nBackfillAttempted at 128, each 4 bytes


class WalIndex:
    """The -shm, read by the descriptor that sqlite has it open with.

    To open and close it ourselves would drop the locks that sqlite has on it in this
    process (sqlite.org/howtocorrupt.html, 2.2).
    """

    def __init__(self, path: Path) -> None:
        self._name = f"{os.path.realpath(path)}-shm"
        self._descriptor = -1

    def reopen(self) -> None:
        """Find the descriptor, once a connection has the file open."""
        self._descriptor = next(filter(self._is_ours, _descriptors()), -1)

    def read(self) -> bytes:
        """Return its begin, for `checkpoints`; b"" where it cannot be read."""
        try:
            return os.pread(self._descriptor, _END, 0)
        except OSError:
            return b""

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.readlink(f"{_FOLDER}/{descriptor}") == self._name
        except OSError:
            return False


def checkpoints(index: bytes) -> tuple[bytes, bytes]:
    """Return to which frame checkpoints have come, and to which they were to come.

    They differ while one is under way. Both are b"" where it could not be read.
    """
    return index[96:100], index[128:132]


def _descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_FOLDER)]
    except OSError:
        return []
