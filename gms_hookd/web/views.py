"""Records as JSON objects: the keys that scripts are written against."""

import json
from collections.abc import Iterable
from enum import Enum
from typing import Any

from gms_hookd import __version__
from gms_hookd.git import refspec
from gms_hookd.model import Delivery, Ref, Run, Task
from gms_hookd.store.deliveries import DeliveryContent
from gms_hookd.store.notices import NoticeRow
from gms_hookd.store.overview import FailingTask, Overview
from gms_hookd.sync.job import SyncResult
from gms_hookd.units import rfc3339
from gms_hookd.workers.running import DaemonState

Json = dict[str, Any]
PUSH_OPTION = "--push-option="
HEADS = "refs/heads/"
# The keys of the objects, in their order, that are fields of our records.
_TASK = (
    "id", "key", "name", "source", "target", "refspecs", "force", "prune", "enabled",
    "timeout", "cron", "next_cron", "pattern", "created_at", "updated_at",
)  # fmt: skip
_RUN = (
    "id", "task_id", "task_key", "task_name", "status", "attempt", "attempts_max",
    "next_try", "waits_for", "trigger", "deliveries", "created_at", "start_time",
    "end_time", "commit_range", "error_message", "details", "refs",
)  # fmt: skip
_REF = ("ref", "result", "old", "new", "reason")
_DELIVERY = (
    "id", "hook", "provider", "event", "delivery_key", "received_at", "client",
    "status", "reason", "task_ids", "run_ids",
)  # fmt: skip
_NOTICE = (
    "target", "event", "task_id", "run_id", "status", "attempts", "next_try",
    "created_at", "sent_at", "error",
)  # fmt: skip
_TALLY = ("waiting", "dead", "last_sent", "last_error")
_PLAN = ("status", "commit_range", "error_message", "details", "held", "refs")
_TIMES = frozenset({
    "next_cron", "created_at", "updated_at", "next_try", "start_time", "end_time",
    "received_at", "sent_at", "last_sent",
})  # fmt: skip
# Texts of which an empty one says that there is none.
_OPTIONAL = frozenset({"cron", "error_message", "error", "last_error"})


def moment(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339 in UTC, with milliseconds."""
    return None if milliseconds is None else rfc3339(milliseconds)


def _shown(record: object, keys: Iterable[str], **own: object) -> Json:
    """Show these fields of a record; `own` are those that it has otherwise, or not."""
    return {
        key: own[key] if key in own else _plain(key, getattr(record, key))
        for key in keys
    }


def _plain(key: str, value: object) -> object:
    """Return a field as JSON has it, and times as RFC 3339."""
    if key in _TIMES and isinstance(value, int):
        return rfc3339(value)
    if key in _OPTIONAL:
        return value or None
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def task(record: Task, last_run: Run | None, attempts: int) -> Json:
    """Show a task; `source_branch` and `target_branch` where it is one branch."""
    last = run(last_run, attempts) if last_run else None
    if last:
        del last["details"]
    source, target = one_branch(record.refspecs)
    branches = {"source_branch": source, "target_branch": target}
    return {**_shown(record, _TASK), "last_run": last, **branches, **_special(record)}


def _special(record: Task) -> Json:
    """Show what only some tasks have."""
    shown: Json = {}
    if record.most is not None:
        shown["max"] = record.most
    if record.create:
        shown["create"] = True
    if record.push_options:
        shown["push_options"] = [f"{PUSH_OPTION}{o}" for o in record.push_options]
    return shown


def one_branch(refspecs: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Name source and target branch where the refspecs are one branch."""
    if len(refspecs) != 1:
        return None, None
    spec = refspec.parse(refspecs[0])
    if spec.glob or (spec.src + spec.dst).count(HEADS) != 2:
        return None, None
    return spec.src.removeprefix(HEADS), spec.dst.removeprefix(HEADS)


def run(record: Run, attempts: int) -> Json:
    """Show a run, which has so many attempts; `details`, the log, where it is asked."""
    most, refs = record.attempts_max(attempts), [ref(each) for each in record.refs]
    return _shown(record, _RUN, attempts_max=most, refs=refs)


def status(
    condition: DaemonState, queue: Overview | None, attempts: int, error: str = ""
) -> Json:
    """Show how the daemon fares; `needs_hands` has one line for each that does.

    Where the store cannot be read, `error` says why, and what it would know is null.
    """
    problems = list(condition.problems)
    if error and not any(each.startswith("store:") for each in problems):
        problems.append(f"store: {error}")
    return {
        "version": __version__,
        "since": moment(condition.since),
        "listeners": list(condition.listeners),
        "ready": not problems,
        "problems": problems,
        "warnings": list(condition.warnings),
        "restart_for": list(condition.restart_for),
        "reload_refused": condition.refusal or None,
        "workers": condition.workers,
        "disk": {"free": condition.disk_free, "database": condition.database},
        "notices": _tallies(queue) if queue else None,
        **_queue(queue, attempts),
        "needs_hands": _needs_hands(condition, problems, queue),
    }


def _tallies(queue: Overview) -> list[Json]:
    tallies = queue.notices.items()
    return [{"target": target, **_shown(tally, _TALLY)} for target, tally in tallies]


def _queue(queue: Overview | None, attempts: int) -> Json:
    if queue is None:
        names = ("queue", "running", "failing", "retried", "refused", "scheduled")
        return dict.fromkeys(names)
    return {
        "queue": {
            "queued": queue.queued,
            "oldest": queue.oldest and _brief(queue.oldest, attempts),
            "running": queue.running,
            "failing": queue.failing,
            "retried": queue.retried,
        },
        "running": [_brief(each, attempts) for each in queue.under_way],
        "failing": [_failing(each, attempts) for each in queue.failing_tasks],
        "retried": [_failing(each, attempts) for each in queue.retried_tasks],
        "refused": [delivery(each) for each in queue.refused],
        "scheduled": [_scheduled(each) for each in queue.scheduled],
    }


def _brief(record: Run, attempts: int) -> Json:
    shown = run(record, attempts)
    del shown["details"], shown["refs"]
    return shown


def _failing(record: FailingTask, attempts: int) -> Json:
    """Show a run that did not go well, due again where its task's next run is."""
    shown = _brief(record.run, attempts)
    if record.waiting:
        shown["next_try"] = moment(record.waiting.next_try)
    return shown


def _scheduled(record: Task) -> Json:
    return {
        "task_id": record.id,
        "task_name": record.name,
        "cron": record.cron,
        "next_cron": moment(record.next_cron),
    }


def _needs_hands(
    condition: DaemonState, problems: list[str], queue: Overview | None
) -> list[str]:
    found = list(problems)
    if condition.refusal:
        found.append(condition.refusal)
    if condition.restart_for:
        changed = ", ".join(condition.restart_for)
        restart = "gms-hookd check && systemctl restart gms-hookd"
        found.append(f"a restart is needed for {changed}: {restart}")
    if queue and queue.failing:
        count = "1 task" if queue.failing == 1 else f"{queue.failing} tasks"
        last = queue.failing_tasks[0].run.id
        found.append(
            f"{count} failing: `gms-hookd run show {last}` says why, `gms-hookd manual"
            f" operating` what to do; once that is done: gms-hookd run retry {last}"
        )
    for target, tally in (queue.notices if queue else {}).items():
        if tally.dead:
            count = "1 notice" if tally.dead == 1 else f"{tally.dead} notices"
            found.append(f"{count} for {target} not delivered: {tally.last_error}")
    return found


def subject(record: Run | None, of: Task | None, attempts: int) -> Json:
    """Show what a notice is about: its task and its run, null where they are gone."""
    return {
        "task": task(of, None, attempts) if of else None,
        "run": run(record, attempts) if record else None,
    }


def notice(record: NoticeRow) -> Json:
    """Show a notice."""
    return {"id": record.key, **_shown(record, _NOTICE)}


def plan(outcome: SyncResult, details: str) -> Json:
    """Show what a run would do, with the log of finding it out."""
    held = None if outcome.held is None else dict(outcome.held)
    refs = [ref(each) for each in outcome.refs]
    return _shown(outcome, _PLAN, details=details, held=held, refs=refs)


def ref(record: Ref) -> Json:
    """Show what a run did to one ref."""
    return _shown(record, _REF)


def delivery_content(record: DeliveryContent | None) -> Json:
    """Show what is kept of a delivery's headers and body; null where it is not."""
    if record is None:
        return {"headers": None, "body": None}
    body = None if record.body is None else record.body.decode("utf-8", "replace")
    return {"headers": json.loads(record.headers), "body": body}


def delivery(record: Delivery) -> Json:
    """Show a delivery and its outcome."""
    return _shown(record, _DELIVERY)
