"""sync.attempt."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from gms_hookd.git.advice import OTHER_HASH
from gms_hookd.git.cache import Cache
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.hold import Hold
from gms_hookd.git.maintenance import crowded, join_packs
from gms_hookd.git.refspec import Selection, Wanted, with_tips
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.model import Ref, RefResult, RunStatus, Undo, commit_range
from gms_hookd.sync import lfs
from gms_hookd.sync.aliases import aliases_of, found_before, found_out
from gms_hookd.sync.default_branch import DefaultBranch
from gms_hookd.sync.fetch import HEX, Fetch, RecentFetches, Served
from gms_hookd.sync.job import (
    REFUSED,
    UNCERTAIN,
    SyncJob,
    SyncResult,
    failure,
    listed,
    remembered,
    summarised,
    without_mark,
)
from gms_hookd.sync.noop import moved
from gms_hookd.sync.plan import (
    Move,
    Views,
    decide,
    deletions,
    held,
    pairs,
    with_aliases,
    within,
)
from gms_hookd.sync.push import Push
from gms_hookd.sync.pushlog import PushLog
from gms_hookd.sync.undo import decide_undo, told, wanted_of

MOST_LISTED = 200  # refs that a run's log names
SUSPECT = (ErrorKind.CORRUPT, ErrorKind.SIGNAL, ErrorKind.OTHER)


def run_attempt(run: "Attempt", act: Callable[["Attempt"], SyncResult]) -> SyncResult:
    """Act; once more if it failed for a broken cache, which is then made again."""
    try:
        return act(run)
    except GitError as error:
        if not run.repair(error):
            raise
    return act(run)


class Attempt:
    """One sync under way, at work on its cache."""

    def __init__(
        self,
        job: SyncJob,
        selection: Selection,
        cached: Cache,
        source: Remote,
        target: Remote,
        *,
        fetches: RecentFetches,
        hold: Hold,
        fetched: Callable[[], None],
        pushes: PushLog,
        lfs_mode: str = "warn",
    ) -> None:
        self._job = job
        self._fetches = fetches
        self._hold = hold
        self._fetched = fetched
        self._lfs = lfs_mode
        self._pushes = pushes
        self._push: Push | None = None
        self._selection = selection
        self._cache = cached
        self._source = source
        self._target = target
        self._default = DefaultBranch(selection, source, target)
        self._log = cached.git.limits.log
        known = ((ref, without_mark(oid)) for ref, oid in job.known.items())
        self._known = {ref: oid for ref, oid in known if oid}
        self._wanted: dict[str, Wanted] = {}
        self._latest: Views | None = None
        self._moves: tuple[Move, ...] = ()
        self._empty = False
        self._ahead: frozenset[tuple[str, str]] = frozenset()
        self._gone: set[str] = set()
        self._right: dict[str, str] = {}
        self._seen = False
        self._allowed: Mapping[str, str] | None = None

    def plan(self) -> SyncResult:
        """Class every ref against the target as it is now."""
        self._take_in()
        views = self._views(self._read())
        moves = self._decide(views)
        return self._outcome(moves, held(moves, views), planned=True)

    def sync(self) -> SyncResult:
        """Bring the target up to date, as far as the task allows."""
        self._take_in()
        views, moves = self._first_look()
        reason = held(moves, views)
        if reason and not self._is_confirmed(moves):
            return self._outcome(moves, reason)
        self._allowed = self._job.confirmed if reason else None
        push = self._push = Push(
            self._cache,
            self._target,
            self._selection,
            label=self._label(),
            again=self._again,
            verified=self._verified,
            first=self._first(views),
            pushes=self._pushes,
            run=self._job.run,
            late=[r for r, o in self._job.known.items() if o.startswith(REFUSED)],
        )
        missed = lfs.carry(
            self._cache,
            (self._source, self._target),
            moves,
            views.target.values(),
            self._lfs,
        )
        settled = self._follow_head(push.settle(moves), push, views)
        if missed and any(m.acts for m in settled):
            self._log.line(missed.warning)
        settled = [*with_aliases(settled, self._latest or views)]
        outcome = self._outcome(settled)
        return outcome._replace(retry_after=push.retry_after)

    def undo(self) -> SyncResult:
        """Put back all that a run did to the target, or nothing."""
        undo = self._undo()
        self._fetched()
        gone = self._gone_tips()
        if gone:
            ref, oid = next(iter(gone.items()))
            raise GitError(ErrorKind.POLICY, f"{ref}: {oid} is no longer in the cache")
        self._wanted = wanted_of(undo)
        moves = self._back()
        push = self._push = Push(
            self._cache,
            self._target,
            self._selection,
            label=self._label(),
            again=self._back,
            verified=self._verified,
            first=None,
            pushes=self._pushes,
            run=self._job.run,
            whole=True,
        )
        settled = told(push.settle(moves))
        return self._outcome(settled)._replace(retry_after=push.retry_after)

    def dropped(self) -> SyncResult:
        """Name what an undo would put back and the cache has no more."""
        return SyncResult(RunStatus.SUCCESS, held=self._gone_tips())

    def _undo(self) -> Undo:
        return self._job.undo or Undo(0, ())

    def _gone_tips(self) -> dict[str, str]:
        olds = {row.ref: row.old for row in self._undo().refs if row.old}
        kept = set() if self._cache.missing() else self._cache.keeps(olds.values())
        return {ref: oid for ref, oid in olds.items() if oid not in kept}

    def _back(self) -> tuple[Move, ...]:
        """Read what an undo is about, and decide."""
        undo = self._undo()
        listing = self._listing()
        self._pushes.compare(listing.refs)
        views = self._views(listing)
        return self._by(lambda seen: decide_undo(undo, seen), views)

    def _listing(self) -> Listing:
        """Read the target's refs, and which are symbolic as far as can be known."""
        marked = aliases_of(self._job.known)
        listing = self._target.listing(self._selection.at_target(marked.values()))
        dangling = self._target.dangling(self._wanted.keys() - listing.refs.keys())
        before = found_before(marked, listing)
        return replace(listing, symrefs={**listing.symrefs, **dangling, **before})

    def failed(self, error: GitError) -> SyncResult:
        """Sum up what was done before an error ended the run."""
        moves = list(self._push.settled.values()) if self._push else []
        outcome = failure(self._job, self._log, error)
        refs = listed(moves, self._pushes.record, whole=False)
        self._tell(refs)
        return outcome._replace(
            refs=refs,
            commit_range=commit_range(refs),
            known=remembered(outcome.known, moves),
            pinned=tuple(self._lost(moves)),
        )

    def probe(self) -> SyncResult:
        """Read the source's refs, map them to the target's, and read those."""
        if self._cache.missing():
            with self._hold.fetching():
                self._cache.prepare()
        served = self._source.refs(self._selection.at_source)
        head = self._source.head() if self._selection.takes_head else None
        if head in served:
            served["HEAD"] = served[head]
        self._wanted = self._selection.wanted(served)
        known = {ref: want.oid for ref, want in self._wanted.items()}
        return SyncResult(RunStatus.SUCCESS, known=known, there=self._there())

    def _there(self) -> Mapping[str, str] | None:
        """Read what matters of the target; None where a run has to tell what is wrong.

        Raises GitError for what may be over at the next look.
        """
        try:
            views = self._views(self._read())
        except GitError as error:
            if error.transient or error.kind is ErrorKind.STOPPED:
                raise
            return None
        if self._job.task.prune:
            return views.selected
        return {ref: oid for ref, oid in views.target.items() if ref in self._wanted}

    def repair(self, error: GitError) -> bool:
        """Clear up after a failure; True if that was its cause."""
        swept = self._cache.sweep()
        if error.kind not in SUSPECT or self._cache.healthy():
            return swept and error.kind is ErrorKind.LOCK
        self._log.line(f"the cache is broken ({error}): making it again")
        self._cache.remake(self._cache.object_format())
        self._job = self._job._replace(asked=None)
        return True

    def _take_in(self) -> None:
        with self._hold.fetching():
            self._cache.prepare()
            self._make_room()
            served = self._fetched_lately() or self._fetch()
        self._fetched()
        self._wanted = self._selection.wanted(served.refs)
        self._empty = served.empty
        self._ahead = frozenset(served.ahead)

    def _make_room(self) -> None:
        if not crowded(self._cache.path):
            return
        with self._cache.at_once() as alone:
            if alone:
                join_packs(self._cache)

    def _fetched_lately(self) -> Served | None:
        """Give what another run's fetch brought, if that began after this was due."""
        specs = self._selection.fetched()
        served = self._fetches.recall(self._cache.path, specs, self._job)
        if not served or not served.refs.items() <= self._cache.source_refs().items():
            return None
        self._log.line("the source was fetched since this was asked for: not again")
        return served

    def _fetch(self) -> Served:
        served = Fetch(self._selection, self._cache, self._source).served()
        specs = self._selection.fetched()
        self._fetches.note(self._cache.path, specs, self._job, served)
        return served

    def _first_look(self) -> tuple[Views, tuple[Move, ...]]:
        """Class by what is remembered; by what the target has where that is not sure.

        A remembered tip is as good as a read one for a push, whose lease proves it,
        but not for a refusal. Where nothing is pushed nothing is proved, so a target
        on this machine, which costs next to nothing, is glanced at, and another one is
        read if what is remembered is too old.
        """
        if self._has_memory():
            views = self._views(Listing(self._known))
            moves = self._decide(views)
            if self._trusts_memory(moves):
                return views, moves
        views = self._views(self._read())
        return views, self._decide(views)

    def _trusts_memory(self, moves: Sequence[Move]) -> bool:
        """Whether memory is enough for what is to be done."""
        if any(m.result is RefResult.REJECTED for m in moves):
            return False
        if self._target.access.url.local:
            return True
        self._seen = sum(m.acts for m in moves) == len(self._wanted) > 0
        enough = self._seen or self._job.trusted
        return enough and not _parted(moves, self._known)

    def _has_memory(self) -> bool:
        job = self._job
        if not job.known or job.task.prune or job.verify:
            return False
        if self._pushes.open:
            return False
        known = {ref: job.known.get(ref, "") for ref in self._wanted}
        if any(oid.startswith(UNCERTAIN) for oid in known.values()):
            return False
        tips = {ref: without_mark(oid) for ref, oid in known.items()}
        return not moved(self._target.access.url, tips)

    def _read(self) -> Listing:
        listing = self._listing()
        found = listing.refs
        length = HEX[self._cache.object_format()]
        if any(len(oid) != length for oid in found.values()):
            raise GitError(ErrorKind.CONFIG, f"target: {OTHER_HASH}")
        self._seen = True
        self._pushes.compare(found)
        self._gone = self._known.keys() - found.keys()
        wanted = self._wanted.items()
        self._right = {r: w.oid for r, w in wanted if found.get(r) == w.oid}
        self._right |= {
            ref: UNCERTAIN + oid
            for ref, oid in self._known.items()
            if ref not in self._wanted and found.get(ref, oid) != oid
        }
        return listing

    def _is_confirmed(self, moves: Sequence[Move]) -> bool:
        """Tell whether a person has seen all of the plan that a guard would hold."""
        confirmed = self._job.confirmed
        if confirmed is None or within(moves, confirmed) != tuple(moves):
            return False
        return bool(deletions(moves)) or not confirmed

    def _again(self) -> tuple[Move, ...]:
        return within(self._decide(self._views(self._read())), self._allowed)

    def _views(self, target: Listing) -> Views:
        self._latest = Views(
            self._wanted,
            target.refs,
            self._known,
            self._job.task.prune,
            self._selection,
            self._empty,
            target.symrefs,
            target.blind,
        )
        return self._latest

    def _decide(self, views: Views) -> tuple[Move, ...]:
        kin = self._cache.kin(pairs(views), self._ahead)
        return self._by(lambda seen: decide(seen, kin), views)

    def _by(
        self, decide_: Callable[[Views], tuple[Move, ...]], views: Views
    ) -> tuple[Move, ...]:
        """Decide; on all refs with tips alike where the target tells no aliases."""
        self._moves = decide_(views)
        tips = {m.old for m in self._moves if m.acts and m.old}
        if views.blind and tips and self._selection.at_target().lines:
            alike = self._target.refs(with_tips(tips))
            self._latest = replace(views, target={**alike, **views.target})
            self._moves = decide_(self._latest)
        return self._moves

    def _verified(self, done: list[Move]) -> list[Move]:
        if self._latest is None:
            return done
        return found_out(done, self._moves, self._latest, self._target, self._cache)

    def _first(self, views: Views) -> str | None:
        """Name the branch that an empty target should see first, to make it default."""
        if views.target or len(self._wanted) < 2:
            return None
        if not self._target.access.url.local:
            self._log.line("note: the first branch pushed becomes the target's default")
        return self._default.at_target(self._wanted)

    def _follow_head(self, moves: list[Move], push: Push, views: Views) -> list[Move]:
        """Set HEAD of a local target; the old default branch can go only after that."""
        ask = self._job.verify or not views.target
        if not self._default.follow(moves, self._wanted, ask=ask):
            return moves
        kept = [m for m in moves if m.ref not in self._wanted and not m.acts]
        if not self._job.task.prune or not kept:
            return moves
        gone = [
            Move(m.ref, RefResult.DELETED, m.old, None)
            for m in kept
            if m.result is RefResult.UNCHANGED
        ]
        return [m for m in moves if m not in kept] + push.settle(gone)

    def _label(self) -> str:
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        return f"{self._job.task.id}/{stamp}.{int(now * 1000) % 1000:03d}Z"

    def _outcome(
        self, moves: Sequence[Move], guard: str = "", *, planned: bool = False
    ) -> SyncResult:
        outcome = summarised(
            self._job,
            moves,
            guard,
            planned=planned,
            record=self._pushes.record,
            pinned=self._lost(moves),
            right=self._right,
            gone=self._gone,
        )
        if outcome.status is RunStatus.SUCCESS:
            outcome = outcome._replace(seen=self._seen)
        self._tell(outcome.refs)
        if outcome.error_message:
            self._log.line(f"{outcome.status}: {outcome.error_message}")
        return outcome

    def _tell(self, refs: Sequence[Ref]) -> None:
        told = [row for row in refs if row.result is not RefResult.UNCHANGED]
        for row in (told or refs)[:MOST_LISTED]:
            self._log.line(_ref_line(row))

    def _lost(self, moves: Iterable[Move]) -> list[tuple[str, str, str]]:
        """Return what the target lost: ref, object id, where it is kept."""
        push = self._push
        if push is None:
            return []
        pins = [push.pins[m.ref] for m in moves if m.acts and m.ref in push.pins]
        return [(pin.ref, pin.oid, pin.kept) for pin in pins]


def _parted(moves: Iterable[Move], known: Mapping[str, str]) -> bool:
    """Whether refs that had one tip are to have several.

    One of them may have become an alias of the other since they were read.
    """
    after = {**known, **{m.ref: m.new for m in moves if m.acts}}
    ends: dict[str, set[str | None]] = {}
    for ref, oid in known.items():
        ends.setdefault(oid, set()).add(after[ref])
    return any(len(tips) > 1 for tips in ends.values())


def _ref_line(row: Ref) -> str:
    old, new = (oid[:10] if oid else "none" for oid in (row.old, row.new))
    why = f" ({row.reason})" if row.reason else ""
    return f"{row.result} {row.ref} {old} -> {new}{why}"
