"""The status pages: which one is asked for, and what of the store it shows.

They write nothing. What was made within the last two seconds is given to all who ask.
"""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from gms_hookd import __version__
from gms_hookd.errors import NotFound, StoreError
from gms_hookd.futures import Future, apply, done, recover, then
from gms_hookd.http.message import HttpError, Request, Response
from gms_hookd.model import LARGEST_ID, RunStatus
from gms_hookd.pages.delivery import DeliveryView, delivery_page, reasons
from gms_hookd.pages.failure import failure_page
from gms_hookd.pages.front import STATUSES, FailingRow, Front, TaskLine, front
from gms_hookd.pages.hook import HookFacts, HookView, hook_page
from gms_hookd.pages.parts import TOP, Frame
from gms_hookd.pages.run import RunView, run_page
from gms_hookd.pages.style import POLICY
from gms_hookd.pages.task import TaskView, task_page
from gms_hookd.pages.texts import Words, language
from gms_hookd.store import Connection, deliveries, listings, overview, runs, tasks
from gms_hookd.store.listings import OUTCOMES, ListingFilter, RunPage
from gms_hookd.store.overview import FailingTask
from gms_hookd.web.params import as_number, read_number, read_text
from gms_hookd.workers.running import Context, DaemonState

FRESH = 2.0  # seconds
KEPT = 32  # pages
LISTED = 50  # rows of a list that is asked for
HANDS, TASKS, RUNS, DELIVERIES = 8, 15, 10, 20  # of the first page
TEXT = "text/html; charset=utf-8"
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "Accept-Language"),
)
LONGEST_QUERY = 4000  # characters
_FILTERS = (
    "task", "hook", "outcome", "runs_before", "deliveries_before", "tasks_after",
)  # fmt: skip
_PARAMETERS = frozenset({*_FILTERS, "before"})


class Asked(NamedTuple):
    """One page that is asked for: `key` is the number or name in its path."""

    context: Context
    condition: DaemonState
    hooks: Mapping[str, HookFacts]
    key: str
    query: Mapping[str, str]


View = Any
Page = tuple[Callable[[Connection, Asked], View], Callable[[Frame, View], bytes]]


class StatusPages:
    """Makes pages, and keeps them for two seconds; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, ...], tuple[float, Future[Response]]]
        self._made = OrderedDict()

    def answer(
        self, context: Context, hooks: Mapping[str, HookFacts], request: Request
    ) -> Future[Response]:
        """Return the page that is asked for, or one that says why there is none."""
        spoken = language(request.headers.get("accept-language"))
        known = urlencode(sorted(_query(request.query).items()))
        key = request.path, known, spoken
        now = context.monotonic()
        with self._lock:
            at, made = self._made.get(key, (0.0, None))
            if made is not None and 0 <= now - at < FRESH:
                return made
            read = partial(_read, context, hooks, request, Words(spoken))
            made = then(context.condition(), read)
            self._made[key] = now, made
            self._made.move_to_end(key)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
            return made


def _read(
    context: Context,
    hooks: Mapping[str, HookFacts],
    request: Request,
    words: Words,
    condition: DaemonState,
) -> Future[Response]:
    frame = Frame(
        context.now(),
        words,
        host=os.uname().nodename,
        version=__version__,
        since=condition.since,
        problems=condition.problems,
    )
    refused = partial(_failure, context, frame)
    try:
        (read, render), key = _which(request.path)
    except HttpError as error:
        return done(refused(error))
    asked = Asked(context, condition, hooks, key, _query(request.query))
    page = apply(context.store.read(read, asked), partial(render, frame))
    return recover(apply(page, partial(_response, context, 200)), refused)


def _failure(context: Context, frame: Frame, error: BaseException) -> Response:
    if not isinstance(error, HttpError | StoreError):
        raise error
    page = failure_page(frame, context.mask(str(error)))
    return _response(context, error.status, page)


def _response(context: Context, status: int, page: bytes) -> Response:
    return Response(status, context.mask.page(page), HEADERS, TEXT)


def _which(path: str) -> tuple[Page, str]:
    """Return the page of a path, and what stands behind the page's name."""
    kind, _, key = path.removeprefix(TOP).strip("/").partition("/")
    if kind not in PAGES or bool(kind) != bool(key):
        raise HttpError(404, "no such page")
    return PAGES[kind], unquote(key)


def _query(query: str) -> dict[str, str]:
    """Return the parameters that pages know; others make no other page."""
    pairs = parse_qsl(query[:LONGEST_QUERY])
    return {key: value for key, value in pairs if key in _PARAMETERS}


def _front(db: Connection, asked: Asked) -> Front:
    query = {key: asked.query[key] for key in _FILTERS if key in asked.query}
    lists = _lists(db, query)
    queued, running, due = listings.pending(db)
    lively = running > 0 or (due is not None and due <= asked.context.now())
    if query:
        return Front(query=query, lively=lively, **lists)
    found = overview.overview(db)
    condition, now = asked.condition, asked.context.now()
    return Front(
        failing=[_failing(db, each) for each in found.failing_tasks[:HANDS]],
        more_failing=max(found.failing - HANDS, 0),
        hands=[condition.refusal] if condition.refusal else [],
        dead=[
            (name, tally.dead, tally.last_error)
            for name, tally in found.notices.items()
            if tally.dead and name in asked.context.targets
        ],
        restart_for=condition.restart_for,
        lively=lively,
        queued=queued,
        running=running,
        oldest=found.oldest.created_at if found.oldest else None,
        scheduled=found.scheduled,
        alive=_alive(db, asked.context),
        hours=listings.tallies(db, now, 1, 24),
        days=listings.tallies(db, now, 24, 30),
        **lists,
    )


def _alive(db: Connection, context: Context) -> RunPage:
    rows = listings.alive(db, RUNS).rows
    waiting = (row._replace(waits_for=context.waits_for(db, row.id)) for row in rows)
    return RunPage(tuple(waiting), None)


def _failing(db: Connection, found: FailingTask) -> FailingRow:
    counted = listings.failures(db, found.run.task_id)
    next_try = found.waiting.next_try if found.waiting else None
    return FailingRow(found.run, counted, next_try)


def _lists(db: Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the lists of the first page, those that a filter leaves."""
    wanted = _wanted(db, query)
    limit = LISTED if query else None
    outcome, paged = wanted.outcome, [k for k in query if "_" in k]
    named = "task" not in query or wanted.task_id is not None
    lists: dict[str, Any] = {}
    if not {"outcome", "hook"} & query.keys() and paged in ([], ["tasks_after"]):
        lists |= _task_lines(db, query)
    if named and outcome in (None, *STATUSES) and paged in ([], ["runs_before"]):
        page = wanted._replace(before=_before(query, "runs_before"))
        lists["runs"] = listings.run_page(db, page._replace(limit=limit or RUNS))
    if named and outcome in (None, *OUTCOMES) and paged in ([], ["deliveries_before"]):
        page = wanted._replace(before=_before(query, "deliveries_before"))
        page = page._replace(limit=limit or DELIVERIES)
        lists["deliveries"] = listings.delivery_page(db, page)
    return lists


def _wanted(db: Connection, query: Mapping[str, str]) -> ListingFilter:
    task_id = None
    if "task" in query:
        given = read_text(query, "task")
        number = given.isascii() and given.isdecimal()
        found = tasks.named(db, int(given[:18]) if number else given)
        task_id = found[0].id if found else None
    outcome = _outcome(query, (*STATUSES, *OUTCOMES))
    hook = read_text(query, "hook") if "hook" in query else None
    return ListingFilter(task_id, hook, outcome)


def _outcome(query: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    outcome = query.get("outcome")
    if outcome is not None and outcome not in names:
        raise HttpError(400, f"outcome: one of {', '.join(names)} is needed")
    return outcome


def _before(query: Mapping[str, str], key: str) -> int:
    if key not in query:
        return LARGEST_ID
    return read_number({key: as_number(query[key])}, key)


def _task_lines(db: Connection, query: Mapping[str, str]) -> dict[str, Any]:
    part, after = (
        read_text(query, key) if key in query else "" for key in ("task", "tasks_after")
    )
    page = listings.task_page(db, after, part, LISTED if query else TASKS)
    lines = [
        TaskLine(task, listings.last_run(db, task.id), listings.outcomes(db, task.id))
        for task in page.rows
    ]
    return {"tasks": lines, "after": page.after}


def _task(db: Connection, asked: Asked) -> TaskView:
    number = _number(asked, "task")
    found = tasks.named(db, number)
    last = listings.last_run(db, number)
    if not found and last is None:
        raise NotFound(f"no task {number}")
    outcome = _outcome(asked.query, STATUSES)
    wanted = ListingFilter(
        number, None, outcome, _before(asked.query, "before"), LISTED
    )
    return TaskView(
        number,
        found[0].name if found else last.task_name if last else "",
        found[0] if found else None,
        last,
        listings.outcomes(db, number),
        listings.run_page(db, wanted),
        _kept(asked, "outcome", "before"),
    )


def _number(asked: Asked, kind: str) -> int:
    if not (asked.key.isascii() and asked.key.isdecimal() and len(asked.key) < 19):
        raise HttpError(404, f"no such {kind}")
    return int(asked.key)


def _kept(asked: Asked, *keys: str) -> dict[str, str]:
    return {key: asked.query[key] for key in keys if key in asked.query}


def _run(db: Connection, asked: Asked) -> RunView:
    context = asked.context
    run = runs.get(db, _number(asked, "run"), details=True)
    said = context.running.log(run.id)
    if run.status is RunStatus.RUNNING and said is not None:
        # The store has what earlier attempts said; this one is still under way.
        run = replace(run, details=(run.details or "") + said[1].text())
    return RunView(context.awaiting(db, run), context.attempts)


def _delivery(db: Connection, asked: Asked) -> DeliveryView:
    delivery = deliveries.get(db, _number(asked, "delivery"))
    content = deliveries.content(db, delivery.id)
    body = content and content.body
    return DeliveryView(
        delivery,
        [t for n in delivery.task_ids[:LISTED] for t in tasks.named(db, n)],
        listings.runs_by_id(db, delivery.run_ids[:DELIVERIES]),
        json.loads(content.headers) if content else None,
        None if body is None else body.decode("utf-8", "replace"),
        _named(db, [name for name, _ in reasons(delivery)[:LISTED]]),
    )


def _named(db: Connection, names: Sequence[str]) -> dict[str, int]:
    """Return the ids of the tasks with these names."""
    found = (task for name in names for task in tasks.named(db, name))
    return {task.name: task.id for task in found}


def _hook(db: Connection, asked: Asked) -> HookView:
    name, context = asked.key, asked.context
    if name not in context.hooks and not deliveries.is_known(db, name):
        raise NotFound(f"no hook {name!r}: there are {', '.join(context.hooks)}"[:300])
    outcome = _outcome(asked.query, OUTCOMES)
    wanted = ListingFilter(None, name, outcome, _before(asked.query, "before"), LISTED)
    counts = context.counters.deliveries.counts()
    return HookView(
        name,
        asked.hooks.get(name),
        {result: count for (hook, result), count in counts.items() if hook == name},
        listings.delivery_page(db, wanted),
        _kept(asked, "outcome", "before"),
    )


PAGES: Mapping[str, Page] = {
    "": (_front, front),
    "task": (_task, task_page),
    "run": (_run, run_page),
    "delivery": (_delivery, delivery_page),
    "hook": (_hook, hook_page),
}
