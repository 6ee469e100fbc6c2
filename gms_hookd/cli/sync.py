"""The command that syncs a task while one watches."""

from collections.abc import Mapping

from gms_hookd.cli import render
from gms_hookd.cli.api_client import Api, get, post
from gms_hookd.cli.session import SLOW, Args, Session, api_of, opened, task_id
from gms_hookd.cli.watch import ended, watched
from gms_hookd.contract import RunStatus
from gms_hookd.errors import Failure


def task_sync(session: Session, args: Args) -> int:
    """Run a task now, show what git says, then what became of each ref."""
    if args.dry_run:
        return _plan(session, args.task)
    with opened(session) as found:
        number = task_id(found.api, args.task)
        body: dict[str, object] = {"task_id": number}
        if args.yes:
            before = get(found.api, "task", id=number)
            body["confirmed"] = _confirmed(session, found.api, body)
            body["updated_at"] = before["updated_at"]
        run = watched(session, found, post(found.api, "run", body)["id"])
    return ended(session, run)


def _confirmed(
    session: Session, api: Api, task: Mapping[str, object]
) -> dict[str, str] | bool:
    """Show what a guard would hold back now: that, and no more, is confirmed."""
    plan = post(api, "task/plan", task, SLOW)
    held: dict[str, str] | None = plan["held"]
    if held is None:
        if plan["status"] == RunStatus.FAILED:
            session.say(f"nothing is confirmed: no plan: {plan['error_message']}")
        return False
    session.say(render.confirmed(held, session.style))
    return held


def _plan(session: Session, task: str) -> int:
    with api_of(session) as api:
        plan = post(api, "task/plan", {"task_id": task_id(api, task)}, SLOW)
    if plan["refs"]:
        session.say(render.refs(plan["refs"], session.style))
    said = plan["error_message"] or render.short(plan["commit_range"])
    if plan["status"] != RunStatus.SUCCESS:
        raise Failure(f"would be {plan['status']}: {said}")
    session.say(f"would be success: {said or 'nothing to do'}")
    return 0
