"""Records as JSON objects: the keys that scripts are written against."""

import json
from typing import Any

from gms_hookd.git import refspec
from gms_hookd.model import Delivery, Ref, Run, Task
from gms_hookd.store.deliveries import DeliveryContent
from gms_hookd.sync.job import SyncResult
from gms_hookd.units import rfc3339

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
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "last_run": last,
    }
    branches = one_branch(record.refspecs)
    shown["source_branch"], shown["target_branch"] = branches
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
