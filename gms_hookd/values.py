"""What the words of a command line mean: numbers, refs, `KEY=VALUE`.

Each function returns the value or raises ValueError with a text for the operator.
"""

from collections.abc import Callable

from gms_hookd import units
from gms_hookd.git import refspec
from gms_hookd.model import RunStatus

STATUSES = tuple(status.value for status in RunStatus)
WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
LONGEST_WAIT = 300


def positive(text: str) -> int:
    """Read a number from 1 on."""
    if text.isascii() and text.isdigit() and int(text[:19]) > 0 and len(text) < 19:
        return int(text)
    raise ValueError(f"{text!r} is not a positive number")


def seconds(text: str) -> float:
    """Read a time of more than nothing: seconds, or with a unit as in 10m."""
    span = units.duration(text)
    if span > 0:
        return span
    raise ValueError(f"{text!r} is not a time of more than 0 seconds")


def wait(text: str) -> int:
    """Read how many seconds to wait."""
    number = 0 if text == "0" else positive(text)
    if number <= LONGEST_WAIT:
        return number
    raise ValueError(f"{text!r} is more than {LONGEST_WAIT} seconds")


def branch(text: str) -> str:
    """Read SRC[:DST] as a refspec."""
    return refspec.branch(text)


def change(text: str) -> tuple[str, object]:
    """Read KEY=VALUE as a key of the API and its value."""
    key, found, value = text.partition("=")
    if not found or key not in KEYS:
        raise ValueError(f"{text!r}: wanted KEY=VALUE, KEY one of {', '.join(KEYS)}")
    name, read = KEYS[key]
    return name, read(value)


def _flag(text: str) -> bool:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    raise ValueError(f"{text!r} is neither true nor false")


def _timeout(text: str) -> float | None:
    return None if text in ("", "default") else seconds(text)


def _refspecs(text: str) -> list[str]:
    return text.split()


def _branches(text: str) -> list[str]:
    return [branch(each) for each in text.split()]


KEYS: dict[str, tuple[str, Callable[[str], object]]] = {
    "name": ("name", str),
    "source": ("source", str),
    "target": ("target", str),
    "branch": ("refspecs", _branches),
    "source_branch": ("source_branch", str),
    "target_branch": ("target_branch", str),
    "refspecs": ("refspecs", _refspecs),
    "force": ("force", _flag),
    "prune": ("prune", _flag),
    "enabled": ("enabled", _flag),
    "timeout": ("timeout", _timeout),
}
