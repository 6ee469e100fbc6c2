"""Deliveries: the checks each passes in the contract's order, and what it starts.

413 411 431 400 (the front) -> 403 address -> 429 rate -> 401 signature
-> 400 body -> committed -> 200, or 404 409 503
"""

import logging
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from urllib.parse import parse_qs

from gms_hookd.contract import RUNS
from gms_hookd.futures import Future, apply, done, then
from gms_hookd.http.message import HttpError, Request, Response
from gms_hookd.log import event
from gms_hookd.model import FINAL, LARGEST_ID, Run, RunStatus
from gms_hookd.payload import dump_json, load_json
from gms_hookd.safetext import quoted, reason
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import Connection, deliveries, runs
from gms_hookd.store.tasks import LONGEST_KEY
from gms_hookd.web import views
from gms_hookd.web.guard import Guard
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
LONGEST_WAIT = 300.0
ACCEPTED = "Sync triggered successfully"
_WAIT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_ENDINGS = {
    RunStatus.SUCCESS: (200, "Sync finished successfully"),
    RunStatus.CONFLICT: (409, "Sync ended in a conflict"),
    RunStatus.FAILED: (502, "Sync failed"),
    RunStatus.CANCELLED: (502, "Sync was cancelled"),
}


class GmsHook:
    """GMS's own webhook: `{"task_id": 1}`, signed, starts the sync of one task.

    Newer clients send `{"task_key": "..."}`; an id counts before a key.
    """

    def __init__(self, guard: Guard, context: Context) -> None:
        self.guard = guard
        self._context = context
        self._new_run = runs.NewRun(f"webhook:{guard.hook}")

    def deliver(self, request: Request) -> Future[Response]:
        """Take a delivery; the answer comes when it is committed, or the run ended."""
        client = self.guard.admit(request, self._context.monotonic())
        self.guard.check_signature(request)
        task = _task(request)
        seconds = _wait(request.query) if request.query else None
        trigger = runs.Trigger(self.new_delivery(client), task, self._new_run)
        accepted = self._context.store.gather(runs.accept, trigger)
        if seconds is None:
            return apply(accepted, partial(self._taken, task, request.id))
        return then(accepted, partial(self._ended, task, request.id, seconds))

    def show(self, request: Request, run_id: int) -> Future[Response]:
        """Show a run to whoever can sign its path."""
        self.guard.admit(request, self._context.monotonic())
        self.guard.check_path_signature(request)
        found = self._context.store.read(_read, run_id, self._context)
        return apply(found, self._shown)

    def _shown(self, run: Run) -> Response:
        return Response(200, dump_json(views.run(run, self._context.attempts)))

    def new_delivery(self, client: str) -> deliveries.NewDelivery:
        """Return what is kept of a delivery, whatever its body says."""
        guard = self.guard
        now = self._context.now()
        return deliveries.NewDelivery(
            guard.hook, guard.provider, client, now, "task-sync"
        )

    def _taken(
        self, task: int | str, request_id: str, recorded: deliveries.RecordedDelivery
    ) -> Response:
        tell_delivery(request_id, recorded, self._context.mask)
        count = self._context.counters.deliveries.add
        if recorded.status != 200:
            count(self.guard.hook, "refused")
            return Response(recorded.status, dump_json({"error": recorded.reason}))
        taken = Response(200, _accepted(task), (_location(recorded),))
        count(self.guard.hook, "joined" if recorded.joined else "queued")
        self._context.running.arrived()
        return taken

    def _ended(
        self,
        task: int | str,
        request_id: str,
        seconds: float,
        recorded: deliveries.RecordedDelivery,
    ) -> Future[Response]:
        taken = self._taken(task, request_id, recorded)
        if taken.status != 200:
            return done(taken)
        location = _location(recorded)
        ended = await_end(self._context, recorded.run_ids[0], seconds)
        attempts = self._context.attempts
        return apply(ended, lambda run: _ending(run, attempts, task, location))


def _accepted(task: int | str) -> bytes:
    if isinstance(task, str):
        return _body(ACCEPTED, task)
    # The json module takes 4.4 us for it, and this is on the way of each trigger.
    return f'{{"message": "{ACCEPTED}", "task_id": {task}}}'.encode()


def tell_delivery(
    request_id: str,
    recorded: deliveries.RecordedDelivery,
    mask: Mask,
    level: int = logging.INFO,
) -> None:
    """Log a verified delivery, in one line."""
    new_delivery, status, why, task_ids, run_ids = recorded[:5]
    source = new_delivery.hook, new_delivery.client, new_delivery.event
    event(
        log,
        f"delivery id={request_id} {_described(mask, source, status, why)}"
        f" tasks={_numbers(task_ids)} runs={_numbers(run_ids)}",
        level,
        masked=True,
    )


@lru_cache(maxsize=128)
def _described(
    mask: Mask, source: tuple[str, str, str | None], status: int, why: str
) -> str:
    """Write what many deliveries have in common, masked: once for all of them."""
    hook, client, kind = source
    return mask.line(
        f"hook={quoted(hook)} client={quoted(client)} event={quoted(kind, 80)}"
        f" status={status} reason={reason(why)}"
    )


def _numbers(ids: tuple[int, ...]) -> str:
    """Write ids for the log; of very many, only the first."""
    if len(ids) == 1:
        return str(ids[0])
    return quoted(",".join(map(str, ids)) or "-", 80)


def _location(recorded: deliveries.RecordedDelivery) -> tuple[str, str]:
    return "Location", f"{RUNS}{recorded.run_ids[0]}"


def _read(db: Connection, run_id: int, context: Context) -> Run:
    return context.awaiting(db, runs.get(db, run_id, details=True))


def await_end(context: Context, run_id: int, seconds: float) -> Future[Run]:
    """Give the run when it has ended, or as it is after so many seconds."""
    watch = context.running.watch(run_id, seconds)

    def read(_: object = None) -> Future[Run]:
        return context.store.read(_read, run_id, context)

    def look(run: Run) -> Future[Run]:
        # It may have ended before the watch began.
        if run.status in FINAL:
            context.running.unwatch(watch)
            return done(run)
        return then(watch.future, read)

    return then(read(), look)


def _ending(
    run: Run, attempts: int, task: int | str, location: tuple[str, str]
) -> Response:
    status, message = _ENDINGS.get(run.status, (202, "Sync has not finished yet"))
    return Response(status, _body(message, task, views.run(run, attempts)), (location,))


def _body(message: str, task: int | str, run: views.Json | None = None) -> bytes:
    name = "task_id" if isinstance(task, int) else "task_key"
    answer: dict[str, object] = {"message": message, name: task}
    if run is not None:
        answer["run"] = run
    return dump_json(answer)


def _task(request: Request) -> int | str:
    """Return the id of the task, or its key. Raises HttpError 400."""
    payload = _json_object(request)
    if "task_key" in payload and "task_id" not in payload:
        return _key(payload["task_key"])
    task_id = payload.get("task_id")
    if type(task_id) is not int or not 0 < task_id <= LARGEST_ID:
        raise HttpError(400, "task_id: a positive integer is needed")
    return task_id


def _key(given: object) -> str:
    if isinstance(given, str) and 0 < len(given) <= LONGEST_KEY and given.isprintable():
        return given
    raise HttpError(
        400, f"task_key: a text of at most {LONGEST_KEY} characters is needed"
    )


def _json_object(request: Request) -> Mapping[str, object]:
    content_type = request.headers.get("content-type", "").partition(";")[0]
    if content_type.strip(" \t").lower() != "application/json":
        raise HttpError(400, "Content-Type: application/json is needed")
    try:
        payload = load_json(request.body)
    except ValueError:
        raise HttpError(400, "the body is not JSON") from None
    if not isinstance(payload, dict):
        raise HttpError(400, "the body is not a JSON object")
    return payload


def _wait(query: str) -> float | None:
    given = parse_qs(query, keep_blank_values=True).get("wait")
    if given is None:
        return None
    if len(given) > 1 or not _WAIT.fullmatch(given[0]):
        raise HttpError(400, "wait: a number of seconds is needed, at most 300")
    seconds = float(given[0])
    if seconds > LONGEST_WAIT:
        raise HttpError(400, "wait: at most 300 seconds")
    return seconds
