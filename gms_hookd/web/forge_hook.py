"""The hooks that forges call: a delivery is verified, understood, and starts syncs.

413 411 431 400 (the front) -> 403 address -> 429 rate -> 401 proof -> 400 body
-> matched and committed -> 200, whether it concerns a task or not, or 503
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import unquote_to_bytes

from gms_hookd.auth.schemes import Incoming, Scheme
from gms_hookd.contract import HOOKS
from gms_hookd.errors import NotFound
from gms_hookd.forges.base import Event, Forge
from gms_hookd.forges.condition import Condition, unmet
from gms_hookd.futures import Future, apply
from gms_hookd.git.host_alias import Aliases
from gms_hookd.http.message import HttpError, Request, Response
from gms_hookd.model import FINAL, WHOLE, Delivery, RunStatus, Shard, Task
from gms_hookd.notify import dockerhub, policy
from gms_hookd.notify.policy import Subscriber
from gms_hookd.payload import PayloadError, decode, dump_json
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import Connection, deliveries, notices, patterns, runs, tasks
from gms_hookd.web.expansion import Maker, made_of
from gms_hookd.web.gms_hook import tell_delivery
from gms_hookd.web.guard import Guard
from gms_hookd.web.matching import NO_ALIASES, Directory, Verdict, judge
from gms_hookd.workers.running import Context

LARGEST_KEPT = 1 << 20  # bytes of a body that is kept where bodies are
LONGEST_REASON = 1000
MOST_HEADERS = 50
LONGEST_HEADER = 200
# Their repositories lie at any depth, those of other forges at one, and none below a/.
NESTED = frozenset({"gitlab", "gitcode", "codeup", "tgit", "coding", "azuredevops"})
_SECRET = ("token", "sign", "secret", "auth", "pass", "cookie", "key", "forwarded")
_HARMLESS = frozenset({"x-event-key", "idempotency-key", "x-convoy-idempotency-key"})
_PLAIN = frozenset({"content-type", "user-agent", "idempotency-key"})
_FAMILIES = ("x-", "webhook-", "svix-", "ce-", "codeup-")


@dataclass(frozen=True, slots=True)
class HookOptions:
    """What the configuration says of a hook beside its secrets.

    `tasks`: the ids or names it is limited to, None for no limit. `limited`: verified
    deliveries count against `rate_limit` too. `bodies`: they are kept. `callback`: a
    sender that waits for the outcome does. `aliases`: hosts with other names. `when`:
    what a payload must have to start anything. `subscribers`: who is to hear that a
    repository has moved. `shard` is which of several nodes this one is.
    """

    tasks: tuple[int | str, ...] | None = None
    aliases: Aliases = NO_ALIASES
    limited: bool = False
    bodies: bool = False
    callback: bool = False
    when: tuple[Condition, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    shard: Shard = WHOLE


@dataclass(frozen=True, slots=True)
class Verifier:
    """How a hook is opened: the forge, its one scheme, and the active secrets."""

    forge: Forge
    scheme: Scheme
    secrets: tuple[str, ...]

    def opens(self, request: Request, now: float) -> bool:
        """Tell whether the request is proven."""
        incoming = Incoming(request.body, request.headers, now, url_key(request))
        return self.scheme.verify(incoming, self.secrets)

    def kept_headers(self, headers: Mapping[str, str], mask: Mask) -> dict[str, str]:
        """Return the headers worth keeping, without secrets."""
        names = [n for n in headers if _telling(n) and n != self._own_header]
        kept = names[:MOST_HEADERS]
        return {mask(name): mask(headers[name])[:LONGEST_HEADER] for name in kept}

    @property
    def _own_header(self) -> str:
        return str(getattr(self.scheme, "header", ""))


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a verified delivery; `joined`: all its runs were queued before."""

    delivery_id: int
    reason: str
    task_ids: tuple[int, ...] = ()
    run_ids: tuple[int, ...] = ()
    repeats: bool = False
    joined: bool = False

    @property
    def result(self) -> str:
        """Return what became of it in one word, as metrics have it."""
        if self.repeats:
            return "repeated"
        if not self.run_ids:
            return "nothing"
        return "joined" if self.joined else "queued"


class ForgeHook:
    """One hook of a forge."""

    def __init__(
        self, guard: Guard, verifier: Verifier, options: HookOptions, context: Context
    ) -> None:
        self.guard = guard
        self._verifier = verifier
        self._options = options
        self._context = context
        self._mask = context.mask.plus(verifier.secrets)

    def deliver(self, request: Request) -> Future[Response]:
        """Take a delivery; the answer comes when it is committed."""
        now, counted = self._context.monotonic(), self._options.limited
        return self._read(request, self.guard.admit(request, now, counted=counted))

    def _read(self, request: Request, client: str) -> Future[Response]:
        if not self._verifier.opens(request, self._context.clock()):
            if not self._options.limited:
                self.guard.count_failure(request, self._context.monotonic())
            raise HttpError(401, "missing or wrong signature")
        event, filtered = self._event(request)
        new_delivery = self.new_delivery(client, event, request.body)
        delivered = new_delivery, event, self._options, self._kept(request)
        taken = self._context.store.write(receive, *delivered, mask=self._mask)
        taken.add_done_callback(partial(self._count, filtered))
        level = logging.WARNING if event.warning else logging.INFO
        return apply(taken, partial(self._answer, new_delivery, request.id, level))

    def _event(self, request: Request) -> tuple[Event, bool]:
        """Return the event of a verified request, and whether a condition is unmet."""
        try:
            payload = decode(request.headers, request.body)
        except PayloadError as error:
            raise HttpError(400, str(error)) from None
        event = self._fit_to_keep(self._verifier.forge.parse(request.headers, payload))
        why = unmet(self._options.when, payload)
        return (replace(event, ignored=why), True) if why else (event, False)

    def _count(self, filtered: bool, taken: Future[Received]) -> None:
        if taken.exception():
            return
        received = taken.result()
        unwanted = filtered and not received.run_ids
        result = "filtered" if unwanted else received.result
        self._context.counters.deliveries.add(self.guard.hook, result)

    def _fit_to_keep(self, event: Event) -> Event:
        """Return an event whose texts may be kept; what it is matched by stays."""
        mask, key, url = self._mask, event.delivery_key, event.callback
        wanted = self._options.callback and url and not mask.holds(url)
        return replace(
            event,
            name=mask(event.name),
            delivery_key=None if key is None else mask(key),
            callback=url if wanted else None,
        )

    def new_delivery(
        self, client: str, event: Event | None = None, body: bytes = b""
    ) -> deliveries.NewDelivery:
        """Return what is kept of a delivery; without an event nobody has read it."""
        return deliveries.NewDelivery(
            hook=self.guard.hook,
            provider=self.guard.provider,
            client=client,
            received_at=self._context.now(),
            event=event.name if event else None,
            delivery_key=event.delivery_key if event else None,
            digest=hashlib.sha256(body).digest() if event else None,
        )

    def _kept(self, request: Request) -> deliveries.DeliveryContent:
        mask = self._mask
        headers = json.dumps(self._verifier.kept_headers(request.headers, mask))
        wanted = self._options.bodies and len(request.body) <= LARGEST_KEPT
        body = mask.body(request.body) if wanted else None
        return deliveries.DeliveryContent(headers, body)

    def _answer(
        self,
        new_delivery: deliveries.NewDelivery,
        request_id: str,
        level: int,
        received: Received,
    ) -> Response:
        if received.run_ids:
            self._context.running.arrived()
        outcome = (200, received.reason, received.task_ids, received.run_ids)
        recorded = deliveries.RecordedDelivery(new_delivery, *outcome)
        tell_delivery(request_id, recorded, self._context.mask, level)
        return Response(200, dump_json(_answer(received)))


def receive(
    db: Connection,
    new_delivery: deliveries.NewDelivery,
    event: Event,
    options: HookOptions,
    content: deliveries.DeliveryContent,
    *,
    mask: Mask,
) -> Received:
    """Take a verified delivery: find its tasks, queue their runs, keep why."""
    first = deliveries.earlier(db, new_delivery) if new_delivery.delivery_key else None
    if first and first.run_ids:
        return _repeat(db, new_delivery, first, content)
    directory = _directory(db, options, nested=new_delivery.provider in NESTED)
    verdict = judge(event, directory)
    if verdict.covered:
        maker = Maker(db, new_delivery.received_at, mask, options.shard)
        verdict = made_of(verdict, maker)
    reason = _cut(mask(_reason(verdict)))
    received = _take(db, new_delivery, verdict, reason, content)
    if event.warning and options.subscribers:
        left = directory.of(event.former)
        said = mask(event.warning)
        _tell_of_move(db, left, said, options.subscribers, new_delivery.received_at)
    if event.callback:
        _call_back(db, new_delivery, event.callback, received)
    return received


def _directory(db: Connection, options: HookOptions, *, nested: bool) -> Directory:
    return Directory(
        partial(tasks.of_source, db),
        partial(tasks.named, db),
        options.tasks,
        options.aliases,
        patterns=partial(patterns.every, db),
        nested=nested,
    )


def _reason(verdict: Verdict) -> str:
    names = ", ".join(match.task.name for match in verdict.matches)
    accepted = [f"accepted for {names}"] if names else []
    return "; ".join([*accepted, *verdict.reasons])


def _take(
    db: Connection,
    new_delivery: deliveries.NewDelivery,
    verdict: Verdict,
    reason: str,
    content: deliveries.DeliveryContent,
) -> Received:
    """Queue the runs, and record the delivery with them."""
    newest = runs.newest(db)
    queued = [_queue(db, new_delivery, m.task.id, m.hint) for m in verdict.matches]
    run_ids = tuple(run_id for run_id in queued if run_id is not None)
    ids = tuple(match.task.id for match in verdict.matches)
    delivery_id = deliveries.record(
        db, new_delivery, 200, reason, task_ids=ids, run_ids=run_ids, content=content
    )
    joined = all(run_id <= newest for run_id in run_ids)
    return Received(delivery_id, reason, ids, run_ids, joined=joined)


def _call_back(
    db: Connection, new_delivery: deliveries.NewDelivery, url: str, received: Received
) -> None:
    """Have the sender told how the first of the runs ends."""
    subject = notices.Subject(
        run_id=next(iter(received.run_ids), None),
        url=url,
        delivery_id=received.delivery_id,
    )
    target = dockerhub.target_name(new_delivery.hook)
    notices.add(db, target, policy.ENDED, subject, new_delivery.received_at)


def _tell_of_move(
    db: Connection,
    left: Iterable[Task],
    said: str,
    subscribers: tuple[Subscriber, ...],
    now: int,
) -> None:
    """Make the notices about tasks whose source the repository has left."""
    news = policy.News((policy.RENAMED,), "", None)
    for task in left:
        subject = notices.Subject(task.id, task.name, said=said)
        for target, name in policy.wanted(subscribers, task.id, task.name, news):
            notices.add(db, target, name, subject, now)


def _queue(
    db: Connection,
    new_delivery: deliveries.NewDelivery,
    task_id: int,
    hint: str | None = None,
) -> int | None:
    new_run = runs.NewRun(f"webhook:{new_delivery.hook}", hint=hint)
    return runs.trigger(db, task_id, new_run, new_delivery.received_at)


def _repeat(
    db: Connection,
    new_delivery: deliveries.NewDelivery,
    first: Delivery,
    content: deliveries.DeliveryContent,
) -> Received:
    """Answer a delivery that came before with its runs; what failed runs again."""
    outcome = [_again(db, run_id, new_delivery) for run_id in first.run_ids]
    run_ids = tuple(dict.fromkeys(run_id for run_id, _ in outcome))
    rerun = sum(new for _, new in outcome)
    reason = f"repeats delivery {first.id}"
    reason += f"; {rerun} of its runs had not succeeded: again" if rerun else ""
    ids = first.task_ids
    delivery_id = deliveries.record(
        db, new_delivery, 200, reason, task_ids=ids, run_ids=run_ids, content=content
    )
    return Received(delivery_id, reason, ids, run_ids, repeats=True)


def _again(
    db: Connection, run_id: int, new_delivery: deliveries.NewDelivery
) -> tuple[int, bool]:
    try:
        run = runs.get(db, run_id)
    except NotFound:
        return run_id, False
    if run.status not in FINAL or run.status is RunStatus.SUCCESS:
        return run.id, False
    again = _queue(db, new_delivery, run.task_id)
    return (run.id, False) if again is None else (again, True)


def url_key(request: Request) -> bytes | None:
    """Return the secret in the URL: after `?key=`, or after the hook's name.

    A plus sign stands for itself. Two keys are none.
    """
    fields = [field.partition("=") for field in request.query.split("&")]
    given = [value for name, _, value in fields if name == "key"]
    given += [tail for tail in [_tail(request.path)] if tail]
    return unquote_to_bytes(given[0]) if len(given) == 1 else None


def _tail(path: str) -> str:
    return path.removeprefix(HOOKS).partition("/")[2]


def _telling(name: str) -> bool:
    if name in _HARMLESS:
        return True
    known = name in _PLAIN or name.startswith(_FAMILIES)
    return known and not any(word in name for word in _SECRET)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."


def _answer(received: Received) -> dict[str, object]:
    message = "Sync triggered successfully"
    if received.repeats:
        message = received.reason.capitalize()
    elif not received.run_ids:
        message = f"Nothing to sync: {received.reason}"
    return {
        "message": message,
        "delivery_id": received.delivery_id,
        "task_ids": list(received.task_ids),
        "run_ids": list(received.run_ids),
    }
