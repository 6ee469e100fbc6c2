"""What a git that was killed leaves in a repository: locks and half-written files."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from gms_hookd.git import Limits
from gms_hookd.journal import Entry

STALE = (".lock", "packed-refs.new")
HALF_WRITTEN = ("tmp_", ".tmp-", "incoming-")
DEAD_AFTER = 1.0  # seconds


def of_a_push(entry: Entry, limits: Limits) -> None:
    """Remove what is left in a local target that a push of ours died on.

    Nobody can tell whose a lock is; but one that is as old as that push, and is still
    there after a second, and open nowhere, is not held by a git at work.
    """
    target = Path(entry.writing)
    if not entry.writing or not (target / "refs").is_dir():
        return
    stale = list(of_a_git(target, empty=False))
    limits.stop.wait(DEAD_AFTER if stale else 0)
    for path in stale:
        old = age(path) >= DEAD_AFTER and _changed(path) >= entry.since - DEAD_AFTER
        if old and not _in_use(path):
            remove(path)
            limits.log.line(f"removed what our killed push left: {path}")


def of_a_git(gitdir: Path, *, empty: bool = True) -> Iterator[Path]:
    """Find them all; with empty also refs that a power cut has emptied."""
    yield from (p for p in gitdir.iterdir() if p.name.endswith(STALE))
    for folder in (gitdir / "objects", gitdir / "objects" / "pack"):
        if folder.is_dir():
            yield from (p for p in folder.iterdir() if p.name.startswith(HALF_WRITTEN))
    yield from gitdir.glob("objects/info/**/*.lock")
    yield from _of_refs(gitdir / "refs", empty=empty)


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
    for where, _, names in os.walk(os.fsencode(refs)):
        for name in names:
            path = os.path.join(where, name)
            if name.endswith(b".lock") or (empty and not os.path.getsize(path)):
                yield Path(os.fsdecode(path))


def _in_use(path: Path) -> bool:
    """Whether a process that we may look at has it open, or a folder told to it."""
    told = os.fsencode(path.name) if path.is_dir() else None
    return any(_uses(p, str(path), told) for p in Path("/proc").glob("[0-9]*"))


def _uses(process: Path, path: str, told: bytes | None) -> bool:
    with contextlib.suppress(OSError):
        if told and told in (process / "environ").read_bytes():
            return True
        names = (os.readlink(fd) for fd in (process / "fd").iterdir())
        return any(f"{name}/".startswith(f"{path}/") for name in names)
    return False


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
