"""The commands that are the daemon, and that ask it to read its configuration."""

import logging
import sys
from collections.abc import Collection
from functools import partial

from gms_hookd import log
from gms_hookd.cli import configuration
from gms_hookd.cli.api_client import OverSocket, post
from gms_hookd.cli.in_process import held
from gms_hookd.cli.session import Args, Session
from gms_hookd.config.records import Config
from gms_hookd.config.sources import Name
from gms_hookd.contract import control_socket, how_to_start
from gms_hookd.errors import Failure
from gms_hookd.http.control import listens
from gms_hookd.safetext import without_logins
from gms_hookd.service import daemon, reaper
from gms_hookd.service.identity import act_as_service

DEBUG = "GMS_HOOKD_DEBUG"  # set: requests that are no deliveries are logged, too


def serve(session: Session, args: Args) -> int:
    """Serve until a signal ends it."""
    session = session._replace(environ=reaper.stand_in(session.environ))
    overrides = {"server.listen": tuple(args.listen)} if args.listen else {}
    act_as_service(session.state)
    level = logging.DEBUG if session.environ.get(DEBUG) else logging.INFO
    log.setup(sys.stderr, session.environ, level, redact=without_logins)
    try:
        with held(session.state) as state:
            load = partial(configuration.read, session, **overrides)

            def written(without: Collection[Name]) -> Config:
                return configuration.read(session, without, **overrides)

            return daemon.serve(load, state, session.environ, written)
    finally:
        log.finish()


def reload(session: Session, args: Args) -> int:
    """Have the running daemon read its configuration again; 1 and why if refused."""
    socket = control_socket(session.state)
    if not listens(socket):
        start = how_to_start(session.state)
        raise Failure(f"no daemon listens at {socket}: {start}")
    reloaded = post(OverSocket(socket), "reload", {})
    session.say("configuration reloaded")
    if keys := ", ".join(reloaded["restart_for"]):
        session.say(f"in use only after a restart: {keys}")
    return 0
