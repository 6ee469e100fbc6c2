"""What a run notes in its cache's lock file, for whoever comes after a crash.

The file is empty after a clean end. Otherwise it says which process was at work, which
git it had started, and which local repository that git was writing to. The lock itself
is gone with its process, for no child inherits it; a git that goes on alone is found by
what is noted, and by a variable that its environment has.


What a git that was killed leaves in a repository: locks and half-written files.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gms_hookd.git.process import Limits, born, is_alive, running_processes

LARGEST = 65536  # bytes
MARK = "GMS_SYNC_RUN"  # a variable in the environment of every git


class CrashRecord(NamedTuple):
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

    def __init__(self, held: int, before: CrashRecord | None = None) -> None:
        own = os.getpid()
        made = CrashRecord(own, born(own), os.urandom(8).hex())
        if before:
            made = made._replace(writing=before.writing, since=before.since)
        self._held = held
        self.entry = made
        self._write()

    @property
    def environ(self) -> dict[str, str]:
        """Return what the environment of every git of this run has."""
        return {MARK: self.entry.mark}

    def started(self, git: int, writing: str | None) -> None:
        """Note a git, and the local repository that it writes to, if it does."""
        self.entry = self.entry._replace(git=git)
        if writing:
            self.entry = self.entry._replace(writing=writing, since=time.time())
        self._write()

    def written(self) -> None:
        """Note that what was written to is left as it should be."""
        self.entry = self.entry._replace(writing="")
        self._write()

    def clear(self) -> None:
        """Note that all ended well."""
        os.ftruncate(self._held, 0)

    def _write(self) -> None:
        text = json.dumps(self.entry._asdict()).encode() + b"\n"
        os.pwrite(self._held, text, 0)
        os.ftruncate(self._held, len(text))


def read(held: int) -> CrashRecord | None:
    """Return what the last run noted in a lock file; None after a clean end."""
    try:
        return CrashRecord(**json.loads(os.pread(held, LARGEST, 0).partition(b"\n")[0]))
    except (ValueError, TypeError):
        return None


def orphans(entry: CrashRecord | None, gitdir: Path) -> set[int]:
    """Return the process groups of gits that outlived who started them for gitdir.

    A group is known by its number, or, where its process was killed before it could
    note that, by the command line of its leader. What a hook has put into a session of
    its own is not ours to end.
    """
    if entry is None or is_alive(entry.owner, entry.owner_born):
        return set()
    mark = os.fsencode(f"{MARK}={entry.mark}")
    place = os.fsencode(f"--git-dir={gitdir}")
    found = set()
    for pid, group in running_processes():
        ours = group == entry.git or (group == pid and place in _words(pid, "cmdline"))
        if ours and mark in _words(pid, "environ"):
            found.add(group)
    return found


def end(groups: Iterable[int]) -> None:
    """Kill process groups; dying takes them a moment."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _words(pid: int, what: str) -> list[bytes]:
    """Return the words of a process's `cmdline` or `environ`, [] if it is not ours."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0")
    except OSError:
        return []


STALE = (".lock", "packed-refs.new")
HALF_WRITTEN = ("tmp_", ".tmp-", "incoming-")
DEAD_AFTER = 1.0  # seconds


def of_a_push(entry: CrashRecord, limits: Limits) -> None:
    """Remove what is left in a local target that a push of ours died on.

    Nobody can tell whose a lock is; but one that is as old as that push, and is still
    there after a second, and open nowhere, is not held by a git at work.
    """
    target = Path(entry.writing)
    if not entry.writing or not (target / "refs").is_dir():
        return
    stale = {path: _changed(path) for path in of_a_git(target, empty=False)}
    if not stale or limits.stop.wait(DEAD_AFTER):
        return  # there is no time: the next run sees to it
    for path, changed in stale.items():
        # Not by its age: the clock may have been set since.
        left = _changed(path) == changed and changed >= entry.since - DEAD_AFTER
        if left and not _in_use(path):
            _try_to_remove(path, limits)


def _try_to_remove(path: Path, limits: Limits) -> None:
    """Remove it if we may: a run that did its work does not fail for it."""
    try:
        remove(path)
    except OSError as error:
        limits.log.line(f"left by our killed push, remove it by hand: {error}")
    else:
        limits.log.line(f"removed what our killed push left: {path}")


def of_a_git(gitdir: Path, *, empty: bool = True) -> Iterator[Path]:
    """Find them all; with empty also refs that a power cut has emptied."""
    yield from entries(gitdir, ends=STALE)
    for folder in ("objects", "objects/pack"):
        yield from entries(gitdir / folder, begins=HALF_WRITTEN)
    for at, _, names in os.walk(gitdir / "objects/info"):
        yield from (Path(at, name) for name in names if name.endswith(".lock"))
    yield from _of_refs(gitdir / "refs", empty=empty)


def entries(
    folder: Path, begins: tuple[str, ...] = ("",), ends: tuple[str, ...] = ("",)
) -> list[Path]:
    """Return what a folder has by the begins and ends of names; [] if it is none."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / n for n in names if n.startswith(begins) and n.endswith(ends)]


def of_a_fetch(gitdir: Path, refs: str) -> Iterator[Path]:
    """Find the locks of what only a fetch writes: refs below a name, and their file."""
    yield from entries(gitdir, ends=STALE)
    yield from _of_refs(gitdir / refs, empty=True)


def age(path: Path) -> float:
    """Tell how many seconds ago it was changed; what is not there is very old."""
    return time.time() - _changed(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is still there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _of_refs(refs: Path, *, empty: bool) -> Iterator[Path]:
    walked = os.walk(os.fsencode(refs))
    for path in (os.path.join(at, name) for at, _, names in walked for name in names):
        if path.endswith(b".lock") or (empty and not os.path.getsize(path)):
            yield Path(os.fsdecode(path))


def _in_use(path: Path) -> bool:
    """Whether a process that we may look at has it open, or was given that folder."""
    folder = os.fsencode(path.name) if path.is_dir() else None
    return any(_uses(p, str(path), folder) for p in Path("/proc").glob("[0-9]*"))


def _uses(process: Path, path: str, folder: bytes | None) -> bool:
    with contextlib.suppress(OSError):
        if folder and folder in (process / "environ").read_bytes():
            return True
        names = (os.readlink(fd) for fd in (process / "fd").iterdir())
        return any(f"{name}/".startswith(f"{path}/") for name in names)
    return False


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
