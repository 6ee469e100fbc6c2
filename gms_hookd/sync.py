"""Carries out one sync: fetch the source, class each ref, push under leases."""

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gms_hookd import cache, giturl, refspec
from gms_hookd.cache import Cache
from gms_hookd.git import Git, Limits, Stop, environment
from gms_hookd.giterror import GitError, Kind
from gms_hookd.giturl import GitUrl
from gms_hookd.model import RefResult, RunStatus
from gms_hookd.order import DOUBT, Order, Outcome, summarised
from gms_hookd.plan import Move, Views, decide, held, judged, pairs
from gms_hookd.redact import one_line
from gms_hookd.refspec import Selection, Wanted
from gms_hookd.remote import Remote
from gms_hookd.runlog import RunLog

__all__ = ["Engine", "Order", "Outcome", "Settings", "Stop", "cache_key"]

ROUNDS = 4  # times that a target is read again because it moved under a push
AFTERMATH = 15.0  # seconds to find out what became of a push that was cut off
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all runs."""

    home: Path
    timeout: float = 600.0
    allow_protocols: tuple[str, ...] = ("https", "ssh", "file")
    binary: str = "git"
    grace: float = 5.0


def cache_key(source: str) -> str:
    """Name the cache of a source; equal spellings share it. Raises ValueError."""
    return cache.key(giturl.parse(source, ("https", "ssh", "file", "http")).canonical)


class Engine:
    """Syncs tasks; any number of threads may use it at once."""

    def __init__(
        self, caches: Path, settings: Settings, environ: Mapping[str, str]
    ) -> None:
        self._caches = caches
        self._settings = settings
        self._environ = environment(environ, settings.home, settings.allow_protocols)

    def sync(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Do it; never raises for what git or the disk does."""
        return self._guarded(order, log, stop, _Run.sync)

    def plan(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Say what sync would do to each ref, and change nothing at the target."""
        return self._guarded(order, log, stop, _Run.plan)

    def _guarded(
        self, order: Order, log: RunLog, stop: Stop, act: Callable[["_Run"], Outcome]
    ) -> Outcome:
        try:
            selection = refspec.select(order.task.refspecs, force=order.task.force)
            return self._locked(order, selection, log, stop, act)
        except ValueError as error:
            return _failure(order, log, GitError(Kind.CONFIG, str(error)))
        except GitError as error:
            return _failure(order, log, error)
        except OSError as error:
            kind = Kind.DISK if error.errno in FULL else Kind.OTHER
            return _failure(order, log, GitError(kind, str(error)))

    def _locked(
        self,
        order: Order,
        selection: Selection,
        log: RunLog,
        stop: Stop,
        act: Callable[["_Run"], Outcome],
    ) -> Outcome:
        source, target = (self._url(u) for u in (order.task.source, order.task.target))
        timeout = order.task.timeout or self._settings.timeout
        deadline = time.monotonic() + timeout
        limits = Limits(deadline, stop, log, self._settings.grace)
        path = self._caches / cache.key(source.canonical)
        with cache.locked(path.with_name(path.name + ".lock"), limits) as lock:
            git = Git(path, self._environ, limits, lock, self._settings.binary)
            remotes = Remote(git, source.text), Remote(git, target.text)
            return act(_Run(order, selection, Cache(git), *remotes))

    def _url(self, text: str) -> GitUrl:
        return giturl.parse(text, self._settings.allow_protocols)


class _Run:
    """One sync under way, in the lock of its cache."""

    def __init__(
        self,
        order: Order,
        selection: Selection,
        cached: Cache,
        source: Remote,
        target: Remote,
    ) -> None:
        self._order = order
        self._selection = selection
        self._cache = cached
        self._source = source
        self._target = target
        self._log = cached.git.limits.log
        self._known = {r: o.removeprefix(DOUBT) for r, o in order.known.items()}

    def plan(self) -> Outcome:
        """Class every ref against the target as it is now."""
        views = self._views(self._wanted(), self._read())
        moves = self._decide(views)
        return self._outcome(moves, held(moves, views))

    def sync(self) -> Outcome:
        """Bring the target up to date, as far as the task allows."""
        wanted = self._wanted()
        remembered = self._remembered(wanted)
        views = self._views(wanted, self._read() if remembered is None else remembered)
        moves = self._decide(views)
        if remembered is not None and any(m.conflict for m in moves):
            views = self._views(wanted, self._read())
            moves = self._decide(views)
        reason = held(moves, views)
        if reason and not self._order.confirmed:
            return self._outcome(moves, reason)
        return self._outcome(self._carry_out(moves, views))

    def _wanted(self) -> dict[str, Wanted]:
        self._cache.prepare()
        self._source.fetch(self._selection.fetched(), "--prune")
        return self._selection.wanted(self._cache.source_refs().items())

    def _remembered(self, wanted: Mapping[str, Wanted]) -> dict[str, str] | None:
        order = self._order
        if not order.known or order.task.prune or order.verify or order.confirmed:
            return None
        doubtful = any(order.known.get(ref, "").startswith(DOUBT) for ref in wanted)
        return None if doubtful else self._known

    def _read(self) -> dict[str, str]:
        return self._target.refs()

    def _views(self, wanted: Mapping[str, Wanted], target: Mapping[str, str]) -> Views:
        prune = self._order.task.prune
        return Views(wanted, target, self._known, prune, self._selection)

    def _decide(self, views: Views) -> tuple[Move, ...]:
        return decide(views, self._cache.kin(pairs(views)))

    def _carry_out(self, moves: Sequence[Move], views: Views) -> list[Move]:
        settled = [m for m in moves if not m.acts]
        doing = [m for m in moves if m.acts]
        for _ in range(ROUNDS):
            done, open_ = self._push(doing)
            settled += done
            doing = self._again(open_, views, settled) if open_ else []
            if not doing:
                return settled
        return settled + [_gave_up(m) for m in doing]

    def _push(self, moves: Sequence[Move]) -> tuple[list[Move], list[Move]]:
        """Push; give the moves that are settled, and those that must be seen again."""
        done: list[Move] = []
        unsure: list[Move] = []
        for part in _phases(moves):
            report = self._target.push(part)
            if report.error:
                raise report.error
            for move in part:
                verdict = judged(move, report.lines.get(move.ref))
                (done if verdict else unsure).append(verdict or move)
        return done, unsure

    def _again(
        self, unsure: Sequence[Move], views: Views, settled: list[Move]
    ) -> list[Move]:
        refs = {m.ref for m in unsure}
        self._log.line("the target has moved: reading it again")
        moves = self._decide(self._views(views.wanted, self._read()))
        moves = tuple(m for m in moves if m.ref in refs)
        settled += [m for m in moves if not m.acts]
        return [m for m in moves if m.acts]

    def _outcome(self, moves: Sequence[Move], reason: str = "") -> Outcome:
        outcome = summarised(self._order, moves, reason)
        for move in moves:
            if move.result is not RefResult.UNCHANGED or len(moves) == 1:
                self._log.line(_told(move))
        if outcome.error_message:
            self._log.line(f"{outcome.status}: {outcome.error_message}")
        return outcome


def _phases(moves: Sequence[Move]) -> list[list[Move]]:
    """Put deletions first: a new feat/one needs the place of an old feat."""
    gone = [m for m in moves if m.result is RefResult.DELETED]
    rest = [m for m in moves if m.result is not RefResult.DELETED]
    return [part for part in (gone, rest) if part]


def _gave_up(move: Move) -> Move:
    reason = "the target moved at each try"
    return replace(move, result=RefResult.REJECTED, reason=reason)


def _told(move: Move) -> str:
    old, new = (oid[:10] if oid else "none" for oid in (move.old, move.new))
    why = f" ({move.reason})" if move.reason else ""
    return f"{move.result} {move.ref} {old} -> {new}{why}"


def _failure(order: Order, log: RunLog, error: GitError) -> Outcome:
    message = one_line(log.clean(str(error)))
    log.line(f"failed: {message}")
    stopped = error.kind is Kind.STOPPED
    status = RunStatus.CANCELLED if stopped else RunStatus.FAILED
    return Outcome(
        status,
        error_message=message,
        transient=error.transient,
        known=order.known,
    )
