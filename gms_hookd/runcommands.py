"""The commands about what is kept: runs, deliveries, and a copy of the store."""

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from gms_hookd import render
from gms_hookd.client import get, post
from gms_hookd.errors import Failure
from gms_hookd.look import Look
from gms_hookd.reach import SLOW, api_of, opened, task_id
from gms_hookd.session import Args, Session
from gms_hookd.watch import Screen


def run_list(session: Session, args: Args) -> int:
    """List runs, the newest first."""
    with api_of(session) as api:
        query: dict[str, str | int] = {"limit": args.limit}
        if args.task is not None:
            query["task_id"] = task_id(api, args.task)
        if args.status is not None:
            query["status"] = args.status
        return session.show(args, get(api, "history", **query), render.runs)


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
    Screen(session.out, Look(session.look.now)).show(text)
    return 0


def run_retry(session: Session, args: Args) -> int:
    """Queue the task of an ended run again."""
    with opened(session) as found:
        run = post(found.api, "run/retry", {"id": args.id})
        later = "" if found.service is None else ", for when the daemon runs"
    session.say(f"run {run['id']}: {run['status']}{later}")
    return 0


def run_cancel(session: Session, args: Args) -> int:
    """Cancel a run."""
    with api_of(session) as api:
        run = post(api, "run/cancel", {"id": args.id})
    session.say(f"run {run['id']}: {run['status']}")
    return 0


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


def backup(session: Session, args: Args) -> int:
    """Copy the store to a file, replaced at once or not at all.

    The application writes into the state directory, where a confined daemon may write
    and the operator may read.
    """
    file = Path(args.file).absolute()
    if file.is_dir():
        raise Failure(f"{file}: is a directory")
    between = session.state.absolute() / f"backup-{secrets.token_hex(8)}"
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with api_of(session) as api:
            post(api, "backup", {"path": str(between)}, SLOW)
        _copy(between, fresh)
        fresh.replace(file)
    finally:
        for leftover in (fresh, between):
            with suppress(OSError):
                leftover.unlink()
    return 0


def _copy(old: Path, new: Path) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with old.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
