"""Watch a run: what git says while it works, until the run has ended."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from gms_hookd import render
from gms_hookd.client import Api, get
from gms_hookd.look import Look
from gms_hookd.model import FINAL
from gms_hookd.safetext import safe, safe_lines

SLICE = 2  # seconds that one question waits for something to be said
PAUSE = 0.2  # seconds between questions while there is nothing to wait for
LINES = re.compile(r"[^\r\n]*[\r\n]|[^\r\n]+")
CLEAR = "\r\x1b[K"


@dataclass(slots=True)
class Screen:
    """Where the log of a run appears; progress only on a terminal, on its last line."""

    out: TextIO
    look: Look
    passing: bool = False

    def show(self, text: str) -> None:
        """Show lines, ended by a line break, and progress, by a carriage return."""
        for line in LINES.findall(text):
            self._line(line.rstrip("\r\n"), line.endswith("\r"))
        self.out.flush()

    def _line(self, line: str, passing: bool) -> None:
        if passing and self.look.width:
            shown = render.cut(safe(line), self.look.width - 1)
            self.out.write(CLEAR + shown)
            self.passing = True
        elif not passing:
            self.clear()
            self.out.write(safe_lines(line) + "\n")

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
        screen.show(run["details"] or "")
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
