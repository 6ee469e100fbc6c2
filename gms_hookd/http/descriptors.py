"""How many files this process may have open, and how connections share them."""

import logging
import resource
from pathlib import Path
from typing import NamedTuple

from gms_hookd.safetext import quoted

CONNECTIONS = 16_384
LATE_CONNECTIONS = 64
CONTROL_CONNECTIONS = 128
OTHER_DESCRIPTORS = 512  # git's pipes, the store, control and late connections
FEW_DESCRIPTORS = 1024  # with fewer the start and `check` say so
MORE_DESCRIPTORS = (
    "systemctl edit gms-hookd: [Service] LimitNOFILE=16896;"
    " without systemd: ulimit -n 16896"
)

log = logging.getLogger(__name__)


class Places(NamedTuple):
    """How many connections there may be: admitted, late, and to the control socket."""

    admitted: int
    late: int
    control: int


def admitted(descriptors: int) -> int:
    """Return how many connections a daemon admits that may have so much open."""
    return places(descriptors, CONNECTIONS).admitted


def places(descriptors: int, wanted: int) -> Places:
    """Share out what may be open; where that is little, git and the store have half."""
    other = min(OTHER_DESCRIPTORS, descriptors * 3 // 4)
    return Places(
        admitted=max(1, min(wanted, descriptors - other)),
        late=max(1, min(LATE_CONNECTIONS, descriptors // 16)),
        control=max(1, min(CONTROL_CONNECTIONS, descriptors // 8)),
    )


def lift_limit(connections: int) -> None:
    """Allow so many connections, as far as that is possible; say if they are few."""
    wanted = connections + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    _warn_of_few(descriptors())


def _warn_of_few(found: int) -> None:
    if found < FEW_DESCRIPTORS:
        log.warning(
            "few descriptors limit=%d connections=%d remedy=%s",
            found,
            admitted(found),
            quoted(MORE_DESCRIPTORS),
        )


def descriptors(process: int | None = None) -> int:
    """Return how many files may be open: to us, or to a process that serves.

    OSError where that process cannot be looked at.
    """
    if process is None:
        return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    lines = Path(f"/proc/{process}/limits").read_text().splitlines()
    line = next(each for each in lines if each.startswith("Max open files"))
    soft = line.removeprefix("Max open files").split()[0]
    return _number(resource.RLIM_INFINITY if soft == "unlimited" else int(soft))


def attainable_descriptors() -> int:
    """Return how many files a daemon that is started from here may have open."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _number(limit: int) -> int:
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit
