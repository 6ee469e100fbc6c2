"""Patterns that are compiled when something is first looked for.

What git may say where it fails, YAML, Go's durations: of 200 patterns most are never
needed, and all at once they would take a fifth of the daemon's start.
"""

import re
from typing import Any, AnyStr, cast


class _Pattern:
    """In the place of a `re.Pattern`, whose methods it has once they were asked for."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)  # refs are looked at by the ten thousand
        return found


def late_pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what finds `text`, as `re.compile` does."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
