"""A run that a command has ordered: watched until it has ended, wherever it goes on.

What git says while it works is shown as it comes.
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from gms_hookd.cli import render
from gms_hookd.cli.api_client import Api, get, post
from gms_hookd.cli.session import Opened, Session
from gms_hookd.cli.terminal import Style, cut
from gms_hookd.contract import FINAL, RunStatus
from gms_hookd.errors import ClientError, Failure
from gms_hookd.safetext import safe, safe_lines

if TYPE_CHECKING:  # as in `session`
    from gms_hookd.service.service import Service

SLICE = 2  # seconds that one question waits for something to be said
PAUSE = 0.2  # seconds between questions while there is nothing to wait for
LINES = re.compile(r"[^\r\n]*[\r\n]|[^\r\n]+")
CLEAR = "\r\x1b[K"


class Screen:
    """Where the log of a run appears; progress only on a terminal, on its last line."""

    def __init__(self, out: TextIO, style: Style) -> None:
        self.out = out
        self.style = style
        self.passing = False
        self.shown: list[str] = []  # lines that stay

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


def watched(session: Session, found: Opened, run_id: int) -> Any:
    """Follow a run to its end, and return it; without a daemon, carry it out."""
    screen = Screen(session.out, session.style)
    if found.service is None:
        return _watched_afar(session, found.api, run_id, screen)
    own = _OwnWork(found.service, run_id)
    try:
        return follow(found.api, run_id, screen, own.pause)
    except KeyboardInterrupt:
        post(found.api, "run/cancel", {"id": run_id})
        raise
    finally:
        own.thread.join()


def _watched_afar(session: Session, api: Api, run_id: int, screen: Screen) -> Any:
    try:
        return follow(api, run_id, screen)
    except KeyboardInterrupt:
        screen.clear()
        session.say(f"run {run_id} goes on; `gms-hookd run cancel {run_id}` ends it")
        raise
    except ClientError as error:  # the daemon was stopped, say
        screen.clear()
        remedy = f"`gms-hookd run show {run_id}` says what becomes of run {run_id}"
        raise Failure(f"{error}: {remedy}") from error


class _OwnWork:
    """One run carried out in this process, attempt after attempt."""

    def __init__(self, service: "Service", run_id: int) -> None:
        self._again = partial(service.carry_out, run_id)
        self.thread = self._again()

    def pause(self, seconds: float) -> None:
        """Wait a little, and see that the run goes on when it is due again."""
        if not self.thread.is_alive():
            self.thread = self._again()
        time.sleep(seconds)


def ended(session: Session, run: Mapping[str, Any]) -> int:
    """Show how a run ended; raises Failure unless it was a success."""
    if run["refs"]:
        session.say(render.refs(run["refs"], session.style))
    if run["status"] != RunStatus.SUCCESS:
        raise Failure(render.result(run, Style(session.style.now)))
    session.say(render.result(run, session.style))
    return 0


def follow(
    api: Api, run_id: int, screen: Screen, pause: Callable[[float], None] = time.sleep
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
