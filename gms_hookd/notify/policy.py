"""When a notice is made: a decision on what is known of a task, and how a run ended.

success -> success     nothing (changed, where refs moved)
success -> failure     failed or conflict
failure -> failure     nothing, unless its class is new since the last success
failure -> success     recovered
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

FAILED, CONFLICT, RECOVERED, CHANGED = "failed", "conflict", "recovered", "changed"
SUCCESS = "success"  # of heartbeats only
RENAMED = "renamed"
ENDED = "ended"  # all runs of a delivery, to who sent it
STALLED, STORE, DISK = "stalled", "store", "disk"
CONDITIONS = (STALLED, STORE, DISK)  # of the daemon, not of a task
EVENTS = (FAILED, CONFLICT, RECOVERED, CHANGED, RENAMED, *CONDITIONS)
HEARTBEAT = (SUCCESS, FAILED, CONFLICT)


class FailureSeries(NamedTuple):
    """What is kept of a task whose last run did not succeed.

    `kinds` are the classes of failure since the last success, `looked` is up to when
    reminders were made; times in ms.
    """

    since: int
    failures: int
    kinds: frozenset[str]
    looked: int


class Ended(NamedTuple):
    """How a run ended; `event` is SUCCESS, FAILED or CONFLICT, `kind` its class."""

    event: str
    at: int
    kind: str = ""
    changed: bool = False


class News(NamedTuple):
    """What is to be told of the end of a run: to people, and to heartbeats.

    `failing` is as it stood when that was decided: of a recovery, before it.
    """

    events: tuple[str, ...]
    heartbeat: str
    failing: FailureSeries | None


def _good_news(before: FailureSeries | None, ended: Ended) -> tuple[str, ...]:
    due = {RECOVERED: before is not None, CHANGED: ended.changed}
    return tuple(event for event, so in due.items() if so)


def decide(
    before: FailureSeries | None, ended: Ended
) -> tuple[FailureSeries | None, News]:
    """Return what is to be kept of the task, and what is to be told."""
    if ended.event == SUCCESS:
        return None, News(_good_news(before, ended), SUCCESS, before)
    known = before or FailureSeries(ended.at, 0, frozenset(), ended.at)
    after = known._replace(
        failures=known.failures + 1, kinds=known.kinds | {ended.kind}
    )
    events = () if ended.kind in known.kinds else (ended.event,)
    return after, News(events, ended.event, after)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One target, as far as it decides what is made for it.

    `tasks` are ids, names or globs of names, none for all; `remind` is in ms, 0 for
    never. A heartbeat hears of each end of a run.
    """

    name: str
    events: frozenset[str]
    tasks: tuple[int | str, ...] = ()
    heartbeat: bool = False
    remind: int = 0

    def covers(self, task_id: int, task_name: str) -> bool:
        """Tell whether it is to hear of this task."""
        return not self.tasks or any(
            entry == task_id or fnmatchcase(task_name, str(entry))
            for entry in self.tasks
        )

    def wanted(self, news: News) -> tuple[str, ...]:
        """Return which of the news it is to hear."""
        events = (news.heartbeat,) if self.heartbeat else news.events
        return tuple(event for event in events if event in self.events)

    def reminded(self, failing: FailureSeries, now: int) -> bool:
        """Tell whether another period of `remind` is over since it was last looked."""
        if not self.remind or self.heartbeat:
            return False
        past, before = now - failing.since, failing.looked - failing.since
        return past // self.remind > before // self.remind


class DueNotice(NamedTuple):
    """A notice that is to be made."""

    target: str
    event: str


def wanted(
    subscribers: Iterable[Subscriber], task_id: int, task_name: str, news: News
) -> list[DueNotice]:
    """Return the notices to be made of some news."""
    return [
        DueNotice(each.name, event)
        for each in subscribers
        if each.covers(task_id, task_name)
        for event in each.wanted(news)
    ]


def reminders(
    subscribers: Iterable[Subscriber],
    task_id: int,
    task_name: str,
    failing: FailureSeries,
    now: int,
) -> list[DueNotice]:
    """Return the reminders that are due for a task which still fails."""
    event = CONFLICT if failing.kinds == {CONFLICT} else FAILED
    return [
        DueNotice(each.name, event)
        for each in subscribers
        if event in each.events
        and each.covers(task_id, task_name)
        and each.reminded(failing, now)
    ]
