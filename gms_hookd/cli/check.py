"""Have configuration and environment looked at: by the daemon, or where none runs here.

What the daemon cannot read or write nobody else can tell: it is confined, and another
user.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from gms_hookd import log
from gms_hookd.cli import configuration
from gms_hookd.cli.api_client import QUICK, SILENT, Api, ApiError, OverSocket, get
from gms_hookd.cli.render import paint
from gms_hookd.cli.session import Args, Session, api_of
from gms_hookd.cli.terminal import Style, as_json
from gms_hookd.config.load import faults
from gms_hookd.contract import control_socket, how_to_start
from gms_hookd.errors import ClientError, ConfigError, Failure, SilentError
from gms_hookd.http.control import PATIENCE, listens
from gms_hookd.http.descriptors import attainable_descriptors
from gms_hookd.safetext import safe
from gms_hookd.service.findings import ERROR, WARNING, Environment, Finding, finding_of
from gms_hookd.service.inspection import findings

BUSY = f"the daemon works, but has not looked at everything within {PATIENCE:g} s"


def text(found: Sequence[Finding], style: Style) -> str:
    """Write the findings for people."""
    return "\n".join(_line(finding, style) for finding in found)


def objects(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Write the findings as JSON objects."""
    return [asdict(finding) for finding in found]


def _line(finding: Finding, style: Style) -> str:
    level = paint(f"{finding.level:<7}", finding.level, style)
    remedy = f"\n{'':8}-> {safe(finding.remedy)}" if finding.remedy else ""
    return f"{level} {finding.subject}: {safe(finding.finding)}{remedy}"


def show_check(session: Session, args: Args) -> int:
    """Look at configuration and environment; 1 or 2 if something is wrong."""
    found = _looked(session)
    said = as_json(objects(found)) if args.json else None
    session.say(said or text(found, session.style))
    start = how_to_start(session.state)
    if args.service and Finding(WARNING, "daemon", "not running", start) in found:
        raise Failure(f"the daemon is not running: {start}")
    _raise_for_errors(found)
    return 0


def _raise_for_errors(found: Sequence[Finding]) -> None:
    wrong = [finding for finding in found if finding.level == ERROR]
    if wrong:
        refused = any(finding.subject == "configuration" for finding in wrong)
        message = f"{len(wrong)} of {len(found)} findings are errors"
        raise ConfigError(message) if refused else Failure(message)


def _looked(session: Session) -> list[Finding]:
    """Have the daemon look; where none answers look in its place, and say why."""
    log.silence()
    state, control = Path(session.state), control_socket(session.state)
    try:
        # As the user of the service: the lock and the store are its own.
        config, wrong = faults(partial(configuration.read, session))
    except ConfigError as error:
        config, wrong = None, [str(error)]
    own = Environment(session.environ, state, config=config, faults=wrong)
    try:
        if not listens(control, QUICK):
            return _stopped(session, own)
        get(OverSocket(control, QUICK), "status")
    except SilentError:
        said, _, remedy = SILENT.rpartition(": ")
        return [*findings(own), Finding(ERROR, "daemon", said, remedy)]
    except (ClientError, ApiError) as error:
        return [*findings(own), Finding(ERROR, "daemon", str(error))]
    return _by_daemon(own, OverSocket(control, PATIENCE))


def _by_daemon(own: Environment, api: Api) -> list[Finding]:
    """Return what the daemon finds, and what it does not know: it may use another file.

    One that is too old to look for us, or too busy, leaves us what we see ourselves.
    """
    try:
        found = [Finding(**each) for each in get(api, "check")]
    except SilentError:
        return [*findings(own), Finding(WARNING, "daemon", BUSY)]
    except (ClientError, ApiError) as error:
        return [*findings(own), Finding(ERROR, "daemon", str(error))]
    named = [finding_of(ERROR, "configuration", fault) for fault in own.faults]
    said = {each.finding for each in found}
    return [*(each for each in named if each.finding not in said), *found]


def _stopped(session: Session, own: Environment) -> list[Finding]:
    """Look in the place of a daemon, as it would, as far as there is a store."""
    place = replace(own, daemon=False, descriptors=attainable_descriptors())
    if own.faults or not place.state.exists():
        return findings(place)
    try:
        with api_of(session) as api:
            return [Finding(**each) for each in get(api, "check")]
    except (Failure, OSError) as error:
        return findings(replace(place, problem=str(error)))
