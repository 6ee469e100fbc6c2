"""What is known of runs beyond the store: who waits for one, which are under way.

Ends with the process; everything that must not be lost is in the store.


What every handler of requests needs at hand: store, live runs, engine, clocks.
"""

import heapq
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

from gms_hookd.errors import Conflict, NotFound
from gms_hookd.futures import Future, done, failed
from gms_hookd.git.process import Stop
from gms_hookd.model import FINAL, WHOLE, Moment, Run, Shard, Task
from gms_hookd.notify.policy import Subscriber
from gms_hookd.runlog import RunLog
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import Connection, Store, runs
from gms_hookd.store.notices import Tally
from gms_hookd.store.refusals import Refusals
from gms_hookd.sync.engine import Engine
from gms_hookd.threads import IDLE, Pool, Supervised, Threads
from gms_hookd.workers.counters import Counters, Usage
from gms_hookd.workers.hosts import Hosts

Json = dict[str, Any]
KEPT = 64  # logs of ended runs, for those who still watch
RUSH = 10, 0.05  # so many triggers in so many seconds are one


class Watch(NamedTuple):
    """Somebody waits until the run ends (True), or for so long (False)."""

    run_id: int
    future: Future[bool]


class RunningRuns:
    """The board between the web side and the workers."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        threads: Threads | None = None,
    ) -> None:
        self.hosts = Hosts()
        self.subscribers: tuple[Subscriber, ...] = ()  # who is to hear how runs end
        self._clock = clock
        self._lock = threading.Lock()
        self._woken = threading.Condition(self._lock)
        self._timer = threading.Condition(self._lock)
        self._wakes = 0
        self._idle = 0  # workers that wait to be woken
        self._drained = -1
        self._moves = 0
        self._arrivals = deque([-math.inf] * RUSH[0], maxlen=RUSH[0])
        self._carried: set[int] = set()
        self._stops: dict[int, Stop] = {}
        self._done_fetching: set[int] = set()
        self._cancelled: dict[int, str] = {}
        self._logs: OrderedDict[int, tuple[int, RunLog]] = OrderedDict()
        self._watches: dict[int, list[Watch]] = {}
        self._deadlines: list[tuple[float, int, Watch]] = []
        self._numbers = count()
        self._closed = False
        # Started now, so that no watch can fail for want of a thread.
        self._thread = (threads or Threads()).start("watch-timer", self._expire)

    @property
    def wakes(self) -> int:
        """Count how often there was new work."""
        return self._wakes

    @property
    def moves(self) -> int:
        """Count how often an attempt has begun or ended."""
        return self._moves

    def wake(self) -> None:
        """Wake one worker: there may be work; one that finds some wakes the next."""
        with self._lock:
            self._wakes += 1
            if self._idle:
                self._woken.notify()

    def drained(self, wakes: int) -> None:
        """Note that no run was left in the queue, looked at after so many wakes.

        Each run that comes into it from then on comes with another wake.
        """
        self._drained = wakes

    def arrived(self) -> None:
        """Note that a trigger came, and wake a worker."""
        self._arrivals.append(self._clock())
        self.wake()

    @property
    def rush(self) -> float:
        """Tell for how many seconds, as it seems, more triggers pour in."""
        return max(self._arrivals[0] + RUSH[1] - self._clock(), 0.0)

    def wake_all(self) -> None:
        """Wake every worker."""
        with self._lock:
            self._wakes += 1
            self._woken.notify_all()

    def await_wake(self, since: int, timeout: float) -> None:
        """Wait until there was a wake after `since`, or `timeout` seconds."""
        with self._lock:
            self._idle += 1
            try:
                self._woken.wait_for(lambda: self._wakes != since, timeout)
            finally:
                self._idle -= 1

    @contextmanager
    def carrying(self, run_id: int) -> Iterator[None]:
        """Note that somebody sees to a claimed run, until its outcome is recorded."""
        self._carried.add(run_id)
        try:
            yield
        finally:
            self._carried.discard(run_id)

    def is_carried(self, run_id: int) -> bool:
        """Return whether somebody sees to a claimed run."""
        return run_id in self._carried

    def began(self, run_id: int, attempt: int, log: RunLog, stop: Stop) -> None:
        """Note that an attempt of a run is under way."""
        with self._lock:
            self._moves += 1
            self._stops[run_id] = stop
            self._done_fetching.discard(run_id)
            self._logs[run_id] = attempt, log
            self._logs.move_to_end(run_id)
            reason = self._cancelled.pop(run_id, None)
            while len(self._logs) > len(self._stops) + KEPT:
                ended = next(key for key in self._logs if key not in self._stops)
                del self._logs[ended]
        if reason is not None:
            stop.set(reason)

    def fetched(self, run_id: int) -> None:
        """Note that a run under way needs its source no more; let the next have it."""
        with self._lock:
            known = run_id in self._stops
            if known:
                self._done_fetching.add(run_id)
            somebody_may_wait = known and self._drained != self._wakes
        if somebody_may_wait:
            self.wake()

    @property
    def done_fetching(self) -> tuple[int, ...]:
        """Name the runs under way that need their source no more."""
        with self._lock:
            return tuple(self._done_fetching)

    def paused(self, run_id: int) -> None:
        """Note that a run is no longer under way, though it has not ended."""
        with self._lock:
            self._pause(run_id)

    def _pause(self, run_id: int) -> None:
        self._moves += 1
        self._stops.pop(run_id, None)
        self._done_fetching.discard(run_id)

    def ended(self, run_ids: Iterable[int]) -> None:
        """Note that runs have ended: wake whoever waits for them."""
        with self._lock:
            found = [w for run_id in run_ids for w in self._end(run_id)]
        for watch in found:
            watch.future.set_result(True)

    def _end(self, run_id: int) -> list[Watch]:
        self._pause(run_id)
        self._cancelled.pop(run_id, None)
        return self._watches.pop(run_id, [])

    def log(self, run_id: int) -> tuple[int, RunLog] | None:
        """Find the latest attempt of a run under way, or just ended, and its log."""
        with self._lock:
            return self._logs.get(run_id)

    def waits_for(self, run_id: int) -> str | None:
        """Return what a run that is under way waits for, None where it does not."""
        with self._lock:
            known = self._logs.get(run_id) if run_id in self._stops else None
        return known[1].waits_for if known else None

    def stop(self, run_id: int, reason: str) -> None:
        """Stop a running run, at once or, not yet under way, as soon as it is."""
        with self._lock:
            stop = self._stops.get(run_id)
            if stop is None:
                self._cancelled[run_id] = reason
        if stop is not None:
            stop.set(reason)

    def stop_all(self, reason: str) -> int:
        """Stop every run under way; gives how many."""
        with self._lock:
            stops = list(self._stops.values())
        for stop in stops:
            stop.set(reason)
        return len(stops)

    @property
    def under_way(self) -> int:
        """Count the runs under way."""
        with self._lock:
            return len(self._stops)

    def watch(self, run_id: int, seconds: float) -> Watch:
        """Wait for the end of a run, at most so long; costs no thread."""
        watch = Watch(run_id, Future())
        with self._lock:
            closed = self._closed
            if not closed:
                self._watches.setdefault(run_id, []).append(watch)
                due = self._clock() + seconds
                heapq.heappush(self._deadlines, (due, next(self._numbers), watch))
                self._timer.notify()
        if closed:
            watch.future.set_result(False)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Give up waiting: the future is done with False if it was not yet."""
        with self._lock:
            mine = self._drop(watch)
        if mine:
            watch.future.set_result(False)

    def _drop(self, watch: Watch) -> bool:
        waiting = self._watches.get(watch.run_id, [])
        if watch not in waiting:
            return False
        waiting.remove(watch)
        if not waiting:
            del self._watches[watch.run_id]
        return True

    def _expire(self, thread: Supervised) -> None:
        while (watch := self._next_overdue(thread)) is not None:
            self.unwatch(watch)

    def _next_overdue(self, thread: Supervised) -> Watch | None:
        """Wait for the next watch whose time is up; None at the end."""
        with self._lock:
            while not self._closed and not self._overdue():
                thread.beat()
                self._timer.wait(min(self._until_next(), IDLE))
            return None if self._closed else heapq.heappop(self._deadlines)[2]

    def _overdue(self) -> bool:
        return bool(self._deadlines) and self._deadlines[0][0] <= self._clock()

    def _until_next(self) -> float:
        if not self._deadlines:
            return IDLE
        return max(self._deadlines[0][0] - self._clock(), 0.001)

    def close(self) -> None:
        """Answer everybody who waits, now; nobody may wait from here on."""
        with self._lock:
            self._closed = True
            waiting = [w for watches in self._watches.values() for w in watches]
            self._timer.notify()
        for watch in waiting:
            self.unwatch(watch)
        self._thread.join()


def no_daemon(*_asked: object) -> Future[list[Any]]:
    """Refuse what only a daemon can do."""
    return failed(Conflict("no daemon runs: systemctl start gms-hookd"))


@dataclass(frozen=True, slots=True)
class DaemonState:
    """How the process fares: where it listens since when (ms), what is wrong with it.

    `since` is None where no daemon runs. `restart_for` names settings that have changed
    and are in use only after a restart; `refusal` says why the last reload was refused.
    Sizes are bytes, None where they cannot be found out; `usage` is that of the
    process, `git` the version of what it starts.
    """

    since: int | None = None
    listeners: tuple[str, ...] = ()
    workers: int = 0
    restart_for: tuple[str, ...] = ()
    refusal: str = ""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    disk_free: int | None = None
    database: int | None = None
    caches: int | None = None
    usage: Usage | None = None
    git: str = ""


class Inspected(NamedTuple):
    """What an inspection must know of the store: `problem` is why it knows nothing.

    `latest` is when the last delivery of each hook came (ms), `notices` what became of
    those for each target.
    """

    condition: DaemonState
    tasks: Sequence[Task] = ()
    latest: Mapping[str, int] = MappingProxyType({})
    notices: Mapping[str, Tally] = MappingProxyType({})
    problem: str = ""


def no_condition() -> Future[DaemonState]:
    """Return the condition of a process that serves nobody."""
    return done(DaemonState())


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a target answered to a message that somebody waits for."""

    sent: bool
    said: str


def no_notifier(name: str) -> Future[TestResult]:
    """Refuse to send to a target where none is configured."""
    return failed(NotFound(f"no target {name!r} in the configuration"))


@dataclass(frozen=True, slots=True)
class Context:
    """The store, the running runs, a pool for each kind of long work, clocks (seconds).

    The engine is there to plan, not to sync: that is the workers' business. `reload`
    asks the daemon for its configuration to be read again, a Conflict if it is refused;
    `condition` looks how the process fares now; `inspect` looks at all that `check`
    does, of what the store knows.
    `timeout` is that of a task without one of its own, `attempts` what each run gets,
    `backups` for how long (seconds) a cache keeps what targets have lost; `shard`
    is which of several nodes this one is; `ending` stops plans when the daemon ends;
    `targets` are those of notices, and `test_notice` sends one of them a message.
    """

    store: Store
    refusals: Refusals
    running: RunningRuns
    plans: Pool
    copies: Pool
    looks: Pool
    engine: Engine
    timeout: float = 600.0
    attempts: int = 5
    backups: float = 30 * 86400.0
    ending: Stop = field(default_factory=Stop)
    protocols: tuple[str, ...] = ("https", "ssh", "file")
    trust_owners: tuple[int, ...] = ()
    shard: Shard = WHOLE
    hooks: tuple[str, ...] = ("task-sync",)
    mask: Mask = field(default_factory=Mask)
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    reload: Callable[[], Future[list[str]]] = no_daemon
    condition: Callable[[], Future[DaemonState]] = no_condition
    inspect: Callable[[Inspected], Future[list[Json]]] = no_daemon
    targets: tuple[str, ...] = ()
    test_notice: Callable[[str], Future[TestResult]] = no_notifier
    counters: Counters = field(default_factory=Counters)

    def now(self) -> int:
        """Tell the time as Unix milliseconds."""
        return int(self.clock() * 1000)

    def awaiting(self, db: Connection, run: Run) -> Run:
        """Return a run with what it waits for now."""
        if run.status in FINAL:
            return run
        return replace(run, waits_for=self.waits_for(db, run.id))

    def waits_for(self, db: Connection, run_id: int) -> str | None:
        """Return what a run that has not ended waits for, None where it does not."""
        running = self.running
        return running.waits_for(run_id) or runs.waits_for(
            db, run_id, self.now(), running.hosts.shares, running.done_fetching
        )

    def tell_ended(self, ended: Iterable[Run]) -> None:
        """Count runs that ended while nobody carried them out; wake who waits."""
        for run in ended:
            # Of those that wanted it the first counts.
            self.counters.runs.add(run.status.value, run.trigger.split(",")[0])
            self.running.ended([run.id])

    def moment(self) -> Moment:
        """Tell the time by both clocks."""
        return Moment(self.now(), int(self.monotonic() * 1000))
