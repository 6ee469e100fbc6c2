"""Whether anything still comes from a host, seen from the processes that listen to it.

curl's own limit (http.lowSpeedLimit) is no use for that: it averages over five seconds,
so that the 5 bytes of git's keep-alive packets, sent every 5 s, count as nothing; and
ssh has none. What a git has read and written is counted by the kernel (proc(5), io).
"""

from dataclasses import dataclass, field
from pathlib import Path

# These poll a socket, which takes time of the processor; what they get they hand on.
RELAYS = ("git-remote-http", "git-lfs")
SSH = "ssh"  # it sends and gets keep-alives of its own, which are no word of the host
Signs = frozenset[tuple[str, ...]]


@dataclass(slots=True)
class Silence:
    """How long a process group got nothing; every `now` is time.monotonic()."""

    group: int
    patience: float  # seconds
    since: float
    _signs: Signs | None = field(default=None)
    _next_look: float = field(default=0.0)

    def broken(self, now: float) -> None:
        """Note that something came."""
        self.since = now
        self._next_look = now + self.patience / 4

    def too_long(self, now: float) -> bool:
        """Return whether nothing came, and nothing was done, for all the patience."""
        if now < self._next_look:
            return False
        self._next_look = now + self.patience / 8
        signs = _signs_of_life(self.group)
        if signs is None or signs != self._signs:
            self._signs = signs
            self.since = now
        return now - self.since >= self.patience


def _signs_of_life(group: int) -> Signs | None:
    """Return what changes as long as a group's processes work; None if unknown."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            sign = _sign(path, str(group))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
        except OSError:
            return None
        if sign:
            found.append(sign)
    return frozenset(found)


def _sign(process: Path, group: str) -> tuple[str, ...] | None:
    stat = (process / "stat").read_text(errors="replace")
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    if fields[2] != group:
        return None
    if name == SSH:
        return (process.name,)
    moved = (process / "io").read_text().split("\n")[:2]  # rchar, wchar
    # A list of refs is kept in memory until it is whole: pages that are new to it.
    busy = (fields[7],) if name in RELAYS else (fields[11], fields[12])
    return (process.name, *moved, *busy)
