"""Whether the service can do its work: looked at each second, and for whoever asks.

A thread of its own looks, so that who asks waits for a look and for nothing else, and
a look waits for nobody for longer than a second.
"""

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gms_hookd.futures import Future, done
from gms_hookd.http.listener import Listener
from gms_hookd.store import StoreError, maintenance, runs
from gms_hookd.threads import SILENT, Supervised, Threads
from gms_hookd.workers.running import Context

LOOK = 1.0  # seconds between looks when nobody asks
PATIENCE = 0.4  # seconds that a look waits for one answer of the store
SLOW = 5.0  # seconds without an answer of the store from which on it is not ready
OVERDUE = 10.0  # seconds that a look takes at most
LEAST_DISK = 64 * 1024 * 1024


class Health:
    """What keeps the service from working, and which of it a restart may cure."""

    def __init__(
        self,
        context: Context,
        threads: Threads,
        folder: Path,
        stopping: threading.Event,
        is_held: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make it; `is_held` says whether nobody else can lock the state directory."""
        self._context = context
        self._threads = threads
        self._folder = folder
        self._is_held = is_held
        self._stopping = stopping
        self._called = threading.Condition()
        self._asked: list[Future[list[str]]] = []
        self._store = _Store(context)
        self._queue = _Queue(context)
        self._claimed = _Claimed(context)
        self.workers = 0
        self.listeners: Sequence[Listener] = ()
        self.found: list[str] = []  # at the last look

    def ask(self) -> Future[list[str]]:
        """Look now; return, in one line each, what keeps the service from working."""
        # What would look may itself have ended.
        if broken := self._threads.problems():
            return done(broken)
        future: Future[list[str]] = Future()
        with self._called:
            self._asked.append(future)
            self._called.notify()
        return future

    def stuck(self) -> list[str]:
        """Return what a restart may cure; as of the last look, and without waiting."""
        found = (self._store.stuck(), self._queue.problem, self._claimed.problem)
        return [*self._threads.problems(), *filter(None, found)]

    def _await_call(self) -> "list[Future[list[str]]]":
        """Wait until somebody asks, or it is time; return who asks."""
        with self._called:
            self._called.wait_for(self._is_called, LOOK)
            asked, self._asked = self._asked, []
            return asked

    def run_forever(self, thread: Supervised) -> None:
        """Look until the daemon stops."""
        while not self._stopping.is_set():
            asked = self._await_call()
            thread.beat(OVERDUE)
            found = ["health: the look failed: see the log"]
            try:
                found = self.look()
            finally:
                self._answer(asked, found)

    def _answer(self, asked: "list[Future[list[str]]]", found: list[str]) -> None:
        self.found = found
        for future in asked:
            future.set_result(found)

    def _is_called(self) -> bool:
        return bool(self._asked) or self._stopping.is_set()

    def end(self) -> None:
        """Wake the thread that looks, when the daemon stops."""
        with self._called:
            self._called.notify()

    def look(self) -> list[str]:
        """Return, in one line each, what keeps the service from working."""
        # All are asked before any is waited for.
        self._store.ask()
        self._queue.ask()
        self._claimed.ask()
        found = (
            self._store.look(),
            self._queue.look(self.workers),
            self._claimed.look(),
            self._state(),
            _git(),
            *map(_unreachable, self.listeners),
        )
        # Whoever writes and whoever reads may meet the same.
        return [*self._threads.problems(), *dict.fromkeys(filter(None, found))]

    def _state(self) -> str:
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            return f"state: {self._folder}: {error.strerror}: restart gms-hookd"
        if not self._is_held():
            return f"state: {self._folder}/lock was removed: restart gms-hookd"
        return "" if free >= LEAST_DISK else f"disk: only {free >> 20} MiB free"


def _unreachable(listener: Listener) -> str:
    if listener.is_in_place():
        return ""
    return f"listener: {listener.name} was removed or replaced: restart gms-hookd"


def _git() -> str:
    if shutil.which("git"):
        return ""
    there = shutil.which("git", os.F_OK)
    return f"git: {there} may not be executed" if there else "git: is not on the PATH"


class _Store:
    """Whether the store answers, and since when it does not."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ping: Future[None] | None = None
        self._answered = context.monotonic()

    def ask(self) -> None:
        # To write at each look would keep a disk awake for nothing.
        store = self._context.store
        look = maintenance.probe if store.failing else maintenance.ping
        self._ping = self._ping or store.write(look)

    def look(self) -> str:
        if self._ping is None:
            return ""
        try:
            self._ping.result(PATIENCE)
        except TimeoutError:
            silent = self._silent()
            return f"store: no answer for {silent:.0f} s" if silent > SLOW else ""
        except StoreError as error:
            # What hands may save yet a restart would let go; and where a disk takes
            # no write, it would take none after it.
            store = self._context.store
            good = bool(store.lost or store.failing)
            return self._after(f"store: {error}", good=good)
        return self._after("", good=True)

    def _after(self, problem: str, *, good: bool) -> str:
        self._ping = None
        if good:
            self._answered = self._context.monotonic()
        return problem

    def stuck(self) -> str:
        silent = self._silent()
        return f"store: no answer for {silent:.0f} s" if silent > SILENT else ""

    def _silent(self) -> float:
        return self._context.monotonic() - self._answered


class _Queue:
    """Whether a run that could be carried out is, while workers are idle."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: Future[int | None] | None = None
        self._waiting: int | None = None
        self._since = 0.0
        self.problem = ""

    def ask(self) -> None:
        context = self._context
        shares = context.running.hosts.shares
        self._found = context.store.read(runs.claimable, context.now(), shares)

    def look(self, workers: int) -> str:
        context = self._context
        idle = context.running.under_way < workers
        if self._found is None:
            return ""
        try:
            waiting = self._found.result(PATIENCE)
        except StoreError as error:
            return f"store: {error}"
        except TimeoutError:
            return self.problem
        self._judge(waiting, idle=idle)
        return self.problem

    def _judge(self, waiting: int | None, *, idle: bool) -> None:
        context = self._context
        if waiting is None or not idle or waiting != self._waiting:
            self._since = context.monotonic()
        self._waiting = waiting
        overdue = context.monotonic() - self._since
        taken = overdue <= SILENT
        self.problem = "" if taken else f"queue: no worker takes run {waiting}"


class _Claimed:
    """Whether each running run is in the hands of somebody, who will end it.

    A claim that was committed, and not confirmed for what befell the files meanwhile,
    is nobody's: its task would wait for ever.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: Future[list[int]] | None = None
        self._since: dict[int, float] = {}
        self.problem = ""

    def ask(self) -> None:
        self._found = self._context.store.read(runs.under_way)

    def look(self) -> str:
        if self._found is None:
            return ""
        try:
            claimed = self._found.result(PATIENCE)
        except (StoreError, TimeoutError):
            return self.problem
        self._judge(claimed)
        return self.problem

    def _judge(self, claimed: list[int]) -> None:
        running, now = self._context.running, self._context.monotonic()
        alone = [each for each in claimed if not running.is_carried(each)]
        self._since = {each: self._since.get(each, now) for each in alone}
        late = [each for each, since in self._since.items() if now - since > SILENT]
        self.problem = f"queue: nobody carries out run {late[0]}" if late else ""
