"""Keeps caches small: packs put together, old backups dropped, unused ones removed.

Low-priority work, alone on each cache, which makes way as soon as a run wants it.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gms_hookd.git import recovery
from gms_hookd.git.cache import BACKUPS, MARK, Cache
from gms_hookd.git.cache_lock import Holds, slot_files
from gms_hookd.git.command import Git
from gms_hookd.git.errors import GitError
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.process import Limits, Stop
from gms_hookd.git.recovery import Journal
from gms_hookd.runlog import RunLog

PACKS_JOINED = 20  # packs beyond which the small ones are put together
PACKS_WHOLE = 50  # packs beyond which all is put together
# Packs beyond which a run joins them itself. One more costs each sync 0.07 ms of CPU,
# for each of its gits opens them all; to join 30 costs 12 ms.
CROWDED = 30
WEEK = 7 * 86400.0
LONGEST = 3600.0  # seconds for one cache
_CACHE = late_pattern(r"([0-9a-f]{64})(\.new|\.old|\.broken-(\d+))?")
_STAMP = late_pattern(rf"{BACKUPS}\d+/(\d{{8}}T\d{{6}})")


@dataclass(eq=False, repr=False)
class CacheMaintenance:
    """Maintains the caches when asked to; runs have the right of way."""

    caches: Path
    holds: Holds
    git: Callable[[Path, Journal, Limits], Git]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _at_work: dict[Path, Stop] = field(default_factory=dict, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)
    _over: bool = field(default=False, init=False)

    def make_way(self, path: Path) -> None:
        """Break off work on a cache, for a run that wants it."""
        with self._lock:
            stop = self._at_work.get(path)
        if stop:
            stop.set("a run wants the cache")

    def end(self) -> None:
        """Break off all work, for good."""
        with self._lock:
            self._over = True
            stops = list(self._at_work.values())
        for stop in stops:
            stop.set("shutdown")

    def turn(self, used: Collection[str], backups: float | None) -> None:
        """See to every cache; used names those that tasks have, by their keys.

        Backups stay so many seconds; with None nothing at all is deleted.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            for path in sorted(self.caches.iterdir()):
                self._see_to(path, used, backups)
        finally:
            self._turn.release()

    def _see_to(self, path: Path, used: Collection[str], backups: float | None) -> None:
        name = _CACHE.fullmatch(path.name)
        if not name or self._over:
            return
        if name[1] in used and not name[2]:
            self._maintain(path, backups)
        elif backups is None:
            return
        elif name[2]:
            self._leftover(path, name[1], name[3], backups)
        else:
            self._remove(path)

    def _leftover(
        self, path: Path, key: str, broken: str | None, backups: float
    ) -> None:
        if broken and time.time() - int(broken) < backups:
            return
        with self.holds.maintenance(self.caches / key) as held:
            if held is not None:
                shutil.rmtree(path, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        with self.holds.maintenance(path) as held:
            if held is None:
                return
            shutil.rmtree(path, ignore_errors=True)
            for slot in list(slot_files(path)):
                slot.unlink(missing_ok=True)
            for pushed in path.parent.glob(f"{path.name}.push-*"):
                pushed.unlink()

    def _maintain(self, path: Path, backups: float | None) -> None:
        # A GitError: broken off, or broken, and the next run sees to it.
        with suppress(GitError), self._noted(path) as stop:
            limits = Limits(time.monotonic() + LONGEST, stop, RunLog(), low=True)
            with self.holds.maintenance(path) as held:
                self._maintain_held(path, held, limits, backups)

    def _maintain_held(
        self, path: Path, held: Journal | None, limits: Limits, backups: float | None
    ) -> None:
        if held is not None:
            maintain(Cache(self.git(path, held, limits)), backups)

    @contextmanager
    def _noted(self, path: Path) -> Iterator[Stop]:
        """Give what a run, or the end, stops the work on this cache by."""
        stop = Stop()
        with self._lock:
            self._at_work[path] = stop
            if self._over:
                stop.set("shutdown")
        try:
            yield stop
        finally:
            with self._lock:
                del self._at_work[path]


def maintain(cached: Cache, backups: float | None) -> None:
    """Do what is due for one cache; raises GitError."""
    if backups is not None:
        _drop_old_pins(cached, time.time() - backups)
    packs = _packs(cached.path)
    cached.pack_refs()
    mark = cached.path / MARK
    due = packs > PACKS_WHOLE or recovery.age(mark) > WEEK
    if due and backups is not None:
        _pack_all(cached)
        mark.touch()
    elif packs > PACKS_JOINED:
        join_packs(cached)


def _pack_all(cached: Cache) -> None:
    cached.git.ask("gc", "--quiet", "--prune=now")
    _drop_large_files(cached)


def join_packs(cached: Cache) -> None:
    """Put the small packs together; cheap, whatever the size of the large ones."""
    cached.git.ask("repack", "-d", "-q", "-l", "--geometric=2")


def crowded(path: Path) -> bool:
    """Whether a cache has so many packs that a run should join some itself."""
    return _packs(path) > CROWDED


def _drop_old_pins(cached: Cache, before: float) -> None:
    limit = time.strftime("%Y%m%dT%H%M%S", time.gmtime(before))
    names = [
        name
        for name in cached.backups()
        if (found := _STAMP.match(name)) and found[1] < limit
    ]
    if names:
        lines = b"".join(b"delete " + os.fsencode(n) + b"\n" for n in names)
        cached.git.ask("update-ref", "--stdin", stdin=lines)


def _drop_large_files(cached: Cache) -> None:
    """Remove LFS objects that no run has brought for a week; their source has them."""
    for path in (cached.path / "lfs" / "objects").glob("*/*/*"):
        if recovery.age(path) > WEEK:
            path.unlink(missing_ok=True)


def _packs(path: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(n.endswith(".pack") for n in os.listdir(path / "objects" / "pack"))
    return 0
