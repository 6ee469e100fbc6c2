"""What has happened since the process began, as numbers that only grow."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, product
from typing import NamedTuple

from gms_hookd.model import FINAL

Labels = tuple[str, ...]
SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
RESULTS = ("queued", "joined", "repeated", "nothing", "filtered", "refused")
TRIGGERS = ("manual", "retry", "cron", "reconcile", "undo")
REMOTE = ("fetch", "ls-remote", "push")
GIT_RESULTS = ("ok", "auth", "host", "network", "other", "policy", "stall", "timeout")
NOTICE_RESULTS = ("sent", "failed", "dead", "dropped")


class Counter:
    """Counts events by their labels; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Labels, int] = {}

    def expect_all(self, *labels: Iterable[str]) -> None:
        """Show counts of 0 before the first event, for all pairs of such labels."""
        with self._lock:
            for each in product(*labels):
                self._counts.setdefault(each, 0)

    def add(self, *labels: str, amount: int = 1) -> None:
        """Count an event, or so many."""
        with self._lock:
            self._counts[labels] = self._counts.get(labels, 0) + amount

    def counts(self) -> Mapping[Labels, int]:
        """Return the counts as they are now."""
        with self._lock:
            return dict(self._counts)


class Distribution(NamedTuple):
    """How many values were at most each bound, of all; and their sum."""

    bounds: tuple[float, ...]
    at_most: tuple[int, ...]
    every: int
    total: float


class Histogram:
    """Counts durations (seconds) by how long they were; any thread may observe."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        with self._lock:
            self._counts[bisect_left(self._bounds, seconds)] += 1
            self._total += seconds

    def distribution(self) -> Distribution:
        """Return what was counted up to now."""
        with self._lock:
            counts, total = list(self._counts), self._total
        *at_most, every = accumulate(counts)
        return Distribution(self._bounds, tuple(at_most), every, total)


@dataclass(frozen=True, slots=True)
class Counters:
    """All that is counted, with the labels of each.

    `requests`: route and status; `deliveries`: hook and result; `runs`: status and
    trigger; `git`: command and result; `notices`: target and result.
    """

    requests: Counter = field(default_factory=Counter)
    deliveries: Counter = field(default_factory=Counter)
    runs: Counter = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)
    git: Counter = field(default_factory=Counter)
    notices: Counter = field(default_factory=Counter)

    def expect(self, hooks: Iterable[str], targets: Iterable[str] = ()) -> None:
        """Show zeroes for what these hooks, targets of notices, and git, may bring.

        A rate, or an alert, sees no first event of a series that was not there.
        """
        named = tuple(hooks)
        triggers = (*TRIGGERS, *(f"webhook:{hook}" for hook in named))
        ends = sorted(status.value for status in FINAL)
        self.deliveries.expect_all(named, RESULTS)
        self.runs.expect_all(ends, triggers)
        self.git.expect_all(REMOTE, GIT_RESULTS)
        self.notices.expect_all(targets, NOTICE_RESULTS)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process uses: seconds of processors, bytes, descriptors; its start (s)."""

    cpu: float
    resident: int
    virtual: int
    descriptors: int
    most_descriptors: int
    started: float
