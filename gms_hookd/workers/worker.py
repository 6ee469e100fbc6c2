"""When a failed attempt is tried again: a decision as a value.

Workers: threads that claim a run, carry it out, record how it ended.

A worker never drops an outcome: it offers it to the store until the store takes it, or
the daemon ends; then the run is still `running` there and comes back at the next start.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from gms_hookd.git.process import Stop
from gms_hookd.git.url import origin
from gms_hookd.log import SELDOM, event
from gms_hookd.model import Moment, Run, RunStatus, commit_range
from gms_hookd.runlog import RunLog
from gms_hookd.safetext import quoted, reason
from gms_hookd.store import StoreError, runs
from gms_hookd.sync.engine import Engine
from gms_hookd.sync.job import SyncJob, SyncResult
from gms_hookd.threads import SILENT, Supervised
from gms_hookd.units import rfc3339
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
T = TypeVar("T")
IDLE = 5.0  # seconds between looks at the queue when nobody wakes it
OFFER_AGAIN = 1.0
GIVE_WAY = 0.25  # seconds that a run waits at most while triggers pour in
TO_SPARE = 120.0  # seconds that a run may take beyond its timeout
UNABLE = 15.0  # seconds until a machine without git is tried again


class Rules(NamedTuple):
    """How runs are carried out; replaced whole at a reload."""

    engine: Engine
    retry: RetryPolicy
    timeout: float = 600.0  # seconds of a run whose task has none of its own
    trust: float = 900.0  # seconds that a remembered target is believed


@dataclass(eq=False, repr=False)
class Worker:
    """One thread's work: one run after the other."""

    context: Context
    rules: Callable[[], Rules]
    stopping: threading.Event
    chance: Callable[[], float] = random.random
    _thread: Supervised | None = field(default=None, init=False)
    _claim: runs.ClaimedRun | None = field(default=None, init=False)

    def run_forever(self, thread: Supervised) -> None:
        """Work until the daemon stops."""
        self._thread = thread
        self._see_to_leftover()
        while not self.stopping.is_set():
            self._beat()
            wakes = self.context.running.wakes
            self._give_way()
            patience = self._turn(wakes)
            if patience and not self.stopping.is_set():
                self.context.running.await_wake(wakes, patience)
        # Who has us stop waits for the last run.
        self.context.running.wake()

    def _see_to_leftover(self) -> None:
        """End the run that was in hand when this thread's work failed."""
        claim = self._claim
        if claim is not None:
            with self.context.running.carrying(claim.run.id):
                self._fail(claim)
            self._claim = None

    def _beat(self, within: float = SILENT) -> None:
        if self._thread:
            self._thread.beat(within)

    def _give_way(self) -> None:
        """Let a flood of triggers pass: those to come join what is queued."""
        until = self.context.monotonic() + GIVE_WAY
        while rush := self.context.running.rush:
            left = until - self.context.monotonic()
            if left <= 0 or self.stopping.wait(min(rush, left)):
                return

    def _turn(self, wakes: int) -> float:
        """Do what is due; return for how long there is no more without a wake.

        At most 5 s. Who gets a run while others are left hands on the queue, and with
        it the wait for what is due later.
        """
        running = self.context.running
        try:
            claim, left, due = self._lease()
        except StoreError as error:
            log.error("cannot claim error=%s", reason(error), extra=SELDOM)
            return IDLE
        if not left:
            running.drained(wakes)
        elif claim:
            running.wake()
        if claim is None:
            return self._patience(due)
        self._try(claim)
        return IDLE  # what has come meanwhile, or was left, came with a wake

    def _patience(self, due: int | None) -> float:
        """Return how long to wait for a wake: until a run is due, at most 5 s."""
        # What is due but held up by a busy cache is rung for when the cache is free.
        wait = IDLE if due is None else (due - self.context.now()) / 1000
        return max(min(wait, IDLE), 0.0)

    def run_one(self, only: int | None = None) -> int | None:
        """Carry out the oldest run that is due (or `only` that one); gives its id."""
        claim = self._lease(only).claimed
        if claim is None:
            return None
        self._try(claim)
        return claim.run.id

    def _lease(self, only: int | None = None) -> runs.Lease:
        now, running = self.context.now(), self.context.running
        shares, free = running.hosts.shares, running.done_fetching
        lease = self.context.store.commit(runs.lease, now, only, shares, free)
        self._claim = lease.claimed
        if claim := lease.claimed:
            ends = [origin(claim.task.source), origin(claim.task.target)]
            running.hosts.claimed(ends)
        return lease

    def _try(self, claim: runs.ClaimedRun) -> None:
        with self.context.running.carrying(claim.run.id):
            try:
                self._carry_out(claim)
            except Exception:
                # A defect of ours must not leave the run `running` for ever.
                log.exception("run broke run=%d task=%d", claim.run.id, claim.task.id)
                self._fail(claim)
        self._claim = None

    def _fail(self, claim: runs.ClaimedRun) -> None:
        why = "internal error: see the log of the daemon"
        self.context.running.paused(claim.run.id)
        result = runs.Result(RunStatus.FAILED, error_message=why, kind="daemon")
        ids = self._record(claim, result)
        # Whatever had been recorded before: who waits looks for himself.
        self.context.running.ended({claim.run.id, *ids})

    def run_only(self, run_id: int) -> None:
        """Carry out this run, if it is due."""
        try:
            self.run_one(run_id)
        except StoreError as error:
            log.error("cannot claim run=%d error=%s", run_id, reason(error))

    def _carry_out(self, claim: runs.ClaimedRun) -> None:
        rules = self.rules()
        self._beat((claim.task.timeout or rules.timeout) + TO_SPARE)
        record, stop = RunLog(), Stop()
        self._begin(claim.run, record, stop)
        began = self.context.moment()
        trusted = began.since(claim.seen) < rules.trust
        outcome = _sync(rules.engine, _job(claim, trusted=trusted), record, stop)
        outcome = _as_stopped(outcome, stop)
        self.context.running.hosts.note(record.answered)
        back = self._return(claim, outcome, rules.retry, stop)
        left = rules.retry.attempts - claim.failures - bool(back and back.failed)
        if back and back.delay:
            seconds = back.delay / 1000
            record.line(f"next attempt in {seconds:.0f} s, {left} left")
        record.close()
        if back is None:
            self._finish(claim, outcome, record, began)
        else:
            self._give_back(claim, back._replace(details=record.text()), left)

    def _begin(self, run: Run, record: RunLog, stop: Stop) -> None:
        self.context.running.began(run.id, run.attempt, record, stop)
        _tell_start(run)
        if self.stopping.is_set():
            stop.set("shutdown")

    def _return(
        self,
        claim: runs.ClaimedRun,
        outcome: SyncResult,
        policy: RetryPolicy,
        stop: Stop,
    ) -> runs.Return | None:
        """Return why, and for how long, a run goes back; None where it has ended."""
        now, done = self.context.now(), outcome.refs
        if stop.reason == "shutdown" and outcome.status is RunStatus.CANCELLED:
            return runs.Return(now, "the daemon was stopped", failed=False, refs=done)
        # A webhook's run outlasts a machine without git; a person hears of it at once.
        held_up = outcome.unable and claim.run.trigger.startswith("webhook:")
        delay = UNABLE if held_up else self._delay(policy, claim, outcome)
        if delay is None:
            return None
        back = runs.Return(now, outcome.error_message, failed=not held_up, refs=done)
        return back._replace(delay=int(delay * 1000))

    def _delay(
        self, policy: RetryPolicy, claim: runs.ClaimedRun, outcome: SyncResult
    ) -> float | None:
        if outcome.status is not RunStatus.FAILED or not outcome.transient:
            return None
        asked = outcome.retry_after
        return policy.delay_after(claim.failures + 1, self.chance(), asked)

    def _finish(
        self, claim: runs.ClaimedRun, outcome: SyncResult, record: RunLog, began: Moment
    ) -> None:
        ids = self._record(claim, _result(claim, outcome, record, began))
        if ids:
            took = self.context.moment().since(began)
            self.context.counters.seconds.observe(took)
            _tell_end(claim.run, outcome, took)
            self.context.running.ended(ids)
        else:
            _tell_change(claim.run)
            self.context.running.paused(claim.run.id)

    def _record(self, claim: runs.ClaimedRun, result: runs.Result) -> tuple[int, ...]:
        """Give the ids of the runs that have ended; none if this one goes on."""
        now, store = self.context.now(), self.context.store
        ended = claim.run.id, result, now, claim.task
        hear, attempt = self.context.running.subscribers, claim.run.attempt

        def write() -> tuple[int, ...]:
            return store.commit(runs.finish, *ended, subscribers=hear, attempt=attempt)

        ids = self._offer(write) or ()
        if ids:
            first = claim.run.trigger.split(",")[0]  # of those that wanted it
            self.context.counters.runs.add(result.status.value, first)
        else:  # it is in the queue again
            self.context.running.wake()
        return ids

    def _give_back(self, claim: runs.ClaimedRun, back: runs.Return, left: int) -> None:
        run, running = claim.run, self.context.running
        running.paused(run.id)
        own = back._replace(attempt=run.attempt)
        commit = self.context.store.commit
        ids = self._offer(lambda: commit(runs.requeue, run.id, own))
        if ids:
            self._tell_unwanted(run, ids)
        else:
            _tell_return(run, back, str(left))
        running.wake()

    def _tell_unwanted(self, run: Run, ids: tuple[int, ...]) -> None:
        """Tell that runs have ended which were to go on: their task takes no more."""
        text = "run ended, its task was removed or disabled run=%d task=%d name=%s"
        log.warning(text, run.id, run.task_id, quoted(run.task_name))
        status, first = RunStatus.CANCELLED, run.trigger.split(",")[0]
        self.context.counters.runs.add(status.value, first)
        self.context.running.ended(ids)

    def _offer(self, write: Callable[[], T]) -> T | None:
        """Offer a write until the store takes it; None when the daemon ends first."""
        while True:
            self._beat()
            try:
                return write()
            except StoreError as error:
                log.error("cannot record error=%s", reason(error), extra=SELDOM)
            if self.stopping.wait(OFFER_AGAIN):
                return None


def _tell_start(run: Run) -> None:
    """Log that an attempt begins, and where the wish for it came from."""
    event(
        log,
        f"run started run={run.id} task={run.task_id} name={quoted(run.task_name)}"
        f" attempt={run.attempt} trigger={quoted(run.trigger)}"
        f" deliveries={quoted(','.join(map(str, run.deliveries)) or '-', 80)}",
    )


def _tell_end(run: Run, result: SyncResult, took: float) -> None:
    """Log how a run ended; `took` is the seconds of its last attempt."""
    event(
        log,
        f"run ended run={run.id} task={run.task_id} name={quoted(run.task_name)}"
        f" attempt={run.attempt} status={result.status.value}"
        f" seconds={took:.1f} trigger={quoted(run.trigger)}"
        f" changed={quoted(result.commit_range or '-', 100)}"
        f" error={reason(result.error_message or '-')}",
        logging.INFO if result.status is RunStatus.SUCCESS else logging.WARNING,
    )


def _tell_change(run: Run) -> None:
    log.warning(
        "run goes back run=%d task=%d name=%s attempt=%d error=%s",
        run.id,
        run.task_id,
        quoted(run.task_name),
        run.attempt,
        quoted(runs.CHANGED),
    )


def _tell_return(run: Run, back: runs.Return, left: str = "-") -> None:
    log.warning(
        "run goes back run=%d task=%d name=%s attempt=%d next_try=%s attempts_left=%s"
        " error=%s",
        run.id,
        run.task_id,
        quoted(run.task_name),
        run.attempt,
        rfc3339(back.now + back.delay),
        left,
        reason(back.error),
    )


def _as_stopped(outcome: SyncResult, stop: Stop) -> SyncResult:
    """Return what an attempt led to; a cancelled run that failed gets no other."""
    late = outcome.status is RunStatus.FAILED and outcome.transient
    if not late or stop.reason != "cancelled":
        return outcome
    why = f"cancelled: {outcome.error_message}"
    return outcome._replace(status=RunStatus.CANCELLED, error_message=why)


def _result(
    claim: runs.ClaimedRun, outcome: SyncResult, record: RunLog, began: Moment
) -> runs.Result:
    return runs.Result(
        status=outcome.status,
        commit_range=outcome.commit_range,
        error_message=outcome.error_message,
        refs=outcome.refs,
        details=record.text(),
        tips=None if outcome.known == claim.tips else outcome.known,
        seen=began if outcome.seen else None,
        kind=outcome.kind,
    )


def _job(claim: runs.ClaimedRun, *, trusted: bool) -> SyncJob:
    """Tell what is wanted; a later attempt may have been wanted by others, too."""
    run = claim.run
    return SyncJob(
        claim.task,
        claim.tips,
        claim.confirmed,
        claim.hint,
        # A run by hand reads the target even if nothing seems changed.
        verify=not run.trigger.startswith("webhook:"),
        trusted=trusted,
        asked=max(run.deliveries, default=None) if run.attempt == 1 else None,
        newest=claim.newest,
        run=run.id,
        attempt=run.attempt,
        before=run.refs,
        undo=claim.undo,
        by_hand=run.trigger in ("manual", "retry"),
    )


def _sync(engine: Engine, job: SyncJob, record: RunLog, stop: Stop) -> SyncResult:
    try:
        return engine.sync(job, record, stop)
    except Exception as error:
        # The root of a run: a defect of ours must fail this run, not the worker.
        log.exception("run broke task=%d", job.task.id)
        record.line(f"internal error: {type(error).__name__}")
        return SyncResult(
            status=RunStatus.FAILED,
            refs=job.before,
            commit_range=commit_range(job.before),
            error_message="internal error: see the log of the daemon",
            # What there was too little memory for may be done the next time.
            transient=isinstance(error, MemoryError),
            known=job.known,
        )
