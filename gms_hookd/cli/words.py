"""What the words of a command line mean that are more than a number: times, refs.

Each function returns the value or raises ValueError with a text for the operator.
"""

import time
from collections.abc import Callable

from gms_hookd import cron, units
from gms_hookd.cli.arguments import positive
from gms_hookd.git.refspec import branch

WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
LONGEST_TIMEOUT = 7 * 24 * 3600.0  # seconds, as the API has it


def seconds(text: str) -> float:
    """Read a time of more than nothing: seconds, or with a unit as in 10m."""
    span = units.duration(text)
    if 0 < span <= LONGEST_TIMEOUT:
        return span
    raise ValueError(f"{text!r} is out of range: more than 0 s, at most 7d (604800 s)")


def since(text: str) -> str:
    """Read a time as the API takes it."""
    return units.rfc3339(units.moment(text, time.time()))


def change(text: str) -> tuple[str, object]:
    """Read KEY=VALUE as a key of the API and its value."""
    key, found, value = text.partition("=")
    if not found or key not in KEYS:
        raise ValueError(f"{text!r}: wanted KEY=VALUE, KEY one of {', '.join(KEYS)}")
    return "refspecs" if key == "branch" else key, KEYS[key](value)


def _flag(text: str) -> bool:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    raise ValueError(f"{text!r} is neither true nor false")


def _timeout(text: str) -> float | None:
    return None if text in ("", "default") else seconds(text)


def _branches(text: str) -> list[str]:
    return [branch(each) for each in text.split()]


def schedule(text: str) -> str:
    """Read when a task runs by itself; nothing for never."""
    if text:
        cron.parse(text)
    return text


KEYS: dict[str, Callable[[str], object]] = {
    "name": str, "source": str, "target": str, "branch": _branches,
    "source_branch": str, "target_branch": str, "refspecs": str.split,
    "force": _flag, "prune": _flag, "enabled": _flag, "timeout": _timeout,
    "cron": schedule, "create": _flag, "max": positive,
}  # fmt: skip
