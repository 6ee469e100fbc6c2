"""How to write for the one who reads: on a terminal or not, and nothing that steers it.

Names, reasons and logs come from strangers: `safe` shows their control characters and
reordering marks as escapes.
"""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple, TextIO


class Look(NamedTuple):
    """How to write: with colours or not, lines cut at `width` or not, what is now."""

    now: float
    colour: bool = False
    width: int | None = None


def look_of(stream: TextIO, environ: Mapping[str, str], now: float) -> Look:
    """Return how to write to `stream`: plainly unless it is a terminal."""
    if not stream.isatty():
        return Look(now)
    plain = environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb"
    return Look(now, not plain, os.get_terminal_size(stream.fileno()).columns or None)


def as_json(value: object) -> str:
    """Return the API's objects as they are; all ASCII, thus harmless on a terminal."""
    return json.dumps(value, indent=2)
