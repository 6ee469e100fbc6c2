"""The daemon as it is, but for a store that keeps nothing and answers at once.

    python3 -m tests.bench.storeless serve ...

No worker gets a run, as none does that waits for git.
"""

import sys

from gms_hookd.cli import main
from gms_hookd.futures import Future, done
from gms_hookd.store import Store, notices, runs, schedules, source_checks
from gms_hookd.store.deliveries import NewDelivery, RecordedDelivery
from gms_hookd.store.turn import Turn

CAME = NewDelivery("task-sync", "gms", "", 0)
ANSWERS = {
    runs.accept: done(RecordedDelivery(CAME, 200, "accepted", (1,), (1,))),
    runs.lease: Future(),
    runs.recover: done(([], [])),
    source_checks.due: done([]),
    notices.due: done([]),
    schedules.every: done([]),
    notices.conditions: done({}),
}
NOTHING = done(None)


class Forgetful:
    """What a store is to the daemon."""

    waiting = 0
    lost = failing = ""

    def __init__(self, path, _threads=None):
        self.path = path
        self.turn = Turn(None)  # it is handed nothing

    def write(self, operation, *_args, **_named):
        return ANSWERS.get(operation, NOTHING)

    read = alone = gather = write

    def commit(self, operation, *_args, **_named):
        return self.write(operation).result()

    def close(self):
        pass


if __name__ == "__main__":
    Store.open = Forgetful
    sys.exit(main.main())
