"""The records of the domain, as frozen values: task, run, ref, delivery.

Times are Unix milliseconds (UTC); object ids are lower-case hex of 40 or 64 digits.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from gms_hookd.contract import FINAL as FINAL  # noqa: PLC0414 - a name of this face
from gms_hookd.contract import RefResult as RefResult  # noqa: PLC0414
from gms_hookd.contract import RunStatus as RunStatus  # noqa: PLC0414

LARGEST_ID = 2**63 - 1  # of a row: what an INTEGER of sqlite holds


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` nodes that have the tasks between them.

    The ids of its tasks are `number` modulo `count`, so that who sees an id knows the
    node.
    """

    number: int = 0
    count: int = 1

    def has(self, task_id: int) -> bool:
        """Return whether a task with this id belongs here."""
        return (task_id - self.number) % self.count == 0

    def after(self, task_id: int) -> int:
        """Return the first id of this node beyond another."""
        return task_id + 1 + (self.number - task_id - 1) % self.count


WHOLE = Shard()


@dataclass(frozen=True, slots=True)
class Task:
    """What to sync: where from, where to, which refs, under which policy.

    `cron` is its schedule, "" for none; `next_cron` when that is met next, None while
    the task is disabled, and where it never is. `pattern` is the name of the task that
    has made this one, `pattern_id` its id. `most` is how many tasks this one may make,
    None unless it is a pattern; `create`: a target on this machine is made.
    """

    id: int
    key: str
    name: str
    source: str
    target: str
    refspecs: tuple[str, ...]
    force: bool
    prune: bool
    enabled: bool
    timeout: float | None
    created_at: int
    updated_at: int
    push_options: tuple[str, ...] = ()
    cron: str = ""
    next_cron: int | None = None
    most: int | None = None
    create: bool = False
    pattern_id: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Ref:
    """One ref of the target in one run: what was done, from which id to which."""

    ref: str
    result: RefResult
    old: str | None
    new: str | None
    reason: str | None = None

    @property
    def values(self) -> tuple[str | None, ...]:
        """The fields in their order, as they are stored."""
        return self.ref, self.result, self.old, self.new, self.reason

    @property
    def acted(self) -> bool:
        """Whether the target's ref was changed."""
        return self.result not in (RefResult.UNCHANGED, RefResult.REJECTED)

    @property
    def in_doubt(self) -> bool:
        """Whether it may have been changed all the same."""
        return not self.acted and UNKNOWN in (self.reason or "")


@dataclass(frozen=True, slots=True)
class Undo:
    """What is to be put back: the id of the run that did it, and what it did."""

    run: int
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a task, whatever the number of its attempts.

    `next_try` is when a queued one is due; `failures` are the attempts that count;
    `waits_for` says in words what it waits for, where that is not its time.
    """

    id: int
    task_id: int
    task_key: str
    task_name: str
    status: RunStatus
    attempt: int
    trigger: str
    deliveries: tuple[int, ...]
    created_at: int
    start_time: int | None
    end_time: int | None
    commit_range: str
    error_message: str
    refs: tuple[Ref, ...] = ()
    details: str | None = None
    next_try: int | None = None
    failures: int = 0
    waits_for: str | None = None

    def attempts_max(self, attempts: int) -> int:
        """Return the number of its last attempt if all fail, of so many that count.

        An attempt that the daemon cut off itself does not count.
        """
        if self.status in FINAL:
            return max(attempts, self.attempt)
        began = self.attempt - (self.status is RunStatus.RUNNING)
        return began + max(attempts - self.failures, 0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request to a hook, and what became of it."""

    id: int
    hook: str
    provider: str
    event: str | None
    delivery_key: str | None
    received_at: int
    client: str
    status: int
    reason: str
    task_ids: tuple[int, ...] = ()
    run_ids: tuple[int, ...] = ()


class Moment(NamedTuple):
    """Unix time, and the time since the machine began; both in milliseconds.

    By two clocks, one that is set does not make old things new.
    """

    wall: int
    up: int

    def since(self, earlier: "Moment | None") -> float:
        """Return the seconds since then, by the clock that says more.

        Infinite where no clock can tell: for never, for a time before the machine
        began, and for one that is still to come by a clock that was set.
        """
        if earlier is None or self.up < earlier.up or self.wall < earlier.wall:
            return math.inf
        return max(self.up - earlier.up, self.wall - earlier.wall) / 1000


UNKNOWN = "it is not known whether it arrived"  # in the reason of a ref
RANGES = 20  # changed refs that a commit range names


def commit_range(refs: Iterable[Ref]) -> str:
    """Return what changed: OLD..NEW, NEW for a new ref, OLD.. for a deleted one."""
    ranges = [_range(row) for row in refs if row.acted]
    more = len(ranges) - RANGES
    tail = [f"... {more} more"] if more > 0 else []
    return " ".join(ranges[:RANGES] + tail)


def _after_nothing(first: Ref, then: Ref) -> Ref:
    same = (first.old, first.new) == (then.old, then.new) or not first.in_doubt
    return then if same else replace(then, reason=_both(first.reason, then.reason))


def over_attempts(first: Ref | None, then: Ref) -> Ref:
    """Return what became of a ref over two attempts; what was done is never dropped."""
    if first is None:
        return then
    if not first.acted:
        return _after_nothing(first, then)
    if then.result is RefResult.UNCHANGED:
        return first
    if then.result is RefResult.REJECTED:
        why = f"a later attempt: rejected: {then.reason}"
        return replace(first, reason=_both(first.reason, why))
    old = first.old if then.new else then.old
    result = _sum_of(first, then, old)
    return Ref(then.ref, result, old, then.new, _both(first.reason, then.reason))


def _sum_of(first: Ref, then: Ref, old: str | None) -> RefResult:
    if then.new is None:
        return RefResult.DELETED
    if old is None:
        return RefResult.CREATED
    losses = (RefResult.FORCED, RefResult.DELETED)
    lost = first.result in losses or then.result in losses
    return RefResult.FORCED if lost else RefResult.UPDATED


def _both(one: str | None, other: str | None) -> str | None:
    if one and other and other not in one:
        return f"{one}; {other}"
    return one or other


def _range(row: Ref) -> str:
    if row.old and row.new:
        return f"{row.old}..{row.new}"
    return row.new or f"{row.old}.."
