"""How to write for the one who reads: on a terminal or not."""

import json
import os
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple, TextIO


class Style(NamedTuple):
    """How to write: with colours or not, lines cut at `width` or not, what is now."""

    now: float
    colour: bool = False
    width: int | None = None


def style_of(stream: TextIO, environ: Mapping[str, str], now: float) -> Style:
    """Return how to write to `stream`: plainly unless it is a terminal."""
    if not stream.isatty():
        return Style(now)
    plain = environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb"
    return Style(now, not plain, os.get_terminal_size(stream.fileno()).columns or None)


def as_json(value: object) -> str:
    """Return the API's objects as they are; all ASCII, thus harmless on a terminal."""
    return json.dumps(value, indent=2)


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return `text`, or its beginning and an ellipsis where it is wider than that."""
    if columns(text) <= width:
        return text
    while text and columns(text) > width - 1:
        text = text[:-1]
    return text + "…"
