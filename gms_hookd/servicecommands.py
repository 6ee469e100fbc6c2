"""The commands about the daemon itself: serve, check its place, show the main job."""

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from typing import Any

from gms_hookd import check, client, log
from gms_hookd.client import RefusedError, get
from gms_hookd.config.load import load_config
from gms_hookd.demo import Show, prepare, stage
from gms_hookd.errors import ConfigError, Failure
from gms_hookd.http.client import ClientError
from gms_hookd.look import as_json
from gms_hookd.reach import api_of
from gms_hookd.safetext import redacted
from gms_hookd.service import daemon
from gms_hookd.service.state_dir import StateError, control_socket
from gms_hookd.session import Args, Session, held
from gms_hookd.store import StoreError


def show_demo(session: Session, args: Args) -> int:
    """Play the demo; its daemon serves in this thread until told to stop."""
    with stage(args.carry_out, session.say) as on:
        prepare(on)
        show = Show(on, _end if args.once else partial(_go_on, session), _end)
        show.start()
        with held(on.root / "state") as state:
            load = partial(load_config, on.environ, state=state.path)
            status = daemon.serve(load, state, on.environ)
    if show.error:
        raise show.error
    return status


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _go_on(session: Session) -> None:
    session.say("\nThe daemon goes on serving; Ctrl-C ends it and removes all this.")
    log.setup(sys.stderr, session.environ, redact=redacted)


def show_check(session: Session, args: Args) -> int:
    """Look at configuration and environment; 1 or 2 if something is wrong."""
    found = check.findings(_place(session))
    said = as_json(check.objects(found)) if args.json else None
    session.say(said or check.text(found, session.look))
    wrong = [finding for finding in found if finding.level == check.ERROR]
    if wrong:
        refused = any(finding.subject == "configuration" for finding in wrong)
        message = f"{len(wrong)} of {len(found)} findings are errors"
        raise ConfigError(message) if refused else Failure(message)
    return 0


def _place(session: Session) -> check.Place:
    place = check.Place(session.environ, session.state)
    try:
        place = replace(place, config=session.config())
        place = replace(place, daemon=client.listens(control_socket(session.state)))
        if session.state.exists():
            place = replace(place, tasks=_all_tasks(session))
    except (ConfigError, ClientError, RefusedError, StateError, StoreError) as error:
        return replace(place, problem=str(error))
    return place


def _all_tasks(session: Session) -> list[dict[str, Any]]:
    with api_of(session) as api:
        found: list[dict[str, Any]] = get(api, "tasks")
        return found
