"""The records of the domain, as frozen values: task, run, ref, delivery.

Times are Unix milliseconds (UTC); object ids are lower-case hex of 40 or 64 digits.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class RunStatus(StrEnum):
    """Where a run is; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    CONFLICT = "conflict"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset(
    {RunStatus.SUCCESS, RunStatus.CONFLICT, RunStatus.FAILED, RunStatus.CANCELLED}
)


class RefResult(StrEnum):
    """What a run did to one ref of the target."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"
    FORCED = "forced"
    DELETED = "deleted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Task:
    """What to sync: where from, where to, which refs, under which policy."""

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


@dataclass(frozen=True, slots=True)
class Ref:
    """One ref of the target in one run: what was done, from which id to which."""

    ref: str
    result: RefResult
    old: str | None
    new: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a task, whatever the number of its attempts."""

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
