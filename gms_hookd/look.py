"""How to write for the one who reads: on a terminal or not, and nothing that steers it.

Names, reasons and logs come from strangers: `safe` shows their control characters and
reordering marks as escapes.
"""

import json
import os
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple, TextIO

UNSEEN = ("C", "Zl", "Zp")


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


def safe(text: str, keep: str = "") -> str:
    """Return `text` with everything that is not plainly visible written as escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _seen(c) else _escape(c) for c in text)


def _seen(character: str) -> bool:
    return not unicodedata.category(character).startswith(UNSEEN)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def safe_lines(text: str) -> str:
    """Return a text of several lines made safe, its line breaks and tabs kept."""
    return safe(text.replace("\r\n", "\n"), keep="\n\t")
