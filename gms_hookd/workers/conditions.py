"""Has people told of what concerns all tasks: a queue, a store, a disk in trouble.

Each once when it has begun and lasts, and once when it is over; what was told is kept
in the store, so a restart tells it neither again nor for the first time. Where the
store itself takes nothing it is sent at once, and written down when that is possible.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from gms_hookd.futures import Future
from gms_hookd.log import SELDOM
from gms_hookd.notify.base import Fate, SendResult
from gms_hookd.notify.policy import CONDITIONS, DISK, STALLED, STORE
from gms_hookd.safetext import quoted
from gms_hookd.store import StoreError, notices, runs
from gms_hookd.store.notices import ConditionNews, NoticeRow
from gms_hookd.threads import Supervised
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
TICK = 5.0
PATIENCE = 5.0  # seconds that the store has to answer
LASTS = 30.0  # seconds from which on a trouble is one, and is over
DIRECT = 60.0  # seconds between tries to tell it without the store
LOW, ENOUGH = 256 << 20, 512 << 20  # bytes that are free


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong now; `since` is when it began (ms).

    `run` is the oldest that waits in a queue, and the id and name of its task.
    """

    since: int
    said: str = ""
    run: tuple[int, int, str] | None = None


@dataclass(frozen=True, slots=True)
class Senses:
    """How it is found out: seconds of a stalled queue (0: never), free bytes, problems.

    `listening` names the targets that are told of a condition; `tell` sends one of them
    a notice at once.
    """

    patience: Callable[[], float]
    free: Callable[[], int | None]
    problems: Callable[[], Iterable[str]]
    listening: Callable[[str], tuple[str, ...]]
    tell: Callable[[NoticeRow], Future[SendResult]]


@dataclass(slots=True)
class _Unwritten:
    """What the store has not taken yet, and who was told of it all the same."""

    news: ConditionNews
    announced: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    next_try: float = 0.0


@dataclass(eq=False, repr=False)
class Conditions:
    """One thread that looks, and has told what has changed."""

    context: Callable[[], Context]
    senses: Senses
    stopping: threading.Event
    _announced: dict[str, int] | None = field(default=None, init=False)
    _differs: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    _unwritten: list[_Unwritten] = field(default_factory=list, init=False)
    _moved: tuple[int, float, int] | None = field(default=None, init=False)

    def run_forever(self, thread: Supervised) -> None:
        """Look until the daemon stops."""
        while not self.stopping.wait(TICK):
            thread.beat()
            self.look()

    def look(self) -> None:
        """Look once, and have told what has changed."""
        found = self._found()
        for name in CONDITIONS:
            self._compare(name, found.get(name))
        self._write()

    # --- what is so

    def _found(self) -> Mapping[str, Trouble]:
        found = {DISK: self._disk(), STORE: self._store(), STALLED: self._queue()}
        # A full disk is one trouble, whoever meets it first.
        store = found[STORE]
        if store and found[DISK] and "is full" in store.said:
            found[STORE] = None
        return {name: trouble for name, trouble in found.items() if trouble}

    def _disk(self) -> Trouble | None:
        free = self.senses.free()
        if free is None:
            return self._as_before(DISK)
        if free >= (ENOUGH if DISK in self._known() else LOW):
            return None
        return Trouble(self._began(DISK), f"{free >> 20} MiB")

    def _store(self) -> Trouble | None:
        problems = self.senses.problems()
        said = [p.partition(": ")[2] for p in problems if p.startswith("store:")]
        return Trouble(self._began(STORE), said[0]) if said else None

    def _began(self, name: str) -> int:
        _, wall = self._differs.get(name, (0.0, self.context().now()))
        return wall

    def _queue(self) -> Trouble | None:
        """Return since when a run could begin, and no run has begun or ended."""
        context, limit = self.context(), self.senses.patience()
        now, moves = context.moment(), context.running.moves
        try:
            waiting = self._waiting()
        except (StoreError, TimeoutError):
            return self._as_before(STALLED)
        if not waiting or self._moved is None or self._moved[0] != moves:
            self._moved = moves, now.up / 1000, now.wall
        _, since, wall = self._moved
        stands = waiting and limit and now.up / 1000 - since >= limit
        return Trouble(wall, run=waiting) if stands else None

    def _waiting(self) -> tuple[int, int, str] | None:
        store, now = self.context().store, self.context().now()
        return store.read(runs.oldest_due, now).result(PATIENCE)

    def _as_before(self, name: str) -> Trouble | None:
        """Return what was told, of what cannot be found out now."""
        since = self._known().get(name)
        return None if since is None else Trouble(since)

    # --- what is told

    def _known(self) -> Mapping[str, int]:
        """Return what was told to be in trouble, and since when (ms)."""
        if self._announced is None:
            try:
                read = self.context().store.read(notices.conditions)
                self._announced = read.result(PATIENCE)
            except (StoreError, TimeoutError):
                return {}
        return self._announced

    def _compare(self, name: str, trouble: Trouble | None) -> None:
        announced = name in self._known()
        if announced == bool(trouble):
            self._differs.pop(name, None)
            return
        now = self.context().moment()
        began, wall = self._differs.setdefault(name, (now.up / 1000, now.wall))
        lasts = name == STALLED or now.up / 1000 - began >= LASTS
        targets = self.senses.listening(name)
        if lasts and (targets or announced):
            del self._differs[name]
            self._announce(name, trouble or Trouble(wall), targets, over=announced)

    def _announce(
        self, name: str, trouble: Trouble, targets: Iterable[str], *, over: bool
    ) -> None:
        known = dict(self._known())
        since = known.pop(name, trouble.since) if over else trouble.since
        self._announced = known if over else {**known, name: since}
        keys = {target: notices.new_key() for target in targets}
        now = self.context().now()
        said = "" if over else self.context().mask(trouble.said)[:300]
        run = None if over else trouble.run
        news = ConditionNews(name, since, now, said, over=over, keys=keys, run=run)
        self._unwritten.append(_Unwritten(news))
        level = logging.INFO if over else logging.ERROR
        text = "condition %s name=%s said=%s"
        log.log(level, text, "over" if over else "begun", name, quoted(said or "-"))

    def _taken(self, first: _Unwritten) -> bool:
        store, announced = self.context().store, frozenset(first.announced)
        try:
            written = store.write(notices.note_condition, first.news, announced)
            written.result(PATIENCE)
        except (StoreError, TimeoutError) as error:
            log.warning("condition waits error=%s", quoted(error), extra=SELDOM)
            return False
        return True

    def _write(self) -> None:
        """Have the outbox take what has changed, or tell it without."""
        while self._unwritten and self._taken(self._unwritten[0]):
            del self._unwritten[0]
        for each in self._unwritten:
            self._tell(each)

    def _tell(self, unwritten: _Unwritten) -> None:
        now = self.context().monotonic()
        if now < unwritten.next_try:
            return
        unwritten.next_try = now + DIRECT
        for row in notices.rows_of(unwritten.news):
            if row.target not in unwritten.announced | unwritten.refused:
                sending = self.senses.tell(row)
                sending.add_done_callback(partial(_note, unwritten, row.target))


def _note(unwritten: _Unwritten, target: str, sent: Future[SendResult]) -> None:
    """Remember who has it already; what was refused is tried again by the outbox."""
    if sent.exception():
        return
    fate = sent.result().fate
    if fate is Fate.SENT:
        unwritten.announced.add(target)
    elif fate is Fate.NEVER:
        unwritten.refused.add(target)
