"""What /proc tells of the processes that are there."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def of_each_process(file: str) -> Iterator[tuple[int, bytes]]:
    """Yield each process and what is in its `file`; one may go while we look."""
    for number in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            yield int(number), Path("/proc", number, file).read_bytes()


def command_lines() -> list[str]:
    """Return all command lines, words apart by NUL."""
    return [said.decode(errors="replace") for _, said in of_each_process("cmdline")]


def offspring(pid: int) -> list[int]:
    """Name the processes that descend from one."""
    parents = {}
    for number, stat in of_each_process("stat"):
        words = stat.rpartition(b")")[2].split()
        parents.setdefault(int(words[1]), []).append(number)
    found, known = [], [pid]
    while known:
        known = [child for one in known for child in parents.get(one, [])]
        found += known
    return found
