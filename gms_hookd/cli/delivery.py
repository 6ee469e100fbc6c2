"""The commands about deliveries: what came to the hooks, and its outcome."""

from gms_hookd.cli import render
from gms_hookd.cli.api_client import get
from gms_hookd.cli.paging import pages_of, show_pages
from gms_hookd.cli.session import Args, Session, api_of


def delivery_list(session: Session, args: Args) -> int:
    """List deliveries, the newest first."""
    with api_of(session) as api:
        pages = pages_of(api, "deliveries", args)
        return show_pages(session, args, pages, render.deliveries)


def delivery_show(session: Session, args: Args) -> int:
    """Show a delivery."""
    with api_of(session) as api:
        found = get(api, "delivery", id=args.id)
        kept = {} if args.json else get(api, "delivery/parcel", id=args.id)
        return session.show(args, {**found, **kept}, render.delivery)
