"""The commands about notices: list them, try a target out, send one again."""

from gms_hookd.cli import render
from gms_hookd.cli.api_client import post
from gms_hookd.cli.paging import pages_of, show_pages
from gms_hookd.cli.session import Args, Session, api_of
from gms_hookd.cli.terminal import as_json
from gms_hookd.safetext import safe


def notify_list(session: Session, args: Args) -> int:
    """List notices, the newest first."""
    with api_of(session) as api:
        pages = pages_of(api, "notices", args)
        return show_pages(session, args, pages, render.notices)


def notify_test(session: Session, args: Args) -> int:
    """Send a message to a target and print what it answered; 1 if it refused."""
    with api_of(session) as api:
        tested = post(api, "notice/test", {"target": args.name})
    if args.json:
        session.say(as_json(tested))
    else:
        said = "sent" if tested["sent"] else "not sent"
        session.say(safe(f"{args.name}: {said}: {tested['answer']}"))
    return 0 if tested["sent"] else 1


def notify_resend(session: Session, args: Args) -> int:
    """Have a notice sent again."""
    with api_of(session) as api:
        found = post(api, "notice/resend", {"id": args.id})
    return session.show(args, [found], render.notices)
