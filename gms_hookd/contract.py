"""What the daemon and its clients must spell alike: paths, and how a run stands.

Apart from the other records of `model`, whose dataclasses take longer to load than a
command takes that asks the daemon.

Webhooks are posted below `HOOKS`; what became of their runs is read below `RUNS`. The
calls of the API are below `API`, also on the control socket in the state directory.

Files are texts here: `pathlib` alone takes 6 ms of the 45 that a command may take which
asks the daemon.
"""

import os
import pwd
from collections.abc import Mapping
from enum import StrEnum

from gms_hookd.errors import ConfigError

HOOKS = "/api/webhooks/"
RUNS = f"{HOOKS}runs/"
API = "/api/v1/sync/"
SERVICE = "gms-hookd"  # the user of the unit, and its group
SERVICE_STATE = "/var/lib/gms-hookd"  # as the unit's StateDirectory= has it
USER_STATE = ".local/state/gms-hookd"  # below the home of who is not the service
# Where systemd puts the unit's credentials, as long as it runs.
SERVICE_CREDENTIALS = "/run/credentials/gms-hookd.service"
NO_PATH = "no such path"  # the answer to a call that a daemon does not know
CONTROL = "control.sock"


class RunStatus(StrEnum):
    """Where a run is; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    CONFLICT = "conflict"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset(
    {RunStatus.SUCCESS, RunStatus.CONFLICT, RunStatus.FAILED, RunStatus.CANCELLED}
)


class RefResult(StrEnum):
    """What a run did to one ref of the target."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"
    FORCED = "forced"
    DELETED = "deleted"
    REJECTED = "rejected"


def state_dir(environ: Mapping[str, str], argument: str | None, uid: int) -> str:
    """Return the state directory for this command line, environment and user.

    Raises ConfigError where there is no home.
    """
    given = environ.get("GMS_HOOKD_STATE") if argument is None else argument
    lent = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given == "" and argument is not None:
        raise ConfigError("--state: is empty: name a directory")
    if given or lent:
        return _absolute(given or lent)
    if uid == 0 or _is_owner(uid, SERVICE_STATE):
        return SERVICE_STATE
    return _absolute(os.path.join(_home(environ, uid), USER_STATE))


def comes_with_start(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a credential that systemd brings when it starts us."""
    inside = os.fspath(path).startswith(SERVICE_CREDENTIALS + "/")
    return inside and not os.path.isdir(SERVICE_CREDENTIALS)


def how_to_start(state: str | os.PathLike[str]) -> str:
    """Return what starts the daemon of a state directory, or how the service is met."""
    if os.fspath(state).endswith(USER_STATE):
        return "run this as root, or serve yourself: gms-hookd serve --config FILE.toml"
    return "systemctl start gms-hookd"


def control_socket(state: str | os.PathLike[str]) -> str:
    """Return the path of a state directory's control socket."""
    return os.path.join(state, CONTROL)


def _absolute(path: str) -> str:
    """Return it from the root on, as `Path.absolute` does: links may be in it."""
    whole = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    parts = whole.split("/")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _is_owner(uid: int, path: str) -> bool:
    """Tell the service's user, whose commands are about the service's state."""
    try:
        return os.stat(path).st_uid == uid
    except OSError:
        return False


def _home(environ: Mapping[str, str], uid: int) -> str:
    try:
        return environ.get("HOME") or pwd.getpwuid(uid).pw_dir
    except KeyError:
        raise ConfigError("HOME: is not set: set it, or name --state DIR") from None
