"""The bare repository that belongs to one source, and the lock beside it.

Under refs/src/ is what the source served last; under refs/backup/ are the tips that
runs have overwritten or deleted at their targets.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gms_hookd import porcelain
from gms_hookd.flock import lock_file
from gms_hookd.git import Git, Limits
from gms_hookd.giterror import GitError, Kind
from gms_hookd.plan import Kin
from gms_hookd.refspec import CACHED

PATIENCE = 0.05  # seconds between two looks at a lock that another holds


@contextmanager
def locked(path: Path, limits: Limits) -> Iterator[int]:
    """Hold the lock of a cache; waits for it as long as the run may last."""
    held = lock_file(path)
    while held is None:
        if limits.stop.wait(PATIENCE):
            raise GitError(Kind.STOPPED, "stopped while waiting for the cache")
        if time.monotonic() > limits.deadline:
            raise GitError(Kind.LOCK, "the cache is in use by another process")
        held = lock_file(path)
    try:
        yield held
    finally:
        os.close(held)


def key(canonical: str) -> str:
    """Name the cache of a source."""
    return hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache, in the hands of the run that holds its lock."""

    git: Git

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.git.gitdir

    def prepare(self) -> None:
        """Make it if it is not there; a half-made one never has its name."""
        if not (self.path / "HEAD").exists():
            self.remake("sha1")

    def remake(self, object_format: str) -> None:
        """Replace it by an empty one."""
        fresh = self.path.with_name(self.path.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        options = ("-q", "--bare", "--template=", f"--object-format={object_format}")
        self.git.ask("init", *options, "--", str(fresh))
        shutil.rmtree(self.path, ignore_errors=True)
        fresh.rename(self.path)

    def source_refs(self) -> dict[str, str]:
        """Give what the source served last, by its own names."""
        prefix = CACHED.encode()
        found = _packed(self.path / "packed-refs", prefix)
        found |= _loose(self.path, prefix)
        return {_source_name(name): oid for name, oid in found.items()}

    def source_ref(self, name: str) -> str | None:
        """Give one ref of the source."""
        stored = CACHED + name.removeprefix("refs/")
        oid = _read_oid(os.path.join(self.path, stored))
        if oid is None:
            packed = _packed(self.path / "packed-refs", os.fsencode(stored))
            oid = packed.get(stored)
        return oid

    def kin(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Kin]:
        """Tell for each (old, new) how old relates to new."""
        return {(old, new): self._kin(old, new) for old, new in pairs}

    def _kin(self, old: str, new: str) -> Kin:
        forward = self._contains(new, old)
        if forward is None:
            return Kin.UNSEEN
        if forward:
            return Kin.AHEAD
        return Kin.BEHIND if self._contains(old, new) else Kin.DIVERGED

    def _contains(self, tip: str, oid: str) -> bool | None:
        done = self.git.run("merge-base", "--is-ancestor", oid, tip, quiet=True)
        if done.ended or done.status < 0:
            raise done.failure("merge-base")
        return None if done.status > 1 else done.status == 0


def _source_name(stored: str) -> str:
    name = stored.removeprefix(CACHED)
    return name if name == "HEAD" else "refs/" + name


def _read_oid(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            oid = file.read(80).strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return oid.decode("ascii") if len(oid) in (40, 64) else None


def _packed(path: Path, prefix: bytes) -> dict[str, str]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    return {
        porcelain.text(name): oid.decode("ascii")
        for oid, _, name in (line.partition(b" ") for line in lines)
        if name.startswith(prefix)
    }


def _loose(gitdir: Path, prefix: bytes) -> dict[str, str]:
    root = os.fsencode(gitdir)
    found = {}
    for where, _, names in os.walk(os.path.join(root, prefix)):
        for name in names:
            path = os.path.join(where, name)
            oid = _read_oid(os.fsdecode(path))
            if oid is not None:
                found[os.fsdecode(os.path.relpath(path, root))] = oid
    return found
