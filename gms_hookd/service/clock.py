"""Watches the wall clock for jumps; what is deleted by its age asks here first."""

import logging

from gms_hookd.safetext import quoted
from gms_hookd.store import clock
from gms_hookd.store.clock import DAY, Watched, jump, looked
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
OFTEN = 600_000  # ms between two notes in the store while nothing happens
UNTIL = "nothing is deleted until the new time has lasted a day of running"
BATCH = 500  # rows


class ClockWatch:
    """The wall clock beside the one that cannot jump; one thread uses it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watched: Watched | None = None
        self._noted = -OFTEN

    def look(self) -> bool:
        """Return whether the wall clock can be believed. Raises StoreError."""
        store, now = self._context.store, self._context.moment()
        last = self._watched or store.read(clock.last).result()
        ran = now.up - self._watched.seen.up if self._watched else 0
        gained = jump(last, now)
        watched = looked(last, now, ran)
        _log(gained, before=last.doubt if last else 0, after=watched.doubt)
        if abs(gained) > DAY or now.up - self._noted >= OFTEN:
            self._keep(watched)
        if gained < -DAY:
            self._bring_back(now.wall)
        self._watched = watched
        return not watched.doubt

    def _keep(self, watched: Watched) -> None:
        self._context.store.write(clock.note, watched).result()
        self._noted = watched.seen.up

    def _bring_back(self, now: int) -> None:
        while self._context.store.write(clock.bring_back, now, BATCH).result():
            pass


def _log(gained: int, *, before: int, after: int) -> None:
    seconds = abs(gained) // 1000
    if gained > DAY:
        log.warning("clock jumped forward seconds=%d note=%s", seconds, quoted(UNTIL))
    elif gained < -DAY:
        log.warning("clock was set back seconds=%d", seconds)
    if before and not after:
        log.info("clock is believed again")
