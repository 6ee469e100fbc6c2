"""What an inspection finds: each with its level, and the remedy that can be pasted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gms_hookd.config.records import Config
from gms_hookd.git.patterns import late_pattern
from gms_hookd.store.notices import Tally
from gms_hookd.sync.job import Unreadable

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok`, `warning` or `error`, what is so, what to do."""

    level: str
    subject: str
    finding: str
    remedy: str | None = None


# What a text of ours ends with that says what to do: a command, or an instruction.
_REMEDY = late_pattern(
    r"(?:: |; )(?=(?:chgrp|chmod|chown|openssl|ssh-key\w+|gms-hookd|systemctl|git) -?\w"
    r"|(?:choose|give|move|name|put|remove|rename|run|set|stop|use|write|if) )"
)
_COMMAND = late_pattern(r"^(?:if|the (?:key|token|password)) [^:]*(?:: (?=ssh-key)|$)")


def finding_of(
    level: str, subject: str, text: str, otherwise: str | None = None
) -> Finding:
    """Return the finding that an error's text is, its remedy apart from it.

    `otherwise` is the remedy where the text has none.
    """
    found = _REMEDY.search(text)
    if found is None:
        return Finding(level, subject, text, otherwise)
    said, remedy = text[: found.start()], text[found.end() :]
    return Finding(level, subject, said, remedy)


def unreadable(subject: str, why: Unreadable, otherwise: str) -> Finding:
    """Return the finding that a repository cannot be read: a command stands alone."""
    said, remedy, _ = why
    if hint := _COMMAND.match(remedy):
        said, remedy = f"{said}; {hint[0].rstrip(': ')}", remedy[hint.end() :]
    return Finding(ERROR, subject, said, remedy or otherwise)


@dataclass(frozen=True, slots=True)
class Environment:
    """What is looked at, as far as it is known.

    `faults` are all that is wrong with the configuration as it is written; `config` is
    what can be said of it without them, and `used` the one that the daemon has in use,
    which may be older. `tasks`, `latest` (the last delivery of each hook, and when it
    came in ms) and `told` (what became of the notices for each target) are the store's.
    `reach` says why repositories afar cannot be read, None for those that can.
    `writable` are the folders where the unit lets the service write; None: everywhere
    that this process may. The rest is what the daemon says of itself.
    """

    environ: Mapping[str, str]
    state: Path
    daemon: bool | None = None
    unready: Sequence[str] = ()
    warnings: Sequence[str] = ()
    listeners: Sequence[str] = ()
    descriptors: int | None = None
    config: Config | None = None
    used: Config | None = None
    tasks: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None
    faults: Sequence[str] = ()
    restart_for: Sequence[str] = ()
    reach: Callable[[Iterable[str]], Mapping[str, Unreadable | None]] | None = None
    writable: Sequence[str] | None = None
    refusal: str = ""
    latest: Mapping[str, int | None] | None = None
    told: Mapping[str, Tally] | None = None
