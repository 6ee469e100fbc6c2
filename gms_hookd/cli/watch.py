"""A run that a command has ordered: watched until it has ended, wherever it goes on."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from gms_hookd.cli import render
from gms_hookd.cli.api_client import Api, post
from gms_hookd.cli.session import Opened, Session
from gms_hookd.cli.terminal import Screen, Style, follow
from gms_hookd.errors import Failure
from gms_hookd.model import RunStatus
from gms_hookd.service.service import Service


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


class _OwnWork:
    """One run carried out in this process, attempt after attempt."""

    def __init__(self, service: Service, run_id: int) -> None:
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
