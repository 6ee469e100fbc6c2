"""Threads for what neither the front nor a worker may wait for."""

from gms_hookd.service.reachability import WITHIN as ANSWER
from gms_hookd.threads import SILENT, Pool, Threads
from gms_hookd.web.api import LONGEST_LOOK, LONGEST_PLAN
from gms_hookd.workers.notifier import LEAST as TARGETS
from gms_hookd.workers.notifier import WITHIN as NOTICE
from gms_hookd.workers.reconciler import AT_ONCE, PATIENCE

PLANS, PLANS_WAITING = 4, 12
PLAN = LONGEST_PLAN + SILENT  # seconds
COPIES_WAITING = 4
COPY = 3600.0  # seconds
WAITING = 4  # who looks what an undo needs, or has all inspected
LOOK = LONGEST_LOOK + SILENT  # seconds
INSPECTION = 120.0  # seconds
NOTICE_END = 3.0  # seconds that a message under way gets to be taken at the end


class Pools:
    """One pool for each kind of work, so that no kind can starve another."""

    def __init__(self, threads: Threads) -> None:
        self.checks = Pool(threads, "check", AT_ONCE, within=PATIENCE + SILENT)
        self.plans = Pool(threads, "plan", PLANS, waiting=PLANS_WAITING, within=PLAN)
        self.copies = Pool(threads, "copy", 1, waiting=COPIES_WAITING, within=COPY)
        self.looks = Pool(threads, "look", 1, waiting=WAITING, within=LOOK)
        self.inspections = Pool(
            threads, "inspect", 1, waiting=WAITING, within=INSPECTION
        )
        self.reach = Pool(threads, "reach", 1, within=ANSWER + SILENT)
        self.notices = Pool(threads, "notice", TARGETS, within=NOTICE)

    def close(self, within: float) -> None:
        """Do what waits, and end their threads, each pool's within so many seconds."""
        # What a target has not taken by then it gets from our successor.
        self.notices.close(min(within, NOTICE_END))
        others = self.looks, self.inspections, self.reach
        for pool in (self.checks, self.plans, self.copies, *others):
            pool.close(within)
