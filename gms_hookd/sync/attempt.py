"""One attempt: take in the source, look at the target, decide, push, sum up.

What a step finds is a frozen value that the next step takes: `_SourceView`, then what
the target has (`Listing`, `TargetChanges`), then `_Decision`.
"""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gms_hookd.git.advice import OTHER_HASH
from gms_hookd.git.cache import Cache
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.maintenance import crowded, join_packs
from gms_hookd.git.refspec import Selection, WantedRef, with_tips
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.model import Ref, RefResult, RunStatus, Undo, commit_range
from gms_hookd.sync import lfs, plan
from gms_hookd.sync.aliases import aliases_of, found_before, found_out, seen_made
from gms_hookd.sync.context import SyncContext
from gms_hookd.sync.create_target import Absence
from gms_hookd.sync.default_branch import DefaultBranch
from gms_hookd.sync.fetch import HEX, Fetch, Served
from gms_hookd.sync.job import (
    UNCERTAIN,
    SyncResult,
    TargetChanges,
    failure,
    listed,
    remembered,
    summarised,
    without_mark,
)
from gms_hookd.sync.noop import moved
from gms_hookd.sync.plan import Move, Views
from gms_hookd.sync.push import Again, Push
from gms_hookd.sync.undo import blamed, decide_undo, wanted_of

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


@dataclass(frozen=True, slots=True)
class _SourceView:
    """What the target should have, by what the source serves.

    ahead are (old, new) that git found in order.
    """

    wanted: Mapping[str, WantedRef] = field(default_factory=dict)
    empty: bool = False
    ahead: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Decision:
    """What was decided last, and on what views."""

    views: Views
    moves: tuple[Move, ...]


class Attempt:
    """One sync under way, at work on its cache."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context
        self._log = context.log
        self._default = DefaultBranch(context.selection, context.source, context.target)
        known = ((ref, without_mark(oid)) for ref, oid in context.job.known.items())
        self._known = {ref: oid for ref, oid in known if oid}
        self._source = _SourceView()
        self._changes = TargetChanges()
        self._seen = False
        self._writes = False
        self._absence = Absence(context.job.task, context.target, self._known)
        self._decision: _Decision | None = None
        self._allowed: Mapping[str, str] | None = None
        self._push: Push | None = None
        self._led: set[str] = set()  # aliases that were found out by what they made

    def plan(self) -> SyncResult:
        """Class every ref against the target as it is now."""
        self._source = self._take_in()
        views = self._views(self._read())
        moves = self._decide(views)
        return self._outcome(moves, plan.held(moves, views), planned=True)

    def sync(self) -> SyncResult:
        """Bring the target up to date, as far as the task allows."""
        self._source = self._take_in()
        self._writes = True
        views, moves = self._first_look()
        reason = plan.held(moves, views)
        if reason and not self._is_confirmed(moves):
            return self._outcome(moves, reason)
        self._allowed = self._context.job.confirmed if reason else None
        push = self._push = self._begin_push(self._again, self._first(views))
        missed = lfs.carry(self._context, moves, views.target.values())
        settled = self._follow_head(push.settle(moves), push, views)
        if missed and any(m.acts for m in settled):
            self._log.line(missed.warning)
        outcome = self._outcome(list(plan.with_aliases(settled, self._latest(views))))
        return outcome._replace(retry_after=push.retry_after)

    def _latest(self, views: Views) -> Views:
        """Return the views decided on last; what was found out since is left as it is.

        What a push has made through an alias shows it to who reads the target after.
        """
        latest = self._decision.views if self._decision else views
        before = latest.symrefs.items()
        symrefs = {ref: real for ref, real in before if ref not in self._led}
        return replace(latest, symrefs=symrefs)

    def undo(self) -> SyncResult:
        """Put back all that a run did to the target, or nothing."""
        undo = self._undo()
        self._context.fetched()
        gone = self._gone_tips()
        if gone:
            ref, oid = next(iter(gone.items()))
            raise GitError(ErrorKind.POLICY, f"{ref}: {oid} is no longer in the cache")
        self._source = _SourceView(wanted_of(undo))
        moves = self._back()
        push = self._push = self._begin_push(self._back, whole=True)
        settled = blamed(push.or_none(push.settle(moves)))
        return self._outcome(settled)._replace(retry_after=push.retry_after)

    def dropped(self) -> SyncResult:
        """Name what an undo would put back and the cache has no more."""
        return SyncResult(RunStatus.SUCCESS, held=self._gone_tips())

    def _undo(self) -> Undo:
        return self._context.job.undo or Undo(0, ())

    def _gone_tips(self) -> dict[str, str]:
        cache = self._context.cache
        olds = {row.ref: row.old for row in self._undo().refs if row.old}
        kept = set() if cache.missing() else cache.keeps(olds.values())
        return {ref: oid for ref, oid in olds.items() if oid not in kept}

    def _back(self) -> tuple[Move, ...]:
        """Read what an undo is about, and decide."""
        undo = self._undo()
        listing = self._listing()
        self._context.pushes.compare(listing.refs, listing.symrefs)
        return self._by(lambda seen: decide_undo(undo, seen), self._views(listing))

    def _begin_push(
        self, again: Again, first: str | None = None, *, whole: bool = False
    ) -> Push:
        return Push(
            self._context,
            label=self._label(),
            again=again,
            verified=self._verified,
            seen_made=self._seen_made,
            first=first,
            absent=self._absence.error,
            whole=whole,
        )

    def _format_to_make(self) -> str | None:
        """Name the hash of a target that is to be made, None where nothing is done."""
        return self._context.cache.object_format() if self._writes else None

    def failed(self, error: GitError) -> SyncResult:
        """Sum up what was done before an error ended the run."""
        moves = list(self._push.settled.values()) if self._push else []
        outcome = failure(self._context.job, self._log, error)
        refs = listed(moves, self._context.pushes.record, whole=False)
        self._tell(refs)
        return outcome._replace(
            refs=refs,
            commit_range=commit_range(refs),
            known=remembered(outcome.known, moves),
            pinned=tuple(self._lost(moves)),
        )

    def probe(self) -> SyncResult:
        """Read the source's refs, map them to the target's, and read those."""
        cache, source = self._context.cache, self._context.source
        if cache.missing():
            with self._context.hold.fetching():
                cache.prepare()
        served = _served_now(source, self._context.selection)
        self._source = _SourceView(self._context.selection.wanted(served))
        known = {ref: want.oid for ref, want in self._source.wanted.items()}
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
        if views.prune:
            return views.selected
        return {r: oid for r, oid in views.target.items() if r in views.wanted}

    def repair(self, error: GitError) -> bool:
        """Clear up after a failure; True if that was its cause."""
        context = self._context
        swept = context.cache.sweep()
        if error.kind not in SUSPECT or context.cache.healthy():
            return swept and error.kind is ErrorKind.LOCK
        self._log.line(f"the cache is broken ({error}): making it again")
        context.cache.remake(context.cache.object_format())
        self._context = replace(context, job=context.job._replace(asked=None))
        return True

    def _take_in(self) -> _SourceView:
        with self._context.hold.fetching():
            self._context.cache.prepare()
            _make_room(self._context.cache)
            served = self._fetched_lately() or self._fetch()
        self._context.fetched()
        wanted = self._context.selection.wanted(served.refs)
        return _SourceView(wanted, served.empty, frozenset(served.ahead))

    def _fetched_lately(self) -> Served | None:
        """Give what another run's fetch brought, if that began after this was due."""
        cache, specs = self._context.cache, self._context.selection.fetched()
        served = self._context.fetches.recall(cache.path, specs, self._context.job)
        if not served or not served.refs.items() <= cache.source_refs().items():
            return None
        self._log.line("the source was fetched since this was asked for: not again")
        return served

    def _fetch(self) -> Served:
        context, selection = self._context, self._context.selection
        served = Fetch(selection, context.cache, context.source).served()
        context.fetches.note(
            context.cache.path, selection.fetched(), context.job, served
        )
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
            local = self._context.target.access.url.local
            acting = sum(m.acts for m in moves)
            self._seen = not local and acting == len(views.wanted) > 0
            if self._trusts_memory(moves):
                return views, moves
        views = self._views(self._read())
        return views, self._decide(views)

    def _trusts_memory(self, moves: Sequence[Move]) -> bool:
        """Whether memory is enough for what is to be done."""
        if any(m.result is RefResult.REJECTED for m in moves):
            return False
        if self._context.target.access.url.local:
            return True
        enough = self._seen or self._context.job.trusted
        return enough and not _parted(moves, self._known)

    def _has_memory(self) -> bool:
        job = self._context.job
        if not job.known or job.task.prune or job.verify:
            return False
        if self._context.pushes.open:
            return False
        known = {ref: job.known.get(ref, "") for ref in self._source.wanted}
        if any(oid.startswith(UNCERTAIN) for oid in known.values()):
            return False
        tips = {ref: without_mark(oid) for ref, oid in known.items()}
        return not moved(self._context.target.access.url, tips)

    def _listing(self) -> Listing:
        """Read the target's refs, and which are symbolic as far as can be known."""
        target = self._context.target
        marked = aliases_of(self._context.job.known)
        scope = self._context.selection.at_target([*marked, *marked.values()])
        try:
            listing = target.listing(scope)
        except GitError as error:
            listing = self._absence.empty(error, self._format_to_make())
        dangling = target.dangling(self._source.wanted.keys() - listing.refs.keys())
        before = self._found_before(marked, listing)
        return replace(listing, symrefs={**listing.symrefs, **dangling, **before})

    def _found_before(
        self, marked: Mapping[str, str], listing: Listing
    ) -> Mapping[str, str]:
        """Return the remembered aliases that still may be some.

        One that leads nowhere is told by no host, so a person has to say that it is no
        more: by hand it is tried.
        """
        if self._context.target.access.url.local:
            return {}
        found = found_before(marked, listing)
        gone = [ref for ref, real in found.items() if real not in listing.refs]
        if self._context.job.by_hand:
            return {ref: real for ref, real in found.items() if ref not in gone}
        for ref in gone:
            self._log.line(
                f"note: {ref} was an alias of {found[ref]}; {self._by_hand()}"
            )
        return found

    def _by_hand(self) -> str:
        name = shlex.quote(self._context.job.task.name)
        return f"if it is no more: `gms-hookd task sync {name}`"

    def _read(self) -> Listing:
        """Read the target, and note what of it we knew otherwise."""
        listing = self._listing()
        found = listing.refs
        length = HEX[self._context.cache.object_format()]
        if any(len(oid) != length for oid in found.values()):
            raise GitError(ErrorKind.CONFIG, f"target: {OTHER_HASH}")
        self._seen = True
        self._context.pushes.compare(found, listing.symrefs)
        self._changes = self._compared(found)
        return listing

    def _compared(self, found: Mapping[str, str]) -> TargetChanges:
        known, wanted = self._known, self._source.wanted
        right = {r: w.oid for r, w in wanted.items() if found.get(r) == w.oid}
        right |= {
            ref: UNCERTAIN + oid
            for ref, oid in known.items()
            if ref not in wanted and found.get(ref, oid) != oid
        }
        return TargetChanges(right, known.keys() - found.keys())

    def _is_confirmed(self, moves: Sequence[Move]) -> bool:
        """Tell whether a person has seen all of the plan that a guard would hold."""
        confirmed = self._context.job.confirmed
        if confirmed is None or plan.within(moves, confirmed) != tuple(moves):
            return False
        return bool(plan.deletions(moves)) or not confirmed

    def _again(self) -> tuple[Move, ...]:
        return plan.within(self._decide(self._views(self._read())), self._allowed)

    def _views(self, target: Listing) -> Views:
        return Views(
            self._source.wanted,
            target.refs,
            self._known,
            self._context.job.task.prune,
            self._context.selection,
            self._source.empty,
            target.symrefs,
            target.blind,
        )

    def _decide(self, views: Views) -> tuple[Move, ...]:
        kin = self._context.cache.kin(plan.pairs(views), self._source.ahead)
        return self._by(lambda seen: plan.decide(seen, kin), views)

    def _by(
        self, decide_: Callable[[Views], tuple[Move, ...]], views: Views
    ) -> tuple[Move, ...]:
        """Decide, on all refs with tips alike where the target tells no aliases.

        The last decision is kept, for what is pushed is verified by it.
        """
        moves = decide_(views)
        tips = {m.old or m.new or "" for m in moves if m.acts}
        if views.blind and tips and self._context.selection.at_target().lines:
            alike = self._context.target.refs(with_tips(tips))
            views = replace(views, target={**alike, **views.target})
            moves = decide_(views)
        self._decision = _Decision(views, moves)
        return moves

    def _verified(self, done: list[Move], told: Mapping[str, str]) -> list[Move]:
        decision, context = self._decision, self._context
        if decision is None:
            return done
        moves, views = decision.moves, decision.views.with_symrefs(told)
        return found_out(done, moves, views, context.target, context.job.run)

    def _seen_made(self, made: list[Move], told: Mapping[str, str]) -> list[Move]:
        decision, context = self._decision, self._context
        if decision is None:
            return made
        moves, views = decision.moves, decision.views.with_symrefs(told)
        judged = seen_made(made, moves, views, context.target, context.job.run)
        self._led.update(m.ref for m in judged if m.alias)
        return judged

    def _first(self, views: Views) -> str | None:
        """Name the branch that an empty target should see first, to make it default."""
        if views.target or len(views.wanted) < 2:
            return None
        if not self._context.target.access.url.local:
            self._log.line("note: the first branch pushed becomes the target's default")
        return self._default.at_target(views.wanted)

    def _follow_head(self, moves: list[Move], push: Push, views: Views) -> list[Move]:
        """Set HEAD of a local target; the old default branch can go only after that."""
        ask = self._context.job.verify or not views.target
        if not self._default.follow(moves, views.wanted, ask=ask):
            return moves
        kept = [m for m in moves if m.ref not in views.wanted and not m.acts]
        if not views.prune or not kept:
            return moves
        still = [m for m in kept if m.result is RefResult.UNCHANGED]
        gone = [Move(m.ref, RefResult.DELETED, m.old, None) for m in still]
        return [m for m in moves if m not in kept] + push.settle(gone)

    def _label(self) -> str:
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        return f"{self._context.job.task.id}/{stamp}.{int(now * 1000) % 1000:03d}Z"

    def _outcome(
        self, moves: Sequence[Move], guard: str = "", *, planned: bool = False
    ) -> SyncResult:
        outcome = summarised(
            self._context.job,
            moves,
            guard,
            self._changes,
            planned=planned,
            record=self._context.pushes.record,
        )
        outcome = outcome._replace(pinned=tuple(self._lost(moves)))
        if outcome.status is RunStatus.SUCCESS:
            outcome = outcome._replace(seen=self._seen)
        self._tell(outcome.refs)
        if outcome.error_message:
            self._log.line(f"{outcome.status}: {outcome.error_message}")
        return outcome

    def _tell(self, refs: Sequence[Ref]) -> None:
        changed = [row for row in refs if row.result is not RefResult.UNCHANGED]
        for row in (changed or refs)[:MOST_LISTED]:
            self._log.line(_ref_line(row))

    def _lost(self, moves: Iterable[Move]) -> list[tuple[str, str, str]]:
        """Return what the target lost: ref, object id, where it is kept."""
        push = self._push
        if push is None:
            return []
        pins = [push.pins[m.ref] for m in moves if m.acts and m.ref in push.pins]
        return [(pin.ref, pin.oid, pin.kept) for pin in pins]


def _served_now(source: Remote, selection: Selection) -> dict[str, str]:
    """Read the refs that are selected, HEAD by the branch that it names."""
    served = source.refs(selection.at_source)
    head = source.head() if selection.takes_head else None
    if head in served:
        served["HEAD"] = served[head]
    return served


def _make_room(cache: Cache) -> None:
    if not crowded(cache.path):
        return
    with cache.at_once() as alone:
        if alone:
            join_packs(cache)


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
