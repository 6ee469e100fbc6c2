"""cli.delivery."""

from gms_hookd.cli import render
from gms_hookd.cli.api_client import get
from gms_hookd.cli.session import Args, Session, api_of


def delivery_list(session: Session, args: Args) -> int:
    """List deliveries, the newest first."""
    query: dict[str, str | int] = {"limit": args.limit}
    if args.hook is not None:
        query["hook"] = args.hook
    with api_of(session) as api:
        return session.show(args, get(api, "deliveries", **query), render.deliveries)


def delivery_show(session: Session, args: Args) -> int:
    """Show a delivery."""
    with api_of(session) as api:
        found = get(api, "delivery", id=args.id)
        kept = {} if args.json else get(api, "delivery/parcel", id=args.id)
        return session.show(args, {**found, **kept}, render.delivery)
