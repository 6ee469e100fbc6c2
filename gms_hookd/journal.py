"""What a run notes in its cache's lock file, for whoever comes after a crash.

The file is empty after a clean end. Otherwise it says which process was at work, which
git it had started, and which local repository that git was writing to.
"""

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

LARGEST = 65536  # bytes
DEAD = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of a run; processes are named by number and time of birth."""

    owner: int
    owner_born: str
    git: int = 0
    git_born: str = ""
    since: float = 0.0
    writing: str = ""


def write(held: int, *, git: int = 0, writing: str | None = None) -> None:
    """Note in a held lock file what is under way; without writing that part stays."""
    own = os.getpid()
    last = _parsed(os.pread(held, LARGEST, 0)) if writing is None else None
    since, target = time.time(), writing or ""
    if last and last.writing:
        since, target = last.since, last.writing
    entry = Entry(own, born(own), git, born(git) if git else "", since, target)
    text = json.dumps(asdict(entry)).encode() + b"\n"
    os.pwrite(held, text, 0)
    os.ftruncate(held, len(text))


def clear(held: int) -> None:
    """Note that all ended well."""
    os.ftruncate(held, 0)


def read(path: Path) -> Entry | None:
    """Read what the last run noted; None after a clean end."""
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


def _parsed(text: bytes) -> Entry | None:
    try:
        return Entry(**json.loads(text.partition(b"\n")[0]))
    except (ValueError, TypeError):
        return None


def end_orphan(entry: Entry | None) -> bool:
    """Kill a git that outlived the process that had started it."""
    if entry is None or not entry.git or _lives(entry.owner, entry.owner_born):
        return False
    if not _lives(entry.git, entry.git_born):
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(entry.git, signal.SIGKILL)
    return True


def born(pid: int) -> str:
    """Tell when a process was started, in the kernel's ticks; "" if it is gone."""
    fields = _fields(str(pid))
    return fields[19] if fields else ""


def group_lives(group: int) -> bool:
    """Tell whether a process of the group lives; dead ones may wait to be reaped."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    processes = (_fields(path.name) for path in Path("/proc").glob("[0-9]*"))
    return any(p and p[2] == str(group) and p[0] not in DEAD for p in processes)


def _fields(pid: str) -> list[str]:
    """Read what proc(5) tells of a process, from its state on; [] if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _lives(pid: int, birth: str) -> bool:
    return bool(birth) and born(pid) == birth
