"""The commands about tasks: add, change, show, and sync while one watches."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from gms_hookd.cli import render
from gms_hookd.cli.api_client import Api, get, post
from gms_hookd.cli.arguments import UsageError
from gms_hookd.cli.session import (
    SLOW,
    Args,
    Opened,
    Session,
    api_of,
    opened,
    task_id,
    which,
)
from gms_hookd.cli.terminal import Screen, Style, follow
from gms_hookd.errors import Failure
from gms_hookd.model import RunStatus
from gms_hookd.service.service import Service

BRANCHES = frozenset({"source_branch", "target_branch"})


def task_add(session: Session, args: Args) -> int:
    """Add a task and print its id."""
    with api_of(session) as api:
        added = post(
            api,
            "task/create",
            {
                "name": args.name,
                "source": args.source,
                "target": args.target,
                "refspecs": args.refspecs,
                "force": args.force,
                "prune": args.prune,
                "enabled": not args.disabled,
                "timeout": args.timeout,
                "cron": args.cron,
            },
        )
    session.say(added["id"])
    return 0


def task_list(session: Session, args: Args) -> int:
    """List the tasks."""
    with api_of(session) as api:
        return session.show(args, get(api, "tasks"), render.tasks)


def task_show(session: Session, args: Args) -> int:
    """Show a task."""
    with api_of(session) as api:
        return session.show(args, get(api, "task", **which(args.task)), render.task)


def task_set(session: Session, args: Args) -> int:
    """Change a task."""
    names = [name for name, _ in args.changes]
    ways = {"branches" if name in BRANCHES else name for name in names}
    twice = {name for name in names if names.count(name) > 1}
    if twice or {"branches", "refspecs"} <= ways:
        which = ", ".join(sorted(twice)) or "branch and refspecs"
        raise UsageError(f"{which}: given in two ways, keep one of them")
    return _update(session, args.task, dict(args.changes))


def task_enable(session: Session, args: Args) -> int:
    """Let a task take triggers."""
    return _update(session, args.task, {"enabled": True})


def task_disable(session: Session, args: Args) -> int:
    """Let a task refuse triggers."""
    return _update(session, args.task, {"enabled": False})


def _update(session: Session, task: str, changes: Mapping[str, object]) -> int:
    with api_of(session) as api:
        post(api, "task/update", {"id": task_id(api, task), **changes})
    return 0


def task_remove(session: Session, args: Args) -> int:
    """Remove a task."""
    with api_of(session) as api:
        post(api, "task/delete", {"id": task_id(api, args.task)})
    return 0


def task_sync(session: Session, args: Args) -> int:
    """Run a task now, show what git says, then what became of each ref."""
    if args.dry_run:
        return _plan(session, args.task)
    with opened(session) as found:
        body: dict[str, object] = {"task_id": task_id(found.api, args.task)}
        if args.yes:
            body["confirmed"] = _confirmed(session, found.api, body)
        run = _watched(session, found, post(found.api, "run", body)["id"])
    if run["refs"]:
        session.say(render.refs(run["refs"], session.style))
    return _ended(session, run)


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


def _watched(session: Session, found: Opened, run_id: int) -> Any:
    screen = Screen(session.out, session.style)
    if found.service is None:
        return _watched_afar(session, found.api, run_id, screen)
    own = _OwnWork(found.service, run_id)
    try:
        return follow(found.api, run_id, screen, own.pause)
    except KeyboardInterrupt:
        post(found.api, "run/cancel", {"id": run_id})
        raise
    finally:
        own.thread.join()


def _watched_afar(session: Session, api: Api, run_id: int, screen: Screen) -> Any:
    try:
        return follow(api, run_id, screen)
    except KeyboardInterrupt:
        screen.clear()
        session.say(f"run {run_id} goes on; `gms-hookd run cancel {run_id}` ends it")
        raise


class _OwnWork:
    """One run carried out in this process, attempt after attempt."""

    def __init__(self, service: Service, run_id: int) -> None:
        self._again = partial(service.carry_out, run_id)
        self.thread = self._again()

    def pause(self, seconds: float) -> None:
        """Wait a little, and see that the run goes on when it is due again."""
        if not self.thread.is_alive():
            self.thread = self._again()
        time.sleep(seconds)


def _ended(session: Session, run: Mapping[str, Any]) -> int:
    if run["status"] != RunStatus.SUCCESS:
        raise Failure(render.result(run, Style(session.style.now)))
    session.say(render.result(run, session.style))
    return 0
