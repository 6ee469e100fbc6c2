"""The command that is the daemon."""

import sys
from dataclasses import replace

from gms_hookd import log
from gms_hookd.cli.session import Args, Session, held
from gms_hookd.safetext import without_logins
from gms_hookd.service import daemon, reaper


def serve(session: Session, args: Args) -> int:
    """Serve until told to stop."""
    session = replace(session, environ=reaper.stand_in(session.environ))
    overrides = {"server.listen": tuple(args.listen)} if args.listen else {}
    log.setup(sys.stderr, session.environ, redact=without_logins)
    with held(session.state) as state:
        return daemon.serve(lambda: session.config(**overrides), state, session.environ)
