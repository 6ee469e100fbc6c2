"""What this process uses of the machine, by proc(5), and what its caches take."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gms_hookd.git.process import process_fields
from gms_hookd.workers.counters import Usage

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def usage() -> Usage | None:
    """Return what this process uses now; None where the kernel does not tell."""
    fields = process_fields("self")
    if not fields:
        return None
    try:
        booted = _booted()
        descriptors = len(os.listdir("/proc/self/fd"))
    except (OSError, ValueError):
        return None
    # From the state on, which is field 3 in proc(5).
    user, system, start, virtual, pages = (int(fields[n]) for n in (11, 12, 19, 20, 21))
    return Usage(
        cpu=(user + system) / TICKS,
        resident=pages * PAGE,
        virtual=virtual,
        descriptors=descriptors,
        most_descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        started=booted + start / TICKS,
    )


def _booted() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, as far as they can be read."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    walked = os.walk(folder)
    for path in (os.path.join(at, name) for at, _, names in walked for name in names):
        with suppress(OSError):  # it was removed meanwhile
            yield _regular_size(os.lstat(path))


def _regular_size(found: os.stat_result) -> int:
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
