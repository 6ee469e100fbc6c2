"""Who is at work on a cache: any number of runs, or one that has it for itself.

Runs fetch one after the other. What they push they name by object id, so they push
beside each other and beside a fetch: nothing is taken out of a cache while any run is
at work on it. Who repacks, prunes or remakes it is alone. That there is one process
only is for the state directory to see to; what a killed one left is cleared up first.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gms_hookd.files import lock_file
from gms_hookd.git import recovery
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.process import Limits
from gms_hookd.git.recovery import Journal

OTHER = "another run of the same source"
PATIENCE = 0.05  # seconds between two looks at what another process holds

MakeWay = Callable[[], None]


@dataclass(slots=True)
class _Use:
    """The runs about one cache; those that wait are not at work."""

    slots: set[int] = field(default_factory=set)
    working: int = 0
    alone: bool = False
    fetching: bool = False
    loading: bool = False


class Holds:
    """The use that is made of all caches of a state directory."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._uses: dict[Path, _Use] = {}

    @contextlib.contextmanager
    def run(
        self, gitdir: Path, limits: Limits, make_way: MakeWay = lambda: None
    ) -> Iterator["Hold"]:
        """Let a run be at work on a cache; who is there for maintenance makes way.

        Raises GitError where the time is over before.
        """
        hold = Hold(self._changed, self._use(gitdir), limits, make_way)
        first = hold.enter()
        held = None
        try:
            held = _slot(gitdir, hold.slot, limits)
            if first:
                _clear_up(gitdir, hold.slot, held, limits)
                hold.settle()
            hold.journal = Journal(held)
            yield hold
            _end(hold.journal, limits)
        finally:
            hold.leave(first=first)
            if held is not None:
                os.close(held)

    @contextlib.contextmanager
    def maintenance(self, gitdir: Path) -> Iterator[Journal | None]:
        """Have a cache for oneself; None if a run, or a killed one's git, is there."""
        use = self._use(gitdir)
        with self._changed:
            free = not (use.slots or use.alone)
            use.alone = use.alone or free
        held = lock_file(slot_file(gitdir, 0)) if free else None
        try:
            yield None if held is None else _unhurried(gitdir, held)
        finally:
            if held is not None:
                os.close(held)
            self._end_alone(use, free)

    def _end_alone(self, use: _Use, free: bool) -> None:
        with self._changed:
            use.alone = use.alone and not free
            self._changed.notify_all()

    def _use(self, gitdir: Path) -> _Use:
        with self._changed:
            return self._uses.setdefault(gitdir, _Use())


@dataclass(eq=False, repr=False)
class Hold:
    """One run's part in the use of a cache."""

    journal: Journal = field(init=False)

    changed: threading.Condition
    use: _Use
    limits: Limits
    make_way: MakeWay
    _working: bool = field(default=False, init=False)
    slot: int = field(default=0, init=False)

    def enter(self) -> bool:
        """Take part; True for the first, who is alone until `settle`."""
        with self.changed:
            self._await(lambda: not self.use.alone)
            first = not self.use.slots
            self.slot = next(n for n in itertools.count() if n not in self.use.slots)
            self.use.slots.add(self.slot)
            self.use.alone = first
            self._count(working=True)
            return first

    def settle(self) -> None:
        """Let others in."""
        with self.changed:
            self.use.alone = False
            self.changed.notify_all()

    def leave(self, *, first: bool) -> None:
        """Take part no more."""
        with self.changed:
            self._count(working=False)
            self.use.slots.discard(self.slot)
            if first and not self.use.slots:
                self.use.alone = False
            self.changed.notify_all()

    @contextlib.contextmanager
    def fetching(self) -> Iterator[None]:
        """Be the one that fetches from the source."""
        self._take(lambda: not (self.use.fetching or self.use.alone), "fetching")
        try:
            yield
        finally:
            self._give_back("fetching")

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Be the one that brings large files; what is there already stays meanwhile."""
        with self.changed:
            self._await(lambda: not self.use.loading)
            self.use.loading = True
        try:
            yield
        finally:
            self._give_back("loading")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one at work, as soon as the others have ended."""
        self._take(lambda: not (self.use.working or self.use.alone), "alone")
        try:
            yield
        finally:
            self._give_back("alone")

    @contextlib.contextmanager
    def at_once(self) -> Iterator[bool]:
        """Be the only one at work, if nobody else is there now."""
        with self.changed:
            only = self._working and self.use.working == 1
            free = only and not self.use.alone
            self.use.alone = self.use.alone or free
        try:
            yield free
        finally:
            if free:
                self._give_back("alone")

    def _take(self, free: Callable[[], bool], what: str) -> None:
        """Wait, not at work meanwhile: who has the cache for itself waits for us."""
        with self.changed:
            self._count(working=False)
            self.changed.notify_all()
            self._await(free)
            self._count(working=True)
            setattr(self.use, what, True)

    def _give_back(self, what: str) -> None:
        with self.changed:
            setattr(self.use, what, False)
            self.changed.notify_all()

    def _count(self, *, working: bool) -> None:
        self.use.working += working - self._working
        self._working = working

    def _await(self, ready: Callable[[], bool]) -> None:
        try:
            while not ready():
                self._note_wait()
                self.make_way()
                _check(self.limits, "the cache is in use by another run")
                self.changed.wait(PATIENCE)
        finally:
            self.limits.log.waits_for = None

    def _note_wait(self) -> None:
        log = self.limits.log
        if not log.waits_for:
            log.line(f"waiting for {OTHER}")
        log.waits_for = OTHER


def slot_file(gitdir: Path, slot: int) -> Path:
    """Return the file in which a run notes what it does; the number is its place."""
    number = f".{slot}" if slot else ""
    return gitdir.with_name(f"{gitdir.name}{number}.lock")


def slot_files(gitdir: Path) -> Iterator[Path]:
    """Return those that there are."""
    paths = (slot_file(gitdir, n) for n in itertools.count())
    return itertools.takewhile(Path.exists, paths)


def _slot(gitdir: Path, slot: int, limits: Limits) -> int:
    gitdir.parent.mkdir(mode=0o700, exist_ok=True)  # somebody has cleared up, maybe
    held = lock_file(slot_file(gitdir, slot))
    while held is None:
        _wait(limits, "the cache is in use by another process")
        held = lock_file(slot_file(gitdir, slot))
    return held


def _wait(limits: Limits, late: str) -> None:
    limits.stop.wait(PATIENCE)
    _check(limits, late)


def _check(limits: Limits, late: str) -> None:
    if limits.stop.is_set():
        raise GitError(ErrorKind.STOPPED, "stopped while waiting for the cache")
    if time.monotonic() > limits.deadline:
        raise GitError(ErrorKind.LOCK, late)


def _clear_up(gitdir: Path, own: int, held: int, limits: Limits) -> None:
    """See to what a crash left: gits at work, and their locks in local targets."""
    for slot, path in enumerate(slot_files(gitdir)):
        if slot == own:
            _clear_slot(gitdir, held, limits)
        else:
            _clear_slot_of_another(gitdir, path, limits)


def _clear_slot_of_another(gitdir: Path, path: Path, limits: Limits) -> None:
    file = lock_file(path)
    if file is None:
        return
    try:
        _clear_slot(gitdir, file, limits)
    finally:
        os.close(file)


def _clear_slot(gitdir: Path, held: int, limits: Limits) -> None:
    before = recovery.read(held)
    while groups := recovery.orphans(before, gitdir):
        recovery.end(groups)
        _wait(limits, f"process group {min(groups)} of a killed run does not die")
    if before:
        recovery.of_a_push(before, limits)
        os.ftruncate(held, 0)


def _end(made: Journal, limits: Limits) -> None:
    """Note the end, but leave the clearing up to the next run if there is no time."""
    last = made.entry
    if last.writing:
        recovery.of_a_push(last, limits)
    if not (last.writing and limits.stop.is_set()):
        made.clear()


def _unhurried(gitdir: Path, held: int) -> Journal | None:
    """Return the journal, or None where a killed run's git is at work; that ends."""
    at_work = False
    for slot, path in enumerate(slot_files(gitdir)):
        record = recovery.read(held) if slot == 0 else _record_at(path)
        groups = recovery.orphans(record, gitdir)
        recovery.end(groups)
        at_work = at_work or bool(groups)
    return None if at_work else Journal(held, recovery.read(held))


def _record_at(path: Path) -> recovery.CrashRecord | None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return recovery.read(file)
    finally:
        os.close(file)
