"""The commands about runs: list, show, try again, put back, cancel."""

import shlex

from gms_hookd.cli import render
from gms_hookd.cli.api_client import get, post
from gms_hookd.cli.paging import pages_of, show_pages
from gms_hookd.cli.session import SLOW, Args, Session, api_of, opened, task_id
from gms_hookd.cli.terminal import Style
from gms_hookd.cli.watch import Screen, ended, watched


def run_list(session: Session, args: Args) -> int:
    """List runs, the newest first."""
    with api_of(session) as api:
        of = {} if args.task is None else {"task_id": task_id(api, args.task)}
        pages = pages_of(api, "history", args, **of)
        return show_pages(session, args, pages, render.runs)


def run_show(session: Session, args: Args) -> int:
    """Show a run."""
    with api_of(session) as api:
        return session.show(args, get(api, "run", id=args.id), render.run)


def run_log(session: Session, args: Args) -> int:
    """Print the log of a run, so far."""
    with api_of(session) as api:
        text = get(api, "run", id=args.id)["details"]
        if text is None:
            text = get(api, "run/output", id=args.id)["text"]
    Screen(session.out, Style(session.style.now)).show(text)
    return 0


def run_retry(session: Session, args: Args) -> int:
    """Queue the task of an ended run again."""
    with opened(session) as found:
        run = post(found.api, "run/retry", {"id": args.id})
        later = "" if found.service is None else ", for when the daemon runs"
    session.say(f"run {run['id']}: {run['status']}{later}")
    return 0


def run_undo(session: Session, args: Args) -> int:
    """Put back what a run did to its target, while one watches."""
    body = {"id": args.id, **({"refs": args.refs} if args.refs else {})}
    with opened(session) as found:
        order = post(found.api, "run/undo", body, SLOW)
        name = order["task_name"]
        session.say(f"run {order['id']} undoes run {args.id}; task {name} is disabled")
        run = watched(session, found, order["id"])
    session.say(
        f"task {name} stays disabled, since its next sync would do the same again,"
        f" until `gms-hookd task enable {shlex.quote(name)}`"
    )
    return ended(session, run)


def run_cancel(session: Session, args: Args) -> int:
    """Cancel a run."""
    with api_of(session) as api:
        run = post(api, "run/cancel", {"id": args.id})
    session.say(f"run {run['id']}: {run['status']}")
    return 0
