"""Queues a run of each task whose schedule is met.

What was missed while no daemon ran, or jumped over by the clock, is made up for by one
run. A clock that is set back meets again the times that it shows again.
"""

import logging
import threading
from collections.abc import Iterable

from gms_hookd.cron import EVERY, next_time, parse
from gms_hookd.log import SELDOM
from gms_hookd.safetext import quoted, reason
from gms_hookd.store import StoreError, schedules
from gms_hookd.store.schedules import Next, Scheduled
from gms_hookd.threads import Supervised
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
TICK = 1.0  # seconds between looks at the clock
AT_ONCE = 200  # tasks in one transaction


class Scheduler:
    """One thread that looks at the wall clock, and at what the store has planned."""

    def __init__(self, context: Context, stopping: threading.Event) -> None:
        self._context = context
        self._stopping = stopping

    def run_forever(self, thread: Supervised) -> None:
        """Queue what is due until the daemon stops."""
        self.begin(self._context.now())
        while not self._stopping.wait(TICK):
            thread.beat()
            self.turn(self._context.now())

    def begin(self, now: int) -> None:
        """Plan again what is to come: the machine's zone may be another since."""
        try:
            found = self._context.store.read(schedules.every).result()
            _tell_unreadable(found)
            to_come = [each for each in found if each.due is None or each.due > now]
            planned = [renewed(each, now) for each in to_come]
            for part in _parts([n for n in planned if n.due != n.found.due]):
                self._context.store.write(schedules.take, part, now).result()
        except StoreError as error:
            log.warning("cannot plan schedules error=%s", reason(error))

    def turn(self, now: int) -> None:
        """Queue a run for all that is due at `now` (ms)."""
        try:
            while self._part(now) == AT_ONCE and not self._stopping.is_set():
                pass
        except StoreError as error:
            line = "cannot start what is scheduled error=%s"
            log.warning(line, reason(error), extra=SELDOM)

    def _part(self, now: int) -> int:
        store = self._context.store
        found = store.read(schedules.to_see_to, now, AT_ONCE).result()
        if not found:
            return 0
        planned = [following(each, now) for each in found]
        store.write(schedules.take, planned, now).result()
        self._context.running.wake()
        return len(found)


def following(found: Scheduled, now: int) -> Next:
    """Return the next time after `now` (ms) of one that is due, or found out later."""
    try:
        return Next(found, next_time(found.cron, now))
    except ValueError:
        return Next(found, None)


def renewed(found: Scheduled, now: int) -> Next:
    """Return the next time as it is by the zone of today; `@every` counts on."""
    later = following(found, now)
    if EVERY in found.cron and found.due is not None and later.due is not None:
        return Next(found, min(found.due, later.due))
    return later


def _tell_unreadable(found: Iterable[Scheduled]) -> None:
    for each in found:
        try:
            parse(each.cron)
        except ValueError as error:
            line = "schedule never met task=%d cron=%s error=%s"
            log.error(line, each.task_id, quoted(each.cron), reason(error))


def _parts(planned: list[Next]) -> Iterable[list[Next]]:
    return (planned[i : i + AT_ONCE] for i in range(0, len(planned), AT_ONCE))
