"""How to write for the one who reads: on a terminal or not, and nothing that steers it.

Names, reasons and logs come from outside: `safe` shows their control characters and
reordering marks as escapes.


Watch a run: what git says while it works, until the run has ended.
"""

import json
import os
import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TextIO

from gms_hookd.cli.api_client import Api, get
from gms_hookd.model import FINAL
from gms_hookd.safetext import safe, safe_lines


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


SLICE = 2  # seconds that one question waits for something to be said
PAUSE = 0.2  # seconds between questions while there is nothing to wait for
LINES = re.compile(r"[^\r\n]*[\r\n]|[^\r\n]+")
CLEAR = "\r\x1b[K"


@dataclass(slots=True)
class Screen:
    """Where the log of a run appears; progress only on a terminal, on its last line."""

    out: TextIO
    style: Style
    passing: bool = False
    shown: list[str] = field(default_factory=list)  # lines that stay

    def show(self, text: str) -> None:
        """Show lines, ended by a line break, and progress, by a carriage return."""
        for line in LINES.findall(text):
            self._line(line.rstrip("\r\n"), line.endswith("\r"))
        self.out.flush()

    def _line(self, line: str, passing: bool) -> None:
        if passing and self.style.width:
            shown = cut(safe(line), self.style.width - 1)
            self.out.write(CLEAR + shown)
            self.passing = True
        elif not passing:
            self.clear()
            self.shown.append(line)
            self.out.write(safe_lines(line) + "\n")

    def show_rest(self, text: str) -> None:
        """Show a whole log, but not again the lines that it begins with."""
        lines = [line for line in LINES.findall(text) if not line.endswith("\r")]
        before = len(self.shown)
        begins = [line.rstrip("\r\n") for line in lines[:before]] == self.shown
        self.show("".join(lines[before:] if begins else lines))

    def clear(self) -> None:
        """Take the progress off the terminal."""
        if self.passing:
            self.out.write(CLEAR)
        self.passing = False


def follow(
    api: Api,
    run_id: int,
    screen: Screen,
    pause: Callable[[float], None] = time.sleep,
) -> Any:
    """Show what a run says until it has ended; return it as the API shows it."""
    shown = 0
    while (run := get(api, "run", id=run_id))["status"] not in FINAL:
        if run["attempt"] > shown:
            shown = run["attempt"]
            _listen(api, run_id, screen, pause)
        else:
            pause(PAUSE)
    if run["attempt"] > shown:
        screen.show_rest(run["details"] or "")
    screen.clear()
    return run


def _listen(
    api: Api, run_id: int, screen: Screen, pause: Callable[[float], None]
) -> None:
    """Show the log of one attempt from its beginning to its end."""
    offset, done = 0, False
    while not done:
        said = get(api, "run/output", id=run_id, offset=offset, wait=SLICE)
        screen.show(said["text"])
        offset, done = said["offset"], said["done"]
        if not said["text"] and not done:
            pause(PAUSE)
