"""Looks at both sides of each task now and then, and finds what no delivery reported.

Most forges never send a lost delivery again, and none tells what was done to a target.
Where the target is not as the source wants it, a run is due; each state of the two gets
only one that way, unless that one failed, or had repaired it.
"""

import hashlib
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import NamedTuple

from gms_hookd.futures import Future
from gms_hookd.git.process import Stop
from gms_hookd.git.url import origin
from gms_hookd.log import SELDOM
from gms_hookd.model import RunStatus, Task
from gms_hookd.runlog import RunLog
from gms_hookd.safetext import reason
from gms_hookd.store import StoreError, source_checks
from gms_hookd.store.shares import Shares
from gms_hookd.store.source_checks import Check
from gms_hookd.sync.engine import Engine
from gms_hookd.sync.job import SyncJob, without_mark
from gms_hookd.threads import Pool, Supervised
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
AT_ONCE = 4
PATIENCE = 60.0  # seconds that one source gets to answer
FIRST = 60.0  # seconds over which the first round after a start is spread
TICK = 1.0
FAILED_AGAIN = 3600.0


class Observation(NamedTuple):
    """What a target should have, and what it has of that, or beside it.

    It is None where the target does not say.
    """

    wanted: Mapping[str, str]
    there: Mapping[str, str] | None


@dataclass(eq=False, repr=False)
class Reconciler:
    """One thread that sees to the checks; those of the pool carry them out."""

    context: Context
    pool: Pool
    engine: Callable[[], Engine]
    interval: Callable[[], float]
    stopping: threading.Event
    _: KW_ONLY
    chance: Callable[[], float] = random.random
    _under_way: dict[int, tuple[set[str], Future[None]]] = field(
        default_factory=dict, init=False
    )
    _stops: dict[int, Stop] = field(default_factory=dict, init=False)

    def run_forever(self, thread: Supervised) -> None:
        """Check sources until the daemon stops; an interval of 0 is a pause."""
        self._begin()
        while not self.stopping.wait(TICK):
            thread.beat()
            self.turn()
        for stop in list(self._stops.values()):
            stop.set("shutdown")

    def _begin(self) -> None:
        spread = min(self.interval(), FIRST)
        try:
            now = self.context.now()
            self.context.store.write(
                source_checks.begin, now, int(spread * 1000)
            ).result()
        except StoreError as error:
            log.warning("cannot plan the first checks error=%s", reason(error))

    def turn(self) -> None:
        """Start the checks that are due, as far as there is room."""
        for task_id, (_, job) in list(self._under_way.items()):
            if job.done():
                del self._under_way[task_id]
        while self.interval() and len(self._under_way) < AT_ONCE:
            check = self._next()
            if check is None:
                return
            job = self.pool.do(partial(self.check, check))
            ends = {origin(check.task.source), origin(check.task.target)} - {""}
            self._under_way[check.task.id] = ends, job

    def _next(self) -> Check | None:
        """Return a check that is due; one at a time of a host that does not answer."""
        unreached = self.context.running.hosts.shares.unreached
        shares = Shares(AT_ONCE, AT_ONCE, unreached)
        full = shares.full(hosts for hosts, _ in self._under_way.values())
        interval, busy = int(self.interval() * 1000), tuple(self._under_way)
        read, now = self.context.store.read, self.context.now()
        try:
            found = read(source_checks.due, now, interval, 1, busy, hosts=full).result()
        except StoreError as error:
            line = "cannot tell which checks are due error=%s"
            log.warning(line, reason(error), extra=SELDOM)
            return None
        return found[0] if found else None

    def check(self, check: Check) -> None:
        """Look at one task, and queue a run if its target is not as it should be."""
        task = check.task
        try:
            self._put_off(task)
            look = self._look(task)
            if look is None:
                return
            if look.there == look.wanted:
                self._note_step(check)
            elif due(check, look, self.context.now()):
                self._catch_up(task, fingerprint(look))
        except StoreError as error:
            log.warning("look failed task=%d error=%s", task.id, reason(error))
        except Exception:
            # The root of this thread: a defect of ours must not go unseen.
            log.exception("look failed task=%d", task.id)

    def _put_off(self, task: Task) -> None:
        # Never later than an interval from now; not all at once, for the hosts' sake.
        wait = self.interval() * (1 - 0.2 * self.chance())
        due = self.context.now() + int(wait * 1000)
        self.context.store.write(source_checks.postpone, task, due).result()

    def _note_step(self, check: Check) -> None:
        if check.digest is not None:
            self.context.store.write(source_checks.in_step, check.task).result()

    def _look(self, task: Task) -> Observation | None:
        """Read both sides; None where one cannot be reached now."""
        stop = self._stops[task.id] = Stop()
        record = RunLog()
        try:
            job = SyncJob(replace(task, timeout=PATIENCE))
            outcome = self.engine().probe(job, record, stop)
        finally:
            record.close()
            self.context.running.hosts.note(record.answered)
            del self._stops[task.id]
        if outcome.status is not RunStatus.SUCCESS:
            why = reason(outcome.error_message)
            log.warning("look failed task=%d error=%s", task.id, why)
            return None
        return Observation(outcome.known, outcome.there)

    def _catch_up(self, task: Task, digest: bytes) -> None:
        now = self.context.now()
        queued = self.context.store.write(source_checks.catch_up, task, digest, now)
        run_id = queued.result()
        if run_id is not None:
            log.info("reconcile found a change task=%d run=%d", task.id, run_id)
            self.context.running.wake()


def fingerprint(look: Observation) -> bytes:
    """Return what stands for the state of a source and its target."""
    there = sorted(look.there.items()) if look.there is not None else [("", "?")]
    pairs = [*sorted(look.wanted.items()), ("", ""), *there]
    lines = "\n".join(f"{oid} {ref}" for ref, oid in pairs)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).digest()


def due(check: Check, look: Observation, now: int) -> bool:
    """Tell whether a target that is not as it should be gets a run."""
    if fingerprint(look) != check.digest:
        return True
    if check.status is RunStatus.FAILED:
        return not 0 <= now - check.ended_at < FAILED_AGAIN * 1000
    # What a run left as it is will not get better by another; what has become so
    # since then will.
    return check.status is RunStatus.SUCCESS and look.there != _left(check, look)


def _left(check: Check, look: Observation) -> Mapping[str, str]:
    refs = look.wanted.keys() | (look.there or {}).keys()
    tips = check.tips.items()
    return {ref: without_mark(oid) for ref, oid in tips if ref in refs}
