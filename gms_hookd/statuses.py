"""How a run stands, and what it did to a ref: the words of the API and of the store.

Apart from the other records of `model`, whose dataclasses take longer to load than a
command takes that asks the daemon.
"""

from enum import StrEnum


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
