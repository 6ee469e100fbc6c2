"""The daemon as it is, but for a store that keeps nothing and answers at once.

Takes the same arguments. No worker gets a run, as none does that waits for git.
"""

import sys
from pathlib import Path

from gms_hookd.cli import main
from gms_hookd.futures import Future, done
from gms_hookd.store import Store, notices, runs, source_checks
from gms_hookd.store.deliveries import RecordedDelivery

sys.path.insert(0, str(Path(__file__).parents[2]))


ANSWERS = {
    runs.accept: done(RecordedDelivery(None, 200, "accepted", (1,), (1,))),
    runs.claim: Future(),
    runs.recover: done(([], [])),
    source_checks.due: done([]),
    notices.due: done([]),
}
NOTHING = done(None)


class Forgetful:
    """What a store is to the daemon."""

    waiting = 0

    def __init__(self, path):
        self.path = path

    def write(self, operation, *_args, **_named):
        return ANSWERS.get(operation, NOTHING)

    read = alone = gather = write

    def hold(self):
        pass

    release = close = hold


if __name__ == "__main__":
    Store.open = Forgetful
    sys.exit(main.main())
