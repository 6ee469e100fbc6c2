"""What a sync is asked to do, what it answers, and the shape of what carries it out."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from gms_hookd.git.process import Stop
from gms_hookd.model import Ref, RunStatus, Task
from gms_hookd.runlog import RunLog

DOUBT = "?"  # before a known id: the target was seen to differ, so read it first


class Order(NamedTuple):
    """What a run is to do: known is what we last pushed, target ref -> object id.

    confirmed names the deletions that a person has seen and wants, as ref -> object id,
    whatever a guard thinks of them; None where nobody was asked.
    hint is the object id that the trigger named. With verify the target is read even
    where nothing seems to have changed. asked is the number of the last delivery that
    wants the run, None where others want it, too; newest that of the last one there was
    when it began.
    """

    task: Task
    known: Mapping[str, str] = MappingProxyType({})
    confirmed: Mapping[str, str] | None = None
    hint: str | None = None
    verify: bool = False
    asked: int | None = None
    newest: int = 0


class Outcome(NamedTuple):
    """What became of a run; known is what to hand to the next one.

    pinned lists the tips that were overwritten or deleted at the target: the ref, its
    old object id, the ref of the cache that keeps it, the command that restores it.
    held names the deletions that a guard held back, None where none did.
    unable: it failed for want of git here, which says nothing about the task.
    """

    status: RunStatus
    refs: tuple[Ref, ...] = ()
    commit_range: str = ""
    error_message: str = ""
    transient: bool = False
    unable: bool = False
    known: Mapping[str, str] = MappingProxyType({})
    retry_after: float | None = None
    pinned: tuple[tuple[str, str, str, str], ...] = ()
    held: Mapping[str, str] | None = None


class Engine(Protocol):
    """Syncs tasks; any number of threads may use it at once."""

    def sync(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Do it; never raises for what git or the disk does."""

    def plan(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Say what sync would do to each ref, and change nothing at the target."""

    def probe(self, order: Order, log: RunLog, stop: Stop) -> Outcome:
        """Ask the source only; `known` is what it would have the target be."""

    def tidy(self, sources: Collection[str]) -> None:
        """Tidy the caches of these sources, remove all others; runs go first."""

    def close(self) -> None:
        """End the connections that were kept open."""
