"""Brings what the source serves into its cache, and repairs what stands in the way.

One fetch for all the runs of a cache that were asked for before it began.

What was asked, and when, shows in the numbers of deliveries, which only grow: no
clock, which can be set, decides whether a trigger is answered with an older state.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gms_hookd.git.cache import Cache
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.refs import has_few
from gms_hookd.git.refspec import CACHED, Scope, Selection, stored
from gms_hookd.git.remote import Remote
from gms_hookd.sync.job import SyncJob

HEX = {"sha1": 40, "sha256": 64}
LISTED, ASKED = "listed", "asked"  # how the refs of a host are had
LEEWAY, SLACK = 1.5, 0.05  # times, and seconds, that v0 may take longer than v2
_FORMAT = late_pattern("hash algorithm|mismatched algorithms|object format")
# STORE_REF_ERROR_DF_CONFLICT in builtin/fetch.c; git 2.55 has no other words for it.
_BARRED = "some local refs could not be updated"
MANY_NEW = 2000  # refs beyond which one fetch by glob is quicker
FEW = 500  # refs that a repository on this machine may list at each fetch
VERY_MANY = 3000  # refs that are better compared here than by each fetch
TRIES = 5  # a fetch is tried again after each thing that was repaired


@dataclass(frozen=True, slots=True)
class Served:
    """The refs that the source serves now, of those selected; by its own names."""

    refs: dict[str, str]
    empty: bool
    ahead: tuple[tuple[str, str], ...] = ()  # (old, new) that git found in order


class Fetch:
    """One fetch, with a remedy for each known fault; each remedy is tried once."""

    def __init__(self, selection: Selection, cached: Cache, source: Remote) -> None:
        self._selection = selection
        self._cache = cached
        self._source = source
        self._specs = selection.fetched()
        self._seen: dict[str, str] | None = None
        self._cures = [
            self._rewound,
            self._missing,
            self._format,
            self._in_the_way,
            self._stale_lock,
        ]

    def served(self) -> Served:
        """Fetch, and tell what there is; raises GitError."""
        if self._selection.only_globs and len(self._cache.source_refs()) >= VERY_MANY:
            return self._by_difference()
        before = self._careful()
        self._fetch_surely()
        if not self._selection.single:
            self._cache.pack_refs()
        refs = self._cached()
        if self._seen is None:
            return Served(refs, not refs, self._in_order(before, refs))
        refs = {r: o for r, o in refs.items() if r in self._seen}
        return Served(refs, empty=not self._seen and self._is_empty())

    def _fetch_surely(self) -> None:
        self._fetch()
        if not self._cached() and self._seen is None and self._refs():
            self._fetch()  # what looked like an empty repository was none

    def _refs(self) -> dict[str, str]:
        return self._source.refs(self._selection.at_source)

    def _by_difference(self) -> Served:
        """Ask for the list of refs, and fetch those that are not here yet.

        Of very many refs git compares each at every fetch, which takes longer.
        """
        listed = self._refs()
        selected = {w.source: w.oid for w in self._selection.wanted(listed).values()}
        have = self._cache.source_refs()
        new = [r for r, oid in selected.items() if have.get(r) != oid]
        gone = [r for r in have if r not in selected and self._selection.takes(r)]
        if len(new) + len(gone) > MANY_NEW:
            return self._by_glob()
        self._cache.drop(gone)
        self._specs = tuple(f"+{r}:{stored(r)}" for r in new)
        self._fetch()
        served = selected if self._seen is None else self._seen
        for ref in new:
            selected[ref] = self._cache.source_ref(ref) or ""
        refs = {r: oid for r, oid in selected.items() if oid and r in served}
        return Served(refs, not refs)

    def _by_glob(self) -> Served:
        self._fetch()
        self._cache.pack_refs()
        refs = self._cached()
        return Served(refs, not refs)

    def _careful(self) -> dict[str, str]:
        """Let git itself find out whether a single ref moves forward only.

        Without "+" a fetch refuses all else, and costs no more.
        """
        before = self._cached() if self._selection.single else {}
        if before:
            self._specs = tuple(s.removeprefix("+") for s in self._specs)
        return before

    def _in_order(
        self, before: dict[str, str], after: dict[str, str]
    ) -> tuple[tuple[str, str], ...]:
        plain = not any(s.startswith("+") for s in self._specs)
        return tuple((o, after[r]) for r, o in before.items() if plain and r in after)

    def _rewound(self, error: GitError) -> bool:
        if "(non-fast-forward)" not in error.stderr:
            return False
        self._specs = self._selection.fetched()
        return True

    def _cached(self) -> dict[str, str]:
        single = self._selection.single
        if single is None:
            return self._cache.source_refs()
        oid = self._cache.source_ref(single.src)
        return {single.src: oid} if oid else {}

    def _fetch(self) -> None:
        for _ in range(TRIES):
            if not self._specs or self._asked():
                return
        raise GitError(
            ErrorKind.HOST, "the source changes faster than it can be fetched"
        )

    def _asked(self) -> bool:
        """Ask; False where what stood in the way was removed, for another try."""
        try:
            self._ask()
        except GitError as error:
            self._cure(error)
            return False
        return True

    def _ask(self) -> None:
        """Fetch by protocol v0 where that is quicker, by v2 elsewhere.

        By v0 a host lists all its refs unasked, which spares a round trip; by v2 it is
        asked for those that are wanted. Where it has very many others v0 takes far
        longer, so once a week it is tried for hardly longer than v2 takes.
        """
        url, how = self._source.access.url, self._cache.listing()
        if url.local or how == LISTED:
            return self._by(listed=not url.local or has_few(url.path, FEW))
        if how not in (None, ASKED) and self._listed_in_time(how):
            return None
        due = how is None and bool(self._cached())
        began = time.monotonic()
        self._by(listed=False)
        if due:
            self._cache.note_listing(f"{time.monotonic() - began:.3f}")
        return None

    def _listed_in_time(self, usual: str) -> bool:
        """Try v0, for not much longer than the usual seconds of v2."""
        now, end = time.monotonic(), self._cache.git.limits.deadline
        until = now + LEEWAY * float(usual) + SLACK
        try:
            self._by(listed=True, until=min(until, end))
        except GitError as error:
            if error.kind is not ErrorKind.TIMEOUT or time.monotonic() >= end:
                raise
            self._cache.note_listing(ASKED)
            return False
        self._cache.note_listing(LISTED)
        return True

    def _by(self, *, listed: bool, until: float | None = None) -> None:
        source = self._source if until is None else self._source.until(until)
        source.fetch(self._specs, "--prune", listed=listed)

    def _cure(self, error: GitError) -> None:
        for cure in self._cures:
            if cure(error):
                self._cures.remove(cure)
                return
        raise error

    def _missing(self, error: GitError) -> bool:
        if "couldn't find remote ref" not in error.stderr:
            return False
        self._seen = self._refs()
        head = self._source.head() if self._selection.takes_head else None
        if head in self._seen:
            self._seen["HEAD"] = self._seen[head]
        self._specs = tuple(s for s in self._specs if self._is_served(s))
        return True

    def _is_empty(self) -> bool:
        """Whether the source has no ref at all, not only none of those selected."""
        try:
            return not self._source.refs(Scope())
        except GitError as error:
            if error.kind is not ErrorKind.SIZE:
                raise
            return False

    def _is_served(self, spec: str) -> bool:
        name = spec.removeprefix("+").partition(":")[0]
        return "*" in name or spec.startswith("^") or name in (self._seen or ())

    def _format(self, error: GitError) -> bool:
        if not _FORMAT.search(error.stderr):
            return False
        self._other_format()
        return True

    def _other_format(self) -> None:
        other = {"sha1": "sha256", "sha256": "sha1"}[self._cache.object_format()]
        self._cache.git.limits.log.line(f"the source is a {other} repository")
        self._cache.remake(other)

    def _in_the_way(self, error: GitError) -> bool:
        """Drop what another task fetched: its refs/heads/feat bars our feat/one."""
        if _BARRED not in error.stderr or f"-> {CACHED}" not in error.stderr:
            return False
        return self._cache.drop_source()

    def _stale_lock(self, error: GitError) -> bool:
        return error.kind is ErrorKind.LOCK and self._cache.sweep()


CACHES = 64  # that are remembered
SIZE = 100_000  # characters of refs and their ids, at most, of one of them


class _RecentFetch(NamedTuple):
    specs: tuple[str, ...]
    newest: int
    served: Served


class RecentFetches:
    """The last fetch of each cache; who holds the cache's lock asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[Path, _RecentFetch] = OrderedDict()

    def note(
        self, cache: Path, specs: tuple[str, ...], job: SyncJob, served: Served
    ) -> None:
        """Remember what a fetch that began in this run brought."""
        with self._lock:
            self._last.pop(cache, None)
            if job.newest and _size(served) <= SIZE:
                self._last[cache] = _RecentFetch(specs, job.newest, served)
            while len(self._last) > CACHES:
                self._last.popitem(last=False)

    def recall(
        self, cache: Path, specs: tuple[str, ...], job: SyncJob
    ) -> Served | None:
        """Give what was fetched since the run was asked for, if anything was."""
        if job.asked is None or job.verify:
            return None
        with self._lock:
            last = self._last.get(cache)
        if last is None or last.specs != specs or job.asked > last.newest:
            return None
        return last.served


def _size(served: Served) -> int:
    return sum(len(ref) + len(oid) for ref, oid in served.refs.items())
