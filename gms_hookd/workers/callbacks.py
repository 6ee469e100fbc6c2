"""Sends Docker Hub how a delivery's runs ended, where a hook asks for that.

Made from what is stored and never from a request, so an outcome is sent after a crash
too. Where to is checked when the delivery is read (`forges.dockerhub`).
"""

import json
import logging
import threading
from collections.abc import Callable

from gms_hookd.errors import Failure
from gms_hookd.http.client import send
from gms_hookd.log import SELDOM
from gms_hookd.model import RunStatus
from gms_hookd.safetext import reason
from gms_hookd.store import StoreError, callbacks
from gms_hookd.store.callbacks import Callback
from gms_hookd.threads import Supervised
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
TICK = 5.0
PATIENCE = 5.0
TRIES = 6
FIRST_DELAY = 30.0  # seconds; doubles with each try
LONGEST = int(FIRST_DELAY * 2**TRIES * 1000)  # ms
Post = Callable[[str, bytes], int]


def post(url: str, body: bytes) -> int:
    """Post JSON; return the status. Raises ClientError; follows no redirect."""
    return send(url, body, {"content-type": "application/json"}, PATIENCE).status


class Caller:
    """One thread that makes the callbacks that are due."""

    def __init__(
        self, context: Context, stopping: threading.Event, post: Post = post
    ) -> None:
        self._context = context
        self._stopping = stopping
        self._post = post

    def run_forever(self, thread: Supervised) -> None:
        """Make callbacks until the daemon stops."""
        while not self._stopping.wait(TICK):
            thread.beat()
            try:
                self.turn(thread.beat)
            except StoreError as error:
                log.warning("callbacks wait error=%s", reason(error), extra=SELDOM)

    def turn(self, beat: Callable[[], None] = lambda: None) -> None:
        """Make each callback that is due, once."""
        store = self._context.store
        due = store.read(callbacks.due, self._context.now(), LONGEST).result()
        for callback in due:
            if self._stopping.is_set():
                return
            beat()
            problem = self._make(callback)
            if not problem:
                log.info("callback made delivery=%d", callback.delivery_id)
            if problem and callback.tries + 1 < TRIES:
                self._put_off(callback, problem)
            else:
                store.write(callbacks.done, callback.delivery_id).result()

    def _make(self, callback: Callback) -> str:
        """Make a callback; return what went wrong."""
        try:
            status = self._post(callback.url, outcome(callback))
        except Failure as error:
            return str(error)
        return "" if status < 300 else f"answered with status {status}"

    def _put_off(self, callback: Callback, problem: str) -> None:
        log.warning(
            "callback failed delivery=%d error=%s",
            callback.delivery_id,
            reason(problem),
        )
        delay = FIRST_DELAY * 2**callback.tries
        at = self._context.now() + int(delay * 1000)
        self._context.store.write(callbacks.again, callback.delivery_id, at).result()


def outcome(callback: Callback) -> bytes:
    """Return the body that tells how the runs ended."""
    good = all(status is RunStatus.SUCCESS for status in callback.statuses)
    words = ", ".join(callback.statuses) or "nothing to sync"
    return json.dumps(
        {
            "state": "success" if good else "failure",
            "description": words[:255],
            "context": "gms-hookd",
        }
    ).encode()
