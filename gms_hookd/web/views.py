"""Records as JSON objects: the keys that scripts are written against."""

import json
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


def moment(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339 in UTC, with milliseconds."""
    return None if milliseconds is None else rfc3339(milliseconds)


def task(record: Task, last_run: Run | None, attempts: int) -> Json:
    """Show a task; `source_branch` and `target_branch` where it is one branch."""
    last = run(last_run, attempts) if last_run else None
    if last:
        del last["details"]
    shown: Json = {
        "id": record.id,
        "key": record.key,
        "name": record.name,
        "source": record.source,
        "target": record.target,
        "refspecs": list(record.refspecs),
        "force": record.force,
        "prune": record.prune,
        "enabled": record.enabled,
        "timeout": record.timeout,
        "cron": record.cron or None,
        "next_cron": moment(record.next_cron),
        "pattern": record.pattern,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "last_run": last,
    }
    branches = one_branch(record.refspecs)
    shown["source_branch"], shown["target_branch"] = branches
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
    if spec.glob or (spec.src + spec.dst).count("refs/heads/") != 2:
        return None, None
    heads = "refs/heads/"
    return spec.src.removeprefix(heads), spec.dst.removeprefix(heads)


def run(record: Run, attempts: int) -> Json:
    """Show a run, which has so many attempts; `details`, the log, where it is asked."""
    return {
        "id": record.id,
        "task_id": record.task_id,
        "task_key": record.task_key,
        "task_name": record.task_name,
        "status": record.status.value,
        "attempt": record.attempt,
        "attempts_max": record.attempts_max(attempts),
        "next_try": moment(record.next_try),
        "waits_for": record.waits_for,
        "trigger": record.trigger,
        "deliveries": list(record.deliveries),
        "created_at": moment(record.created_at),
        "start_time": moment(record.start_time),
        "end_time": moment(record.end_time),
        "commit_range": record.commit_range,
        "error_message": record.error_message or None,
        "details": record.details,
        "refs": [ref(each) for each in record.refs],
    }


def status(
    condition: DaemonState, queue: Overview | None, error: str, attempts: int
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
    return [
        {
            "target": target,
            "waiting": tally.waiting,
            "dead": tally.dead,
            "last_sent": moment(tally.last_sent),
            "last_error": tally.last_error or None,
        }
        for target, tally in queue.notices.items()
    ]


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
        found.append(f"a restart is needed for {changed}: systemctl restart gms-hookd")
    if queue and queue.failing:
        count = "1 task" if queue.failing == 1 else f"{queue.failing} tasks"
        found.append(
            f"{count} failing: `gms-hookd run show RUN` says why, `gms-hookd"
            " manual operating` what to do"
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
    return {
        "id": record.key,
        "target": record.target,
        "event": record.event,
        "task_id": record.task_id,
        "run_id": record.run_id,
        "status": record.status,
        "attempts": record.attempts,
        "next_try": moment(record.next_try),
        "created_at": moment(record.created_at),
        "sent_at": moment(record.sent_at),
        "error": record.error or None,
    }


def plan(outcome: SyncResult, details: str) -> Json:
    """Show what a run would do, with the log of finding it out."""
    return {
        "status": outcome.status.value,
        "commit_range": outcome.commit_range,
        "error_message": outcome.error_message or None,
        "details": details,
        "held": None if outcome.held is None else dict(outcome.held),
        "refs": [ref(each) for each in outcome.refs],
    }


def ref(record: Ref) -> Json:
    """Show what a run did to one ref."""
    return {
        "ref": record.ref,
        "result": record.result.value,
        "old": record.old,
        "new": record.new,
        "reason": record.reason,
    }


def delivery_content(record: DeliveryContent | None) -> Json:
    """Show what is kept of a delivery's headers and body; null where it is not."""
    if record is None:
        return {"headers": None, "body": None}
    body = None if record.body is None else record.body.decode("utf-8", "replace")
    return {"headers": json.loads(record.headers), "body": body}


def delivery(record: Delivery) -> Json:
    """Show a delivery and its outcome."""
    return {
        "id": record.id,
        "hook": record.hook,
        "provider": record.provider,
        "event": record.event,
        "delivery_key": record.delivery_key,
        "received_at": moment(record.received_at),
        "client": record.client,
        "status": record.status,
        "reason": record.reason,
        "task_ids": list(record.task_ids),
        "run_ids": list(record.run_ids),
    }
