"""What the front's loop writes in one turn is committed together, at the turn's end.

A turn of the loop takes every request that has come meanwhile. Each trigger among them
is one write, and to commit each by itself would cost one fsync a trigger. So what the
loop's thread submits between `hold` and `release` is kept here and committed at once.
While the disk is quick that is done in the loop's own thread, for to hand it to the
writing thread and back costs more than the commit itself. The lines of the log are kept
likewise and written once the answers are out.

The loop (http.server) knows only that a turn has a begin and an end; who writes knows
only `submit`. No other module holds or releases anything.
"""

import threading
from collections.abc import Callable
from typing import Any

from gms_hookd import log
from gms_hookd.futures import Future
from gms_hookd.store.dbthread import DatabaseThread, Submission


class Turn:
    """The writes of the thread that holds; those of others go straight on.

    `sweep` is called several times a second: it may submit what is due by then.
    """

    def __init__(self, writer: DatabaseThread) -> None:
        self._writer = writer
        self._thread: int | None = None
        self._held: list[Submission] = []
        self.sweep: Callable[[], None] = _nothing

    def submit(self, submission: Submission) -> Future[Any]:
        """Hand over a write, at the end of the turn where this thread is in one."""
        if self._thread != threading.get_ident():
            return self._writer.submit(submission)
        self._held.append(submission)
        return submission.future

    @property
    def waiting(self) -> int:
        """Count the writes that wait for the end of the turn."""
        return len(self._held)

    def hold(self) -> None:
        """Keep back what this thread submits, and all lines, from now on."""
        log.hold()
        self._thread = threading.get_ident()

    def release(self) -> None:
        """Commit what was kept back, here if that is quick, else in its thread."""
        self._thread = None
        batch, self._held = self._held, []
        if batch and not self._writer.commit_here(batch):
            for submission in batch:
                self._writer.submit(submission)

    def end(self) -> None:
        """Write the lines: nobody waits for them."""
        log.release()


def _nothing() -> None:
    pass
