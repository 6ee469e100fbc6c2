"""What git, curl, ssh and hosts print where something fails, and what that means.

TABLE, which is wordings.txt, is read from the top: the first row of whose patterns one
stands in what its voice said names the kind. A row begins with kind, voice and who
prints such words; a blank line ends it. Hosts are judged by the kind of trouble that
they tell of, not by one wording. What stands in quotes, and every URL, is left out
before: names of repositories and commits are no trouble.
"""

import pkgutil
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

from gms_hookd.git.patterns import late_pattern


class ErrorKind(StrEnum):
    """Why git did not do it."""

    AUTH = "authentication"
    PROXY = "login at a proxy"
    TRUST = "host key or certificate"
    MISSING = "missing"
    NETWORK = "network"
    HOST = "trouble at the host"
    POLICY = "refused"
    DISK = "disk full"
    LOCK = "locked"
    CORRUPT = "corrupt"
    UNSAFE = "unsafe objects"
    TIMEOUT = "timeout"
    STALL = "silent host"
    STOPPED = "stopped"
    SIGNAL = "signal"
    SIZE = "too large"
    MACHINE = "short of memory or processes"
    GIT = "git missing"
    CONFIG = "configuration"
    OTHER = "other"


class Voice(Enum):
    """Who says it: a program on this machine, the host, or either of them."""

    HERE = "here"
    HOST = "host"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of trouble, who prints such words, and the pattern that finds them."""

    kind: ErrorKind
    voice: Voice
    printed_by: str
    words: re.Pattern[str]


def _row(block: str) -> Row:
    head, *lines = (line for line in block.split("\n") if not line.startswith("#"))
    kind, voice, printed_by = head.split(" ", 2)
    words = "|".join(line.strip() for line in lines)
    pattern = late_pattern(words, re.IGNORECASE | re.MULTILINE)
    return Row(ErrorKind[kind], Voice[voice], printed_by, pattern)


_FILE = (pkgutil.get_data("gms_hookd.git", "wordings.txt") or b"").decode()
TABLE = tuple(map(_row, _FILE.strip().split("\n\n")))

# A refusal in these words says only that there was one; why, the host tells beside it.
VAGUE = late_pattern(
    r"(hook declined|unpacker error|to update ref|fail\w+|error|rejected|declined"
    r"|reference (already exists|does not exist))\)?$",
    re.IGNORECASE,
)
# GitHub's words for an error of its own that it does not tell.
UNTOLD = late_pattern(r"failure|failed|error|unknown( error)?|", re.IGNORECASE)
# Those of git (builtin/receive-pack.c), JGit and Gerrit, where nothing is said besides.
WORDLESS = late_pattern(
    r"failed to (lock|write|delete|update refs?|start transaction)|io_failure"
    r"|(atomic )?transaction (failed( to start)?|aborted)|notedb update failed"
    r"|.*proc-receive (hook|failed to report status)",
    re.IGNORECASE,
)
