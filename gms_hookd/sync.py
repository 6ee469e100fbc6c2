"""Carries out one sync: fetch the source, class each ref, push under leases."""

import errno
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from gms_hookd import lfs
from gms_hookd.git import cache, refspec
from gms_hookd.git import url as giturl
from gms_hookd.git.access import AccessFactory, SafeDirectories, SshConnections
from gms_hookd.git.cache import Cache
from gms_hookd.git.command import Git, environment
from gms_hookd.git.credentials import Credential, CredentialStore
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.maintenance import Tidier, crowded, join_packs
from gms_hookd.git.process import Limits, Stop
from gms_hookd.git.recovery import Journal
from gms_hookd.git.refspec import Selection, Wanted
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.git.url import GitUrl
from gms_hookd.head import DefaultBranch
from gms_hookd.idle import moved, nothing_to_do
from gms_hookd.intake import Intake, Served
from gms_hookd.model import RefResult, RunStatus
from gms_hookd.order import DOUBT, Order, Outcome
from gms_hookd.outlet import Outlet, Pin
from gms_hookd.plan import (
    Move,
    Views,
    decide,
    deletions,
    held,
    pairs,
    with_aliases,
    within,
)
from gms_hookd.runlog import RunLog
from gms_hookd.safetext import one_line
from gms_hookd.shared import Fetches
from gms_hookd.summary import summarised

TOLD = 200  # refs that a run's log names
SUSPECT = (ErrorKind.CORRUPT, ErrorKind.SIGNAL, ErrorKind.OTHER)
EMPTY: Mapping[str, Pin] = {}
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all runs."""

    home: Path
    timeout: float = 600.0
    stall: float = 60.0
    allow_protocols: tuple[str, ...] = ("https", "ssh", "file")
    credentials: Sequence[Credential] = ()
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None
    backups: float = 30 * 86400.0
    file_size: int | None = 64 * 2**30
    memory: int | None = 4 * 2**30  # of one git
    binary: str = "git"
    grace: float = 5.0


def _key(source: str) -> str | None:
    try:
        return giturl.cache_key(source)
    except ValueError:
        return None


class Engine:
    """Syncs tasks; any number of threads may use it at once."""

    def __init__(
        self, caches: Path, settings: Settings, environ: Mapping[str, str]
    ) -> None:
        self._caches = caches
        self._settings = settings
        self._environ = environment(
            environ,
            settings.home,
            f"{os.getpid()}-{id(self):x}",
            settings.allow_protocols,
        )
        keys = CredentialStore(
            settings.home,
            settings.credentials,
            settings.ssh_key_file,
            settings.ssh_known_hosts,
        )
        trust = SafeDirectories(Path(self._environ["GIT_CONFIG_GLOBAL"]))
        self._doors = AccessFactory(keys, SshConnections(self._environ), trust)
        self._tidier = Tidier(caches, self._git)
        self._fetches = Fetches()

    def sync(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Do it; never raises for what git or the disk does."""
        return self._guarded(order, log, stop, _Run.sync)

    def plan(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Say what sync would do to each ref, and change nothing at the target."""
        return self._guarded(order, log, stop, _Run.plan)

    def probe(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Ask the source only; `known` is what it would have the target be."""
        return self._guarded(order, log, stop, _Run.probe)

    def _guarded(
        self, order: Order, log: RunLog, stop: Stop, act: Callable[["_Run"], Outcome]
    ) -> Outcome:
        try:
            selection = refspec.select(order.task.refspecs, force=order.task.force)
            source = self._url("source", order.task.source)
            ends = source, self._url("target", order.task.target)
            if act is _Run.sync and (same := nothing_to_do(order, selection, *ends)):
                log.line("all is as after the last sync: nothing to do")
                return same
            self._doors.trust.ready()
            limits = self._limits(order, log, stop)
            return self._locked(order, selection, ends, limits, act)
        except ValueError as error:
            return _failure(order, log, GitError(ErrorKind.CONFIG, str(error)))
        except GitError as error:
            return _failure(order, log, error)
        except OSError as error:
            kind = ErrorKind.DISK if error.errno in FULL else ErrorKind.OTHER
            return _failure(order, log, GitError(kind, str(error)))

    def _locked(
        self,
        order: Order,
        selection: Selection,
        ends: tuple[GitUrl, GitUrl],
        limits: Limits,
        act: Callable[["_Run"], Outcome],
    ) -> Outcome:
        path = self._caches / ends[0].key
        with ExitStack() as stack:
            journal = stack.enter_context(self._lock(path, limits))
            git = self._git(path, journal, limits)
            doors = (self._doors.door(u, limits, stack) for u in ends)
            options: tuple[tuple[str, ...], ...] = ((), order.task.push_options)
            remotes = [Remote(git, *pair) for pair in zip(doors, options, strict=True)]
            cached, shared = Cache(git), self._fetches
            run = _Run(order, selection, cached, *remotes, fetches=shared)
            return _mending(run, act)

    def _limits(self, order: Order, log: RunLog, stop: Stop) -> Limits:
        settings = self._settings
        deadline = time.monotonic() + (order.task.timeout or settings.timeout)
        caps = (settings.file_size, settings.memory)
        stall = settings.stall
        return Limits(deadline, stop, log, settings.grace, *caps, stall=stall)

    def _lock(self, path: Path, limits: Limits) -> AbstractContextManager[Journal]:
        lock = path.with_name(path.name + ".lock")
        return cache.locked(lock, limits, lambda: self._tidier.make_way(path))

    def _git(self, path: Path, journal: Journal, limits: Limits) -> Git:
        return Git(path, self._environ, limits, journal, self._settings.binary)

    def tidy(self, sources: Collection[str]) -> None:
        """Tidy the caches of these sources, remove all others; runs go first."""
        used = {key for source in sources if (key := _key(source))}
        self._doors.trust.ready()
        self._tidier.turn(used, self._settings.backups)

    def _url(self, side: str, text: str) -> GitUrl:
        try:
            return giturl.parse(text, self._settings.allow_protocols)
        except ValueError as error:
            raise ValueError(f"{side}: {error}") from None

    def close(self) -> None:
        """End the connections that were kept open."""
        self._tidier.end()
        self._doors.masters.close()
        self._doors.trust.close()


def _mending(run: "_Run", act: Callable[["_Run"], Outcome]) -> Outcome:
    """Act; once more if it failed for a broken cache, which is then made anew."""
    try:
        return act(run)
    except GitError as error:
        if not run.mend(error):
            raise
    return act(run)


class _Run:
    """One sync under way, in the lock of its cache."""

    def __init__(
        self,
        order: Order,
        selection: Selection,
        cached: Cache,
        source: Remote,
        target: Remote,
        *,
        fetches: Fetches,
    ) -> None:
        self._order = order
        self._fetches = fetches
        self._selection = selection
        self._cache = cached
        self._source = source
        self._target = target
        self._default = DefaultBranch(selection, source, target)
        self._log = cached.git.limits.log
        self._known = {r: o.removeprefix(DOUBT) for r, o in order.known.items()}
        self._wanted: dict[str, Wanted] = {}
        self._latest: Views | None = None
        self._empty = False
        self._ahead: frozenset[tuple[str, str]] = frozenset()
        self._gone: set[str] = set()
        self._right: dict[str, str] = {}
        self._allowed: Mapping[str, str] | None = None

    def plan(self) -> Outcome:
        """Class every ref against the target as it is now."""
        self._take_in()
        views = self._views(self._read())
        moves = self._decide(views)
        return self._outcome(moves, held(moves, views))

    def sync(self) -> Outcome:
        """Bring the target up to date, as far as the task allows."""
        self._take_in()
        views, moves = self._first_look()
        reason = held(moves, views)
        if reason and not self._is_confirmed(moves):
            return self._outcome(moves, reason)
        self._allowed = self._order.confirmed if reason else None
        outlet = Outlet(
            self._cache,
            self._target,
            self._selection,
            label=self._label(),
            again=self._again,
            first=self._first(views),
        )
        with_lfs = lfs.at_hand(self._cache.git)
        if with_lfs:
            lfs.bring(self._cache.git, self._source, self._target, moves)
        settled = self._follow_head(outlet.settle(moves), outlet, views)
        if not with_lfs:
            lfs.warn(self._cache.git, settled)
        settled = [*with_aliases(settled, self._latest or views)]
        return self._outcome(settled, pins=outlet.pins)

    def probe(self) -> Outcome:
        """Read the source's refs, and map them to the target's."""
        self._cache.prepare()
        served = self._source.refs()
        head = self._source.head() if self._selection.takes_head else None
        if head in served:
            served["HEAD"] = served[head]
        wanted = self._selection.wanted(served)
        known = {ref: want.oid for ref, want in wanted.items()}
        return Outcome(RunStatus.SUCCESS, known=known)

    def mend(self, error: GitError) -> bool:
        """Clear up after a failure; True if that was its cause."""
        swept = self._cache.sweep()
        if error.kind not in SUSPECT or self._cache.healthy():
            return swept and error.kind is ErrorKind.LOCK
        self._log.line(f"the cache is broken ({error}): making it anew")
        self._cache.remake(self._cache.object_format())
        self._order = self._order._replace(asked=None)
        return True

    def _take_in(self) -> None:
        self._cache.prepare()
        if crowded(self._cache.path):
            join_packs(self._cache)
        served = self._fetched_lately() or self._fetch()
        self._wanted = self._selection.wanted(served.refs)
        self._empty = served.empty
        self._ahead = frozenset(served.ahead)

    def _fetched_lately(self) -> Served | None:
        """Give what another run's fetch brought, if that began after this was due."""
        specs = self._selection.fetched()
        served = self._fetches.recall(self._cache.path, specs, self._order)
        if not served or not served.refs.items() <= self._cache.source_refs().items():
            return None
        self._log.line("the source was fetched since this was asked for: not again")
        return served

    def _fetch(self) -> Served:
        served = Intake(self._selection, self._cache, self._source).served()
        specs = self._selection.fetched()
        self._fetches.note(self._cache.path, specs, self._order, served)
        return served

    def _first_look(self) -> tuple[Views, tuple[Move, ...]]:
        """Class by what is remembered; by what the target has where that is not sure.

        A remembered tip is as good as a read one for a push, whose lease proves it,
        but not for a refusal. Where nothing is pushed nothing is proved, so a target
        on this machine, which costs next to nothing, is glanced at.
        """
        if self._trusts_memory():
            views = self._views(Listing(self._known, {}))
            moves = self._decide(views)
            if self._sure(moves):
                return views, moves
        views = self._views(self._read())
        return views, self._decide(views)

    def _sure(self, moves: Sequence[Move]) -> bool:
        """Whether memory is enough for what is to be done."""
        if any(m.result is RefResult.REJECTED for m in moves):
            return False
        return self._target.door.url.local or not _parted(moves, self._known)

    def _trusts_memory(self) -> bool:
        order = self._order
        if not order.known or order.task.prune or order.verify:
            return False
        known = {ref: order.known.get(ref, "") for ref in self._wanted}
        if any(oid.startswith(DOUBT) for oid in known.values()):
            return False
        return not moved(self._target.door.url, known)

    def _read(self) -> Listing:
        listing = self._target.listing()
        found = listing.refs
        self._gone = self._known.keys() - found.keys()
        wanted = self._wanted.items()
        self._right = {r: w.oid for r, w in wanted if found.get(r) == w.oid}
        dangling = self._target.dangling(self._wanted.keys() - found.keys())
        return Listing(found, {**listing.symrefs, **dangling})

    def _is_confirmed(self, moves: Sequence[Move]) -> bool:
        """Tell whether a person has seen all of the plan that a guard would hold."""
        confirmed = self._order.confirmed
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
            self._order.task.prune,
            self._selection,
            self._empty,
            target.symrefs,
        )
        return self._latest

    def _decide(self, views: Views) -> tuple[Move, ...]:
        return decide(views, self._cache.kin(pairs(views), self._ahead))

    def _first(self, views: Views) -> str | None:
        """Name the branch that an empty target should see first, to make it default."""
        if views.target or len(self._wanted) < 2:
            return None
        if not self._target.door.url.local:
            self._log.line("note: the first branch pushed becomes the target's default")
        return self._default.at_target(self._wanted)

    def _follow_head(
        self, moves: list[Move], outlet: Outlet, views: Views
    ) -> list[Move]:
        """Set HEAD of a local target; the old default branch can go only after that."""
        ask = self._order.verify or not views.target
        if not self._default.follow(moves, self._wanted, ask=ask):
            return moves
        kept = [m for m in moves if m.ref not in self._wanted and not m.acts]
        if not self._order.task.prune or not kept:
            return moves
        gone = [
            Move(m.ref, RefResult.DELETED, m.old, None)
            for m in kept
            if m.result is RefResult.UNCHANGED
        ]
        return [m for m in moves if m not in kept] + outlet.settle(gone)

    def _label(self) -> str:
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        return f"{self._order.task.id}/{stamp}.{int(now * 1000) % 1000:03d}Z"

    def _outcome(
        self, moves: Sequence[Move], guard: str = "", pins: Mapping[str, Pin] = EMPTY
    ) -> Outcome:
        kept = [m for m in moves if m.ref in pins and m.acts]
        restore = [self._restore(m, pins[m.ref]) for m in kept]
        commands = {pin[0]: pin[3] for pin in restore}
        moves = [
            replace(m, reason=f"to restore: {commands[m.ref]}")
            if m.ref in commands
            else m
            for m in moves
        ]
        outcome = summarised(
            self._order,
            moves,
            guard,
            pinned=restore,
            right=self._right,
            gone=self._gone,
        )
        told = [m for m in moves if m.result is not RefResult.UNCHANGED]
        for move in (told or moves)[:TOLD]:
            self._log.line(_told(move))
        if outcome.error_message:
            self._log.line(f"{outcome.status}: {outcome.error_message}")
        return outcome

    def _restore(self, move: Move, pin: Pin) -> tuple[str, str, str, str]:
        lease = f"--force-with-lease={move.ref}:{move.new or ''}"
        place = f"--git-dir={self._cache.path}"
        spec = f"{pin.kept}:{pin.ref}"
        command = shlex.join(("git", place, "push", lease, self._target.url, spec))
        return pin.ref, pin.oid, pin.kept, command


def _parted(moves: Iterable[Move], known: Mapping[str, str]) -> bool:
    """Whether refs that had one tip are to have several.

    One of them may have become an alias of the other since they were read.
    """
    after = {**known, **{m.ref: m.new for m in moves if m.acts}}
    ends: dict[str, set[str | None]] = {}
    for ref, oid in known.items():
        ends.setdefault(oid, set()).add(after[ref])
    return any(len(tips) > 1 for tips in ends.values())


def _told(move: Move) -> str:
    old, new = (oid[:10] if oid else "none" for oid in (move.old, move.new))
    why = f" ({move.reason})" if move.reason else ""
    return f"{move.result} {move.ref} {old} -> {new}{why}"


def _failure(order: Order, log: RunLog, error: GitError) -> Outcome:
    message = one_line(log.clean(str(error)))
    log.line(f"failed: {message}")
    stopped = error.kind is ErrorKind.STOPPED
    status = RunStatus.CANCELLED if stopped else RunStatus.FAILED
    return Outcome(
        status,
        error_message=message,
        transient=error.transient,
        unable=error.kind is ErrorKind.GIT,
        known=order.known,
        retry_after=error.retry_after,
    )
