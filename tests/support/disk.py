"""A small disk, which can be filled, made slow, and made to stand still.

As root: ext4 on a loop device, or a tmpfs where that is not allowed. Else a folder.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE = 96 << 20  # bytes
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878  # linux/fs.h: _IOWR('X', 119, int) and 120
THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device")  # cgroup v1
WRITES = 40  # a second, on the slow disk: an fsync of ext4 takes some four
SLOW = 0.02  # seconds that an fsync takes there at least


class Disk:
    """What is under `path`, a folder that is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.is_small = not os.geteuid() and (self._mounted() or self._in_memory())
        self.can_freeze = self.is_small and self._freezes()
        self.can_be_slow = self.can_freeze and self._slows()

    def _mounted(self) -> bool:
        """Mount ext4 from a file, if that is allowed."""
        image = self.path.with_name(f"{self.path.name}.img")
        with image.open("wb") as file:
            file.truncate(SIZE)
        made = ran("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        return made and ran("mount", "-o", "loop", str(image), str(self.path))

    def _in_memory(self) -> bool:
        options = f"size={SIZE}"
        return ran("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path))

    def _freezes(self) -> bool:
        with suppress(OSError), self.frozen():
            return True
        return False

    def _slows(self) -> bool:
        with suppress(OSError), self.slow():
            return self._fsync() > SLOW
        return False

    def _fsync(self) -> float:
        """Return how long the second of two writes takes (seconds)."""
        probe = self.path / "probe"
        with probe.open("wb", 0) as file:
            for _ in range(2):
                began = time.monotonic()
                file.write(b"x")
                os.fsync(file.fileno())
        probe.unlink()
        return time.monotonic() - began

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room."""
        filler = self.path / "filler"
        block = bytes(1 << 16)
        try:
            with suppress(OSError), filler.open("wb", 0) as file:
                while file.write(block):
                    pass
            yield
        finally:
            filler.unlink()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have every write wait until the end. OSError where it cannot be."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FIFREEZE, 0)
            try:
                yield
            finally:
                fcntl.ioctl(folder, FITHAW, 0)
        finally:
            os.close(folder)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Let only WRITES reach the disk each second. OSError where it cannot be."""
        number = self.path.stat().st_dev
        device = f"{os.major(number)}:{os.minor(number)}"
        THROTTLE.write_text(f"{device} {WRITES}")
        try:
            yield
        finally:
            THROTTLE.write_text(f"{device} 0")

    def close(self) -> None:
        """Unmount it."""
        place = str(self.path)
        if self.is_small and not ran("umount", place):
            ran("umount", "-l", place)


def ran(*command: str) -> bool:
    """Run a command; return whether it did what it is for."""
    try:
        return not subprocess.call(command, stderr=subprocess.DEVNULL)
    except OSError:
        return False


def overwrite(path: Path, at: int, content: bytes) -> None:
    """Damage a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
