"""What a run notes in its cache's lock file, for whoever comes after a crash.

The file is empty after a clean end. Otherwise it says which process was at work, which
git it had started, and which local repository that git was writing to. The lock itself
is gone with its process, for no child inherits it; a git that goes on alone is found by
what is noted, and by a variable that its environment has.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

LARGEST = 65536  # bytes
DEAD = ("Z", "X")
MARK = "GMS_SYNC_RUN"  # a variable in the environment of every git


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of a run; its process is named by number and time of birth."""

    owner: int
    owner_born: str
    mark: str
    git: int = 0
    since: float = 0.0
    writing: str = ""


class Journal:
    """The entry of one run, in the lock file that it holds open.

    What an earlier one had left unfinished in a local repository is still noted.
    """

    def __init__(self, held: int, before: Entry | None = None) -> None:
        own = os.getpid()
        made = Entry(own, born(own), os.urandom(8).hex())
        if before:
            made = replace(made, writing=before.writing, since=before.since)
        self._held = held
        self.entry = made
        self._write()

    @property
    def environ(self) -> dict[str, str]:
        """Return what the environment of every git of this run has."""
        return {MARK: self.entry.mark}

    def started(self, git: int, writing: str | None) -> None:
        """Note a git, and the local repository that it writes to, if it does."""
        entry = replace(self.entry, git=git)
        if writing:
            entry = replace(entry, writing=writing, since=time.time())
        self.entry = entry
        self._write()

    def written(self) -> None:
        """Note that what was written to is left as it should be."""
        self.entry = replace(self.entry, writing="")
        self._write()

    def clear(self) -> None:
        """Note that all ended well."""
        os.ftruncate(self._held, 0)

    def _write(self) -> None:
        text = json.dumps(asdict(self.entry)).encode() + b"\n"
        os.pwrite(self._held, text, 0)
        os.ftruncate(self._held, len(text))


def read(held: int) -> Entry | None:
    """Return what the last run noted in a lock file; None after a clean end."""
    try:
        return Entry(**json.loads(os.pread(held, LARGEST, 0).partition(b"\n")[0]))
    except (ValueError, TypeError):
        return None


def orphans(entry: Entry | None, gitdir: Path) -> set[int]:
    """Return the process groups of gits that outlived who started them for gitdir.

    A group is known by its number, or, where its process was killed before it could
    note that, by the command line of its leader. What a hook has put into a session of
    its own is not ours to end.
    """
    if entry is None or _lives(entry.owner, entry.owner_born):
        return set()
    mark = os.fsencode(f"{MARK}={entry.mark}")
    place = os.fsencode(f"--git-dir={gitdir}")
    found = set()
    for pid, group in _alive():
        ours = group == entry.git or (group == pid and place in _words(pid, "cmdline"))
        if ours and mark in _words(pid, "environ"):
            found.add(group)
    return found


def end(groups: Iterable[int]) -> None:
    """Kill process groups; dying takes them a moment."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def born(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; "" if it is dead."""
    fields = _fields(str(pid))
    return fields[19] if fields and fields[0] not in DEAD else ""


def group_lives(group: int) -> bool:
    """Return whether a process of the group lives; dead ones may wait to be reaped."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(of == group for _, of in _alive())


def _alive() -> list[tuple[int, int]]:
    """Return the number and the process group of each process that is not dead."""
    names = [path.name for path in Path("/proc").glob("[0-9]*")]
    found = ((name, _fields(name)) for name in names)
    return [(int(name), int(f[2])) for name, f in found if f and f[0] not in DEAD]


def _fields(pid: str) -> list[str]:
    """Return what proc(5) tells of a process, from its state on; [] if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _words(pid: int, what: str) -> list[bytes]:
    """Return the words of a process's `cmdline` or `environ`, [] if it is not ours."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0")
    except OSError:
        return []


def _lives(pid: int, birth: str) -> bool:
    return bool(birth) and born(pid) == birth
