"""Pushes moves to a target until each is settled: done, refused, or no longer due."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gms_hookd.git.cache import BACKUPS
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.push import (
    AT_ONCE,
    AT_ONCE_HERE,
    WHOLE,
    Report,
    in_parts,
    push,
    push_specs,
    pushes,
)
from gms_hookd.git.refs import Pushed, has_object
from gms_hookd.git.refspec import stored
from gms_hookd.model import UNKNOWN, Ref, RefResult
from gms_hookd.sync.aliases import NOT_THERE, by_ends, ends, told_by_host
from gms_hookd.sync.bisection import FEW, Search, Seen
from gms_hookd.sync.context import SyncContext
from gms_hookd.sync.job import REFUSED, to_restore
from gms_hookd.sync.plan import UNSAID, Move, judged, judged_together, refused
from gms_hookd.sync.undo import in_phases, reverse

ROUNDS = 4  # times that a target is read again because it moved under a push
AFTERMATH = 15.0  # seconds to find out what became of a push that was cut off
STOPPED_FOR = 5.0  # seconds for that where the run was stopped
# Who refuses so has taken nothing.
UNSENT = (ErrorKind.AUTH, ErrorKind.PROXY, ErrorKind.CONFIG)
RAISED = (ErrorKind.STOPPED, ErrorKind.GIT, ErrorKind.CORRUPT, ErrorKind.TRUST)
MASS = AT_ONCE  # new and forward refs beyond which they are pushed by glob
PLAIN = (RefResult.CREATED, RefResult.UPDATED)
LOST = (RefResult.FORCED, RefResult.DELETED)
ENDED = (ErrorKind.TIMEOUT, ErrorKind.STALL, ErrorKind.STOPPED)  # by ourselves
# The host's git ended without a report, while the way there held.
_DIED = late_pattern(r"unexpected disconnect while reading|aborted by hook")
_CUT = late_pattern(r"(?im)rpc failed|^(connection|client_loop|mux_|packet_|timeout)")
# A host, or a filter before it, that judges a request by its size or content.
_OF_REQUEST = late_pattern(r"RPC failed; HTTP (400|403|413|422|451)\b")
# Of one history at the target, which keeps no other from being kept.
OF_OBJECTS = (ErrorKind.UNSAFE, ErrorKind.CORRUPT, ErrorKind.OTHER)
MOVED = "the target moved while its old tip was kept"
ATOMIC = "--atomic"  # all of a push is taken, or nothing
NOT_ATOMIC = "does not support --atomic"
BEFORE = "atomic push failed before it"
Again = Callable[[], tuple[Move, ...]]
Verified = Callable[[list[Move], Mapping[str, str]], list[Move]]


@dataclass(frozen=True, slots=True)
class Pin:
    """A tip that the target had, and the ref of the cache that keeps it."""

    ref: str
    oid: str
    kept: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a push: settled moves, and those to be looked at again.

    together are those of the settled ones that may be declined for another's sake;
    named are the refs that the host has spoken of. Where it is cut no more can be had.
    barred are those that an alias of theirs, which came along, has kept from arriving.
    """

    done: list[Move]
    unsure: list[Move] = field(default_factory=list)
    together: list[Move] = field(default_factory=list)
    named: frozenset[str] = frozenset()
    cut: bool = False
    barred: list[Move] = field(default_factory=list)

    def followed_by(self, other: "_Sent") -> "_Sent":
        """Return what became of two pushes, the second one of what was barred."""
        return _Sent(
            self.done + other.done,
            self.unsure + other.unsure,
            self.together + other.together,
            self.named | other.named,
            other.cut,
        )


class Push:
    """One run's way to its target; `again` reads the target and decides again.

    Where it is `whole`, all arrives or nothing, if the host can do that. `absent` is
    why the target could not be read where it may come to be by the push.
    """

    def __init__(
        self,
        context: SyncContext,
        *,
        label: str,
        again: Again,
        verified: Verified,
        seen_made: Verified,
        first: str | None,
        absent: GitError | None = None,
        whole: bool = False,
    ) -> None:
        self._cache = context.cache
        self._target = context.target
        self._selection = context.selection
        self._pushes = context.pushes
        self._log = context.log
        self._label = label
        self._again = again
        self._verified = verified
        self._seen_made = seen_made
        self._first, self._absent, self._whole = first, absent, whole
        self._run, self._repeated = context.job.run, context.job.attempt > 1
        known = context.job.known.items()
        self._late = frozenset(ref for ref, oid in known if oid.startswith(REFUSED))
        self._searching = False  # for what the target declines of what it was sent
        self._told: dict[str, str] = {}  # aliases that the host has told of
        self._made: dict[str, Move] = {}  # created, and not looked at yet
        self.settled: dict[str, Move] = {}
        self.pins: dict[str, Pin] = {}
        self.retry_after: float | None = None

    def settle(self, moves: Sequence[Move]) -> list[Move]:
        """Carry out what is to be done; tell what became of every ref.

        Where it raises, `settled` has what became of some before that.
        """
        refs = dict.fromkeys(m.ref for m in moves)
        others = self.settled.keys() - refs.keys()
        self._settle(m for m in moves if not m.acts)
        self._carry_out([m for m in moves if m.acts])
        found = (ref for ref in self.settled if ref not in others)
        return [self.settled[ref] for ref in refs | dict.fromkeys(found)]

    def _carry_out(self, moves: list[Move]) -> None:
        for _ in range(ROUNDS):
            if not moves:
                return
            moves = self._seen_again(self._push(self._pinned(moves)))
        why = "the target moved each time"
        self._settle(refused(m, why, transient=True) for m in moves)

    def or_none(self, moves: Sequence[Move]) -> list[Move]:
        """Take back what was done where not all could be; tell what became of it.

        A host that takes no push whole, or not a ref in the place of another at once,
        has taken a part.
        """
        done = [m for m in moves if m.acts]
        bad = [m for m in moves if m.declined or m.result is RefResult.REJECTED]
        if not done or not bad or any(m.unknown for m in bad):
            return list(moves)
        self._log.line("not all could be done: taking back what was")
        back: set[str] = set()
        for part in in_phases([reverse(m) for m in done]):
            lines = self._pushed_whole(part).lines
            back |= {m.ref for m in part if judged(m, lines.get(m.ref)) == (m, True)}
        self._pushes.take_back(back)
        self._settle(refused(m, BEFORE) for m in done if m.ref in back)
        return [self.settled[m.ref] for m in moves]

    def _settle(self, moves: Iterable[Move]) -> None:
        self.settled.update((m.ref, m) for m in moves)

    def _push(self, moves: Sequence[Move]) -> list[Move]:
        """Settle moves; return those that are to be looked at again."""
        unsure = [m for m in moves if m.reason == MOVED]
        self._settle(m for m in moves if not m.acts and m.reason != MOVED)
        tried, done = [m for m in moves if not m.acts], set[str]()
        for part in self._phases([m for m in moves if m.acts]):
            if self._whole and not all(m.ref in done for m in tried):
                unsure += [replace(m, reason=BEFORE) for m in part]
                continue
            sent = self._recorded(part, self._pushed)
            if sent.together and not self._whole:
                sent = self._apart(part, sent)
            self._settle(sent.done)
            unsure += sent.unsure
            tried += part
            done.update(m.ref for m in sent.done if m.acts)
        self._look_at_made()
        return unsure

    def _look_at_made(self) -> None:
        """Settle what was created by where it is: once for all pushes, for it costs.

        A host that said so of a ref that is not there is not believed of others.
        """
        if not any(m.reason == NOT_THERE for m in self._seen(self._made.values())):
            return
        told = [m for m in self.settled.values() if m.acts]
        self._pushes.take_back({m.ref for m in told})
        self._seen(told)

    def _seen(self, moves: Iterable[Move]) -> list[Move]:
        made = list(moves)
        if not made:
            return []
        try:
            judged = self._seen_made(made, self._told)
        except GitError as error:
            self._raise_final((), error)
            self.retry_after = error.retry_after or self.retry_after
            judged = [_unseen(m, error) for m in made]
        self._made.clear()
        self._settle(judged)
        self._pushes.end(self._row(m) for m in judged if not m.unknown)
        return judged

    def _recorded(
        self, part: Sequence[Move], push: Callable[[Sequence[Move]], Report]
    ) -> "_Sent":
        """Push, and record what is to be done before that, and what was after it."""
        self._pushes.begin(map(self._row, part))
        sent = self._judged(part, push(part))
        self._made.update((m.ref, m) for m in self._to_be_seen(sent.done))
        known = [m for m in sent.done if not (m.unknown or m.ref in self._made)]
        declined = [refused(m, "") for m in sent.unsure if not self._may_be_ours(m)]
        self._pushes.end(map(self._row, (*known, *declined)))
        self._settle(sent.done)
        if sent.barred:
            return sent.followed_by(self._recorded(sent.barred, push))
        return sent

    def _to_be_seen(self, done: Sequence[Move]) -> list[Move]:
        """Return what may not be where it was to be.

        It may be another ref that was created, which no host tells; or none. On this
        machine files tell that for next to nothing, and of every ref.
        """
        url = self._target.access.url
        if not url.local:
            return [m for m in done if m.result is RefResult.CREATED]
        acting = {m.ref: m.new or "" for m in done if m.acts}
        if not acting or has_object(url.path, acting):
            return []
        return [m for m in done if m.acts]

    def _row(self, move: Move) -> Ref:
        """Return what to record of a move: what was lost, with how to restore it."""
        kept = move.acts and move.ref in self.pins
        reason = self._to_restore(move) if kept else move.reason
        return Ref(move.ref, move.result, move.old, move.new, reason)

    def _to_restore(self, move: Move) -> str:
        """Return where a lost tip is kept, and the command that brings it back."""
        kept = f"old tip kept at {self.pins[move.ref].kept}"
        return f"{kept}; {to_restore(self._run, move.ref)}"

    def _judged(self, part: Sequence[Move], report: Report) -> "_Sent":
        """Read what became of a push, of all its parts."""
        if report.error:
            return self._broken_off(part, report.error, some=bool(report.lines))
        left, elsewhere = _kept_elsewhere(part, report.taken_as)
        left, aliases, barred = self._without_aliases(left, report)
        lines, why = report.lines, report.refusals
        one = len(left) == 1
        verdicts = [
            self._verdict(m, *judged(m, lines.get(m.ref), why.get(m.ref), alone=one))
            for m in left
        ]
        settled = [verdict for verdict, settled in verdicts if settled]
        done = self._verified(settled, self._told)
        unsure = [verdict for verdict, settled in verdicts if not settled]
        together = _declined_together(part, done, lines)
        settled = [*done, *aliases, *elsewhere]
        return _Sent(settled, unsure, together, report.named, barred=barred)

    def _without_aliases(
        self, part: Sequence[Move], report: Report
    ) -> tuple[Sequence[Move], list[Move], list[Move]]:
        """Part off the aliases that the host tells of, and what they stand for."""
        refs = {m.ref for m in part}
        bad = {ref for ref in refs & report.lines.keys() if report.lines[ref].by_host}
        told = {ref: real for ref, real in report.symrefs.items() if ref in bad}
        if self._whole or not told:
            return part, [], []
        self._told.update(told)
        reals = set(told.values()) - told.keys()
        aliases = [told_by_host(m, told[m.ref]) for m in part if m.ref in told]
        barred = [m for m in part if m.ref in reals & bad]
        left = [m for m in part if m.ref not in told and m.ref not in reals & bad]
        return left, aliases, barred

    def _verdict(self, move: Move, found: Move, settled: bool) -> tuple[Move, bool]:
        """Return what became of a move, and whether the host is to be believed.

        Of a whole push that was sent twice each ref is declined the second time, in
        words that are those of a lock.
        """
        if self._whole and found.transient:
            return replace(move, reason=found.reason, transient=True), False
        return found, settled

    def _apart(self, part: Sequence[Move], sent: "_Sent") -> "_Sent":
        """Push again what was declined together, to find what really is declined."""
        together = [m.ref for m in sent.together]
        self._log.line(f"{len(together)} refs were declined as one: trying them apart")
        moves, verdicts = {m.ref: m for m in part}, {m.ref: m for m in sent.done}
        unsure, search = list(sent.unsure), Search(together, sent.named)
        cut, self._searching = False, True
        while search.todo and not cut:
            todo = [moves[ref] for ref in search.todo]
            found = self._recorded(todo, self._pushed_under_leases)
            unsure += found.unsure
            verdicts.update((m.ref, m) for m in found.done)
            bad = [m.ref for m in found.done if m.declined or m.unknown]
            search.saw(Seen(bad, found.named))
            cut = found.cut
        self._searching = False
        if not search.fruitless:
            untried = (verdicts[ref] for ref in search.open)
            verdicts.update((m.ref, _to_be_tried(m)) for m in untried)
        open_ = {m.ref for m in unsure}
        return _Sent([m for r, m in verdicts.items() if r not in open_], unsure)

    def _phases(self, moves: Sequence[Move]) -> list[Sequence[Move]]:
        """Put deletions first, for feat/one needs feat's place, then the default.

        What the target declined the last time comes last, each on its own if few.
        """
        if self._whole:
            return in_phases(moves)
        parts: list[list[Move]] = [[], [], [], []]
        for move in moves:
            if move.ref not in self._late:
                parts[self._phase(move)].append(move)
        if not self._is_mass(parts[3]):
            parts[2:] = [parts[2] + parts[3]]
        return [part for part in (*parts, *self._late_parts(moves)) if part]

    def _late_parts(self, moves: Sequence[Move]) -> list[list[Move]]:
        late = sorted((m for m in moves if m.ref in self._late), key=self._phase)
        size = 1 if len(late) <= FEW else len(late)
        return [late[n : n + size] for n in range(0, len(late), size)]

    def _phase(self, move: Move) -> int:
        if move.result is RefResult.DELETED:
            return 0
        if move.ref == self._first:
            return 1
        plain = move.result in PLAIN and self._selection.origin_by_glob(move.ref)
        return 3 if plain else 2

    def _is_mass(self, moves: Sequence[Move]) -> bool:
        return len(moves) > MASS and all(m.result in PLAIN for m in moves)

    def _pushed(self, part: Sequence[Move]) -> Report:
        if self._whole:
            return self._pushed_whole(part)
        # The refs that the cache has by now may be those of another run's fetch, and
        # none must go along that is not due: git's push obeys no negative refspecs.
        origins = {m.ref: self._selection.origin(m.ref) or "" for m in part}
        named = {origins[m.ref]: m.new or "" for m in part}
        if not self._is_mass(part) or self._selection.carried(named) != origins.keys():
            return self._pushed_under_leases(part)
        at_once = AT_ONCE_HERE if self._target.access.url.local else AT_ONCE
        return in_parts(part, partial(self._pushed_by_glob, origins), at_once)

    def _pushed_under_leases(self, part: Sequence[Move]) -> Report:
        return in_parts(part, partial(push, self._target))

    def _pushed_by_glob(
        self, origins: Mapping[str, str], part: Sequence[Move]
    ) -> Report:
        tips = {stored(origins[m.ref]): m.new or "" for m in part}
        with self._cache.view(tips) as seen:
            apart = replace(self._target, git=seen.git)
            specs = self._selection.forward()
            return push_specs(apart, specs, [m.ref for m in part])

    def _pushed_whole(self, part: Sequence[Move]) -> Report:
        if len(part) > WHOLE:
            return self._pushed_under_leases(part)
        report = push(self._target, part, ATOMIC)
        if report.error is None or NOT_ATOMIC not in report.error.stderr:
            return report
        self._log.line("note: this host takes refs only one by one")
        return self._pushed_under_leases(part)

    def _seen_again(self, unsure: Sequence[Move]) -> list[Move]:
        if not unsure:
            return []
        self._log.line("the target is not as expected: reading it again")
        tried = {m.ref: m for m in unsure}
        moves = self._again()
        now = {m.ref: m for m in moves if m.ref in tried}
        open_ = [m for m in moves if m.ref not in tried and self._is_news(m)]
        for ref, move in tried.items():
            if settled := self._settled_by_now(move, now.get(ref)):
                self.settled[ref] = settled
            else:
                open_.append(now[ref])
        self._settle(m for m in open_ if not m.acts)
        return [m for m in open_ if m.acts]

    def _settled_by_now(self, move: Move, now: Move | None) -> Move | None:
        """Return what became of a move, by what is due now; None if it is open."""
        if now is None or now.result is RefResult.UNCHANGED:
            return self._found_done(move)
        same = replace(move, reason=None, transient=False)
        return _same_again(move) if now == same else None

    def _is_news(self, move: Move) -> bool:
        """Tell whether a ref that was remembered to be as it should be is not so."""
        before = self.settled.get(move.ref)
        untouched = before is None or before.result is RefResult.UNCHANGED
        due = move.result not in (RefResult.UNCHANGED, RefResult.DELETED)
        return due and untouched and not move.alias

    def _found_done(self, move: Move) -> Move:
        if self._may_be_ours(move):
            return replace(move, reason=None, transient=False)
        return Move(move.ref, RefResult.UNCHANGED, move.new, move.new)

    def _may_be_ours(self, move: Move) -> bool:
        """Tell whether we may have done what the target does not say, or declines.

        Where a kept connection breaks before an answer libcurl sends the request again;
        what the first one did then stands in the way of the second.
        """
        repeats = self._target.access.url.scheme in ("http", "https")
        return move.reason == UNSAID or repeats

    def _broken_off(
        self, part: Sequence[Move], error: GitError, *, some: bool
    ) -> _Sent:
        """Look at what arrived of a push that broke off, before more is sent.

        some: of some refs the host has spoken.
        A git that died of one ref, at the host, has left out those that follow.
        """
        self._raise_final(part, error)
        self.retry_after = error.retry_after or self.retry_after
        sent = some or error.kind not in UNSENT
        arrived = self._arrived(part, AFTERMATH) if sent else []
        there = {m.ref for m in arrived or ()}
        died = arrived is not None and _died(error)
        apart = arrived is not None and (died or self._is_of_request(error))
        said = _of_dead_git(error) if died else error
        left = [self._cut_off(m, said, arrived) for m in part if m.ref not in there]
        # Of what failed alone nothing is remembered: the next run may have the right.
        several = self._searching or len(left) > 1 or error.kind is ErrorKind.POLICY
        if apart and not error.transient and several:
            left = [replace(m, declined=True, unknown=False) for m in left]
        together = left if apart and len(left) > 1 else []
        return _Sent([*(arrived or ()), *left], together=together, cut=not apart)

    def _is_of_request(self, error: GitError) -> bool:
        """Tell whether a smaller request may fare better, or what one ref brings.

        What passes is waited for first; a host that says for how long will be better.
        """
        if not self._repeated or error.kind in ENDED or error.retry_after:
            return bool(_OF_REQUEST.search(error.stderr))
        return "RPC failed" in error.stderr and error.kind not in UNSENT

    def _raise_final(self, part: Sequence[Move], error: GitError) -> None:
        """Raise what ends the run, once it is known what had arrived."""
        if error.kind is ErrorKind.STOPPED:
            self._record_arrived(part, error)
        if error.kind in RAISED:
            raise error
        if self._absent and error.kind is ErrorKind.MISSING:
            raise self._absent

    def _record_arrived(self, part: Sequence[Move], error: GitError) -> None:
        arrived = self._arrived([*self._made.values(), *part], STOPPED_FOR)
        if arrived is None:
            self._settle(self._cut_off(m, error, arrived) for m in part)
            return
        self._pushes.end(map(self._row, arrived))
        self._settle(arrived)

    def _cut_off(
        self, move: Move, error: GitError, arrived: Collection[Move] | None
    ) -> Move:
        """Refuse a move that has not arrived, or of which nobody knows."""
        reason, sent = str(error), error.kind not in UNSENT
        if arrived is None:
            reason += f"; {UNKNOWN}"
        if arrived is None and move.ref in self.pins:
            reason += f"; if it did, {self._to_restore(move)}"
        return refused(move, reason, transient=error.transient, unknown=sent)

    def _arrived(self, moves: Sequence[Move], seconds: float) -> list[Move] | None:
        """Return what the target has as wanted; None without an answer.

        It is asked although the time of the run is over, or the run was stopped.
        """
        target = self._target.within(time.monotonic() + seconds)
        try:
            now = target.listing(self._selection.at_target())
        except GitError as error:
            self._log.line(f"what arrived is unknown: {error}")
            return None
        done = (m for m in moves if now.refs.get(m.ref) == m.new)
        return by_ends(done, ends(now.symrefs), self._run)

    def _pinned(self, moves: Sequence[Move]) -> list[Move]:
        """Keep in the cache what the target is about to lose."""
        lost = {m.ref: m.old for m in moves if m.result in LOST and m.old}
        if not lost:
            return list(moves)
        pins = {r: Pin(r, oid, self._kept(r)) for r, oid in lost.items()}
        absent = self._cache.lacks(lost.values())
        self._cache.pin({p.kept: p.oid for p in pins.values() if p.oid not in absent})
        bad = self._bring(p for p in pins.values() if p.oid in absent)
        self.pins.update((r, p) for r, p in pins.items() if r not in bad)
        return [_unkept(m, bad[m.ref]) if m.ref in bad else m for m in moves]

    def _bring(self, pins: Iterable[Pin]) -> dict[str, GitError]:
        """Fetch old tips that only the target has; tell which could not be had."""
        wanted = {p.ref: p for p in pins}
        bad = self._fetched(wanted.values()) if wanted else {}
        search = Search(list(wanted)) if len(bad) > 1 else None
        while search and (tried := search.todo):
            why = bad.get(tried[0])
            if why is None or why.kind not in OF_OBJECTS:
                break
            failed = self._fetched([wanted[ref] for ref in tried])
            bad = {ref: bad[ref] for ref in bad.keys() - set(tried)} | failed
            search.saw(Seen(failed))
        return bad

    def _fetched(self, pins: Collection[Pin]) -> dict[str, GitError]:
        """Fetch old tips, all or none of them; tell why where that was not done."""
        try:
            self._target.fetch([f"+{p.ref}:{p.kept}" for p in pins])
        except GitError as error:
            return dict.fromkeys((p.ref for p in pins), _not_kept(error))
        self._cache.harden(p.kept for p in pins)
        moved = (p for p in pins if self._cache.ref(p.kept) != p.oid)
        return {p.ref: GitError(ErrorKind.LOCK, MOVED) for p in moved}

    def _kept(self, ref: str) -> str:
        return f"{BACKUPS}{self._label}/{ref.removeprefix('refs/')}"


def _declined_together(
    part: Sequence[Move], done: Sequence[Move], lines: Mapping[str, Pushed]
) -> list[Move]:
    """Return what may be declined for the sake of another one of the same push."""
    sent = ({m.ref for m in some} for some in pushes(part))
    each = ([m for m in done if m.ref in refs] for refs in sent)
    return [m for some in each for m in judged_together(some, lines)]


def _kept_elsewhere(
    part: Sequence[Move], taken_as: Mapping[str, str]
) -> tuple[Sequence[Move], list[Move]]:
    """Part off what the host has put in another ref's place, say for a review."""
    said = "the target took it as {}, not as {}"
    elsewhere = [
        replace(refused(m, said.format(taken_as[m.ref], m.ref)), declined=True)
        for m in part
        if m.ref in taken_as
    ]
    return [m for m in part if m.ref not in taken_as], elsewhere


def _died(error: GitError) -> bool:
    """Tell whether the host's git ended in the midst, and nothing else did."""
    cut = error.kind in ENDED or _CUT.search(error.stderr)
    return bool(_DIED.search(error.stderr)) and not cut


def _of_dead_git(error: GitError) -> GitError:
    """Say what happened where neither git nor the host had words for it."""
    if error.kind is not ErrorKind.NETWORK:
        return error
    why = "the host's git ended without a report, its log may tell why"
    return GitError(error.kind, f"{error}; {why}", error.stderr)


def _not_kept(error: GitError) -> GitError:
    gone = error.kind is ErrorKind.MISSING  # deleted since, one of them at least
    said = MOVED if gone else f"its old tip could not be kept: {error}"
    return GitError(error.kind, said)


def _unseen(move: Move, error: GitError) -> Move:
    """Leave open what was created where it could not be looked at."""
    reason, passing = f"{error}; {UNKNOWN}", error.transient
    return refused(move, reason, transient=passing, unknown=True)


def _to_be_tried(move: Move) -> Move:
    """Let the next attempt go on with what there were too many of."""
    return replace(move, transient=True, declined=False)


def _unkept(move: Move, error: GitError) -> Move:
    return refused(move, str(error), transient=error.transient)


def _same_again(move: Move) -> Move:
    """Refuse a move that the target turned down although nothing stands against it."""
    reason = move.reason or "the target did not take it"
    busy = "lock" in reason and "exists;" not in reason
    return refused(move, reason, transient=busy or move.transient)
