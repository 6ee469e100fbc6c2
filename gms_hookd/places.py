"""places."""

import pwd
from collections.abc import Mapping
from pathlib import Path

from gms_hookd.errors import ConfigError


def state_dir(environ: Mapping[str, str], argument: str | None, uid: int) -> Path:
    """Return the state directory for this command line, environment and user.

    Raises ConfigError where there is no home.
    """
    given = environ.get("GMS_HOOKD_STATE") if argument is None else argument
    lent = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given == "" and argument is not None:
        raise ConfigError("--state: is empty: name a directory")
    if given or lent:
        return Path(given or lent).absolute()
    if uid == 0:
        return Path("/var/lib/gms-hookd")
    return _home(environ, uid) / ".local/state/gms-hookd"


def _home(environ: Mapping[str, str], uid: int) -> Path:
    try:
        return Path(environ.get("HOME") or pwd.getpwuid(uid).pw_dir).absolute()
    except KeyError:
        raise ConfigError("HOME: is not set: set it, or name --state DIR") from None
