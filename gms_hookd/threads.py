"""Every thread of the process: it has a name, a root that goes on, and is watched.

Work that fails is begun again after a pause, whatever it failed of. A thread that has
ended all the same, that gives no sign of life in time, or whose work fails again and
again is named by `Threads.problems`: the service manager's watchdog is then fed no
longer, and `/readyz` says why. No other module starts a thread.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from gms_hookd.errors import Failure
from gms_hookd.futures import Future, failed

T = TypeVar("T")
SILENT = 30.0  # seconds without a sign of life after which a thread counts as stuck
IDLE = 2.0  # seconds between signs of life of a thread that has nothing to do
PAUSE = 1.0  # seconds until work that failed is begun again
log = logging.getLogger(__name__)


class ThreadError(Failure):
    """A thread cannot be started; the text is one line for the operator."""


class BusyError(Failure):
    """A pool has no room for more work; the text is one line for who asked."""


class Supervised:
    """One thread, and what is known of it; its work gets it as the one argument."""

    def __init__(
        self,
        name: str,
        work: "Callable[[Supervised], None]",
        closing: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._work = work
        self._closing = closing
        self._clock = clock
        self._next_beat = clock() + SILENT
        self._first_failure = self._last_failure = -math.inf
        self._thread = threading.Thread(target=self._root, name=name, daemon=True)

    def start(self) -> None:
        """Start it. Raises ThreadError."""
        try:
            self._thread.start()
        except (RuntimeError, MemoryError) as error:
            remedy = "raise TasksMax= of the unit, or ulimit -u"
            raise ThreadError(f"thread {self.name}: {error}: {remedy}") from None

    def beat(self, within: float = SILENT) -> None:
        """Give a sign of life; the next one comes within so many seconds."""
        self._next_beat = self._clock() + within

    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most so many seconds."""
        self._thread.join(timeout)

    def problem(self) -> str:
        """Return what is wrong with it in one line, "" if nothing is."""
        now = self._clock()
        if not self._thread.is_alive():
            return f"thread {self.name}: has ended"
        if now > self._next_beat:
            late = now - self._next_beat
            return f"thread {self.name}: a sign of life is due for {late:.0f} s"
        lately = now - self._last_failure < SILENT
        if lately and self._last_failure - self._first_failure > SILENT:
            return f"thread {self.name}: fails again and again: see the log"
        return ""

    def _root(self) -> None:
        done = False
        while not done:
            # To note that work failed, and to pause, takes memory, too.
            with suppress(Exception):
                done = self._try()
                continue
            with suppress(Exception):
                time.sleep(PAUSE)

    def _try(self) -> bool:
        """Do the work; return whether there is no more to be done."""
        if self._closing.is_set():
            return True
        try:
            self._work(self)
        except Exception:
            self._note_failure()
            # To say so takes memory and a log, which may be what is missing.
            with suppress(Exception):
                log.exception("thread failed, and goes on name=%s", self.name)
        else:
            return True
        self._closing.wait(PAUSE)
        return False

    def _note_failure(self) -> None:
        now = self._clock()
        if now - self._last_failure > SILENT:
            self._first_failure = now
        self._last_failure = now


class Threads:
    """All threads of the process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closing = threading.Event()
        self._all: list[Supervised] = []

    def start(self, name: str, work: Callable[[Supervised], None]) -> Supervised:
        """Start a thread that does `work` until that returns. Raises ThreadError."""
        thread = Supervised(name, work, self._closing, self._clock)
        thread.start()
        self._all.append(thread)
        return thread

    def problems(self) -> list[str]:
        """Return what is wrong with them, one line each; nothing once they may end."""
        if self._closing.is_set():
            return []
        return [problem for each in self._all if (problem := each.problem())]

    def close(self) -> None:
        """Let them end: what fails from now on is not begun again."""
        self._closing.set()


class Pool:
    """So many threads for one kind of work; a bounded number of jobs waits for them.

    `within` is how many seconds one job takes at most.
    """

    def __init__(
        self,
        threads: Threads,
        name: str,
        size: int,
        *,
        waiting: int = 1000,
        within: float = SILENT,
    ) -> None:
        self._starter = threads
        self._name = name
        self._waiting = waiting
        self._within = within
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = 0  # jobs that wait or are done now
        self._lock = threading.Lock()
        self._closed = False
        self._threads: list[Supervised] = []
        self.grow(size)

    def grow(self, size: int) -> None:
        """Have at least so many threads. Raises ThreadError."""
        while len(self._threads) < size and not self._closed:
            name = f"{self._name}-{len(self._threads)}"
            self._threads.append(self._starter.start(name, self._serve))

    def do(self, function: Callable[[], T]) -> Future[T]:
        """Have `function` done; the future fails with BusyError if there is no room."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                return failed(BusyError("shutting down"))
            if self._count >= len(self._threads) + self._waiting:
                return failed(BusyError(f"too much waits ({self._name}): try again"))
            self._count += 1
            self._jobs.put(partial(_settle, future, function))
        return future

    def close(self, timeout: float | None = None) -> None:
        """Do what waits, then end the threads; who is late is left after `timeout`."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        until = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if until is None else max(until - time.monotonic(), 0.0))

    def _serve(self, thread: Supervised) -> None:
        while True:
            thread.beat()
            try:
                job = self._jobs.get(timeout=IDLE)
            except Empty:
                continue
            if job is None:
                break
            self._work(thread, job)
        self._jobs.put(None)  # for the next of them

    def _work(self, thread: Supervised, job: Callable[[], None]) -> None:
        thread.beat(self._within)
        try:
            job()
        finally:
            with self._lock:
                self._count -= 1


def _settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        value = function()
    except BaseException as error:  # noqa: BLE001 - the future carries it on
        future.set_exception(error)
    else:
        future.set_result(value)
