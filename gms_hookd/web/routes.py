"""The one route table: a request in, a response out, no socket in sight.

`App.handle` never blocks and never raises: it replies at once, or when the store has
committed, or when the run that a client waits for has ended.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from gms_hookd.auth.api_tokens import Rights, Tokens
from gms_hookd.auth.whitelist import UNIX
from gms_hookd.contract import API, HOOKS, NO_PATH, RUNS
from gms_hookd.futures import Future, apply, done, failed
from gms_hookd.http.message import HttpError, Request, Response
from gms_hookd.log import SELDOM, event
from gms_hookd.pages.hook import HookFacts
from gms_hookd.pages.parts import TOP
from gms_hookd.payload import dump_json, load_json
from gms_hookd.safetext import quoted
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import StoreError, deliveries
from gms_hookd.store.refusals import Refusal
from gms_hookd.threads import BusyError
from gms_hookd.web import api, gms_hook, metrics, openapi
from gms_hookd.web.calls import CALLS
from gms_hookd.web.forge_hook import ForgeHook
from gms_hookd.web.guard import Guard
from gms_hookd.web.sampler import Sampler
from gms_hookd.web.status_page import PAGES, StatusPages
from gms_hookd.workers.running import Context

log = logging.getLogger(__name__)
Hook = gms_hook.GmsHook | ForgeHook
MOST_PARAMETERS = 20
_UNWELCOME = frozenset({401, 403, 429})
# In an unknown path this may be a secret that was exchanged since, or another's.
_LONG_WORD = re.compile(r"[^/?&=;%#]{24,}")
LONGEST_PATH = 1000  # characters of an unknown path that are looked at
# Bytes of an answer. What is stored was masked before; this is for what an older
# version stored, and for what is repeated of a request.
LARGEST_MASKED = 1 << 20
RETRY_AFTER = ("Retry-After", "10")
METRICS = "/metrics"
# What no path of a stranger can add to.
_PLAIN_PATHS = frozenset({
    HOOKS + "task-sync", "/healthz", "/readyz", METRICS, TOP,
    openapi.PATH,
})  # fmt: skip
_PAGES = {f"{TOP}/{kind}" for kind in PAGES if kind}
UNSEEN = f"no such path: set api.read_token to open {TOP}"
_BASIC = 'Basic realm="gms-hookd", charset="UTF-8"'
ON_SOCKET = "this is open on the control socket only"
READS_ONLY = "this only reads: give api.token as a bearer token to write"
_UNSET = {
    Rights.READ: "set api.read_token to open what only reads",
    Rights.WRITE: "set api.token to open it",
}
_PATHS = {path for _, path in CALLS}
_ON_SOCKET_ONLY = {call.path: call.command for call in CALLS.values() if call.command}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about requests; replaced whole at a reload.

    `anonymous` counts wrong tokens, apart from what a hook's senders may use up;
    `described` is what people are to know of each hook.
    """

    hooks: Mapping[str, gms_hook.GmsHook]
    tokens: Tokens
    ready: Callable[[], Future[list[str]]]
    forges: Mapping[str, Hook] = field(default_factory=dict)
    anonymous: Guard = field(kw_only=True)
    described: Mapping[str, HookFacts] = field(default_factory=dict)

    def hook(self, path: str) -> Hook | None:
        """Find the hook at a path; behind its name a forge's may hold a secret."""
        name, slash, _ = path.removeprefix(HOOKS).partition("/")
        return self.forges.get(name) or (None if slash else self.hooks.get(name))

    def shown(self, path: str, mask: Mask) -> str:
        """Write a path for the log; behind the name of a hook a secret may stand."""
        name = path.removeprefix(HOOKS)
        if name in self.hooks or name in self.forges:
            return path
        end = path.find("/", len(HOOKS))
        if end < 0 or not path.startswith(HOOKS) or path.startswith(RUNS):
            return quoted(_LONG_WORD.sub("***", mask(path[:LONGEST_PATH])))
        return quoted(_LONG_WORD.sub("***", mask(path[:end][:LONGEST_PATH])) + "/...")


class App:
    """Everything that answers requests."""

    def __init__(self, context: Context, policy: Policy) -> None:
        self._context = context
        self._policy = policy
        self._sampler = Sampler()
        self._pages = StatusPages()

    def adopt(self, context: Context, policy: Policy) -> None:
        """Use another context and policy from the next request on."""
        self._context, self._policy = context, policy

    def handle(self, request: Request, reply: Callable[[Response], None]) -> None:
        """Answer a request: call `reply` once, in this or another thread."""
        if "//" in request.path:
            request = request._replace(path=_plain(request.path))
        close = partial(self._close, request, reply, self._context.monotonic())
        try:
            answered = self._route(request)
        except Exception as error:  # noqa: BLE001 - every error is answered, in one place
            answered = failed(error)
        answered.add_done_callback(close)

    def _route(self, request: Request) -> Future[Response]:
        if request.fault is not None:
            raise HttpError(request.fault.status, request.fault.message)
        path = request.path
        if path.startswith(HOOKS):
            return self._hook(request)
        if path.startswith(API):
            return self._call(request, path.removeprefix(API))
        if path == openapi.PATH:
            return self._document(request)
        if path == METRICS:
            return self._metrics(request)
        if path == TOP or path.startswith(TOP + "/"):
            return self._status(request)
        return self._health(request)

    def _hook(self, request: Request) -> Future[Response]:
        path = request.path
        if path.startswith(RUNS):
            _allow(request, "GET")
            run_id = _run_id(path.removeprefix(RUNS))
            return self._policy.hooks["task-sync"].show(request, run_id)
        hook = self._policy.hook(path)
        if hook is None:
            raise HttpError(404, "no such hook")
        _allow(request, "POST")
        return hook.deliver(request)

    def _call(self, request: Request, path: str) -> Future[Response]:
        if path not in _PATHS:
            raise HttpError(404, NO_PATH)
        self._authorize(request, path)
        _allow(request, *(method for method, known in CALLS if known == path))
        call = CALLS[request.method, path]
        reads = request.method == "GET"
        params = call.read(_query(request.query)) if reads else _body(request)
        call.check(params)
        return apply(call.does(self._context, params), partial(_envelope, request))

    def _document(self, request: Request) -> Future[Response]:
        self._authorize(request, openapi.PATH)
        _allow(request, "GET", "HEAD")
        return done(Response(200, openapi.document()))

    def _authorize(self, request: Request, path: str) -> None:
        """Let in the control socket, whose file permissions stand for a token."""
        if request.control:
            return
        needed = Rights.READ if request.method in ("GET", "HEAD") else Rights.WRITE
        tokens, anonymous = self._policy.tokens, self._policy.anonymous
        if path in _ON_SOCKET_ONLY:
            command = f"gms-hookd {_ON_SOCKET_ONLY[path]}"
            raise HttpError(403, f"{ON_SOCKET}: run {command} on its machine")
        if tokens.most < needed:
            raise HttpError(403, f"{ON_SOCKET}: {_UNSET[needed]}")
        anonymous.check_failures(request, self._context.monotonic())
        rights = tokens.rights(request.headers.get("authorization"))
        if rights is Rights.NONE:
            anonymous.count_failure(request, self._context.monotonic())
            raise _challenge(request.path)
        if rights < needed:
            raise HttpError(403, READS_ONLY)

    def _metrics(self, request: Request) -> Future[Response]:
        _allow(request, "GET", "HEAD")
        self._authorize(request, METRICS)
        return apply(self._sampler.read(self._context), self._measured)

    def _status(self, request: Request) -> Future[Response]:
        if not request.control and not self._policy.tokens.reading:
            raise HttpError(404, UNSEEN)
        _allow(request, "GET", "HEAD")
        self._authorize(request, TOP)
        return self._pages.answer(self._context, self._policy.described, request)

    def _measured(self, gauges: bytes) -> Response:
        text = metrics.counters_text(self._context.counters) + gauges
        fresh = ("Cache-Control", "no-store")
        return Response(200, text, (fresh,), metrics.CONTENT_TYPE)

    def _health(self, request: Request) -> Future[Response]:
        if request.path == "/healthz":
            _allow(request, "GET", "HEAD")
            return done(Response(200, b'{"status": "ok"}'))
        if request.path == "/readyz":
            _allow(request, "GET", "HEAD")
            known = self._policy.anonymous.forwarders.warnings
            warnings = known if request.control else []
            return apply(self._policy.ready(), partial(_readiness, warnings))
        raise HttpError(404, NO_PATH)

    def _close(
        self,
        request: Request,
        reply: Callable[[Response], None],
        since: float,
        answered: Future[Response],
    ) -> None:
        """Give the answer its form, and say in the log what it was."""
        template, counted = _template(request.path), False
        try:
            response = answered.result()
        except BaseException as error:  # noqa: BLE001 - every error is answered
            response, counted = self._refused(request, error)
        if request.path.startswith(API) and len(response.body) <= LARGEST_MASKED:
            answer = self._context.mask.answer(response.body)
            response = response._replace(body=answer)
        if not counted and (response.status >= 500 or log.isEnabledFor(logging.DEBUG)):
            self._tell(request, response, since)
        code = str(response.status)
        self._context.counters.requests.add(template, code)
        reply(response)

    def _refused(self, request: Request, error: BaseException) -> tuple[Response, bool]:
        """Return the answer to a request that failed, and whether it was counted."""
        try:
            return self._refuse(request, error)
        except Exception:
            log.exception("request failed id=%s", request.id)
            return Response(500, b'{"error": "internal error"}'), False

    def _tell(self, request: Request, response: Response, since: float) -> None:
        if response.status >= 500:
            self._tell_trouble(request, response.status)
        if not log.isEnabledFor(logging.DEBUG):
            return
        took = (self._context.monotonic() - since) * 1000
        event(
            log,
            f"request id={request.id} peer={quoted(request.peer or UNIX)}"
            f" method={quoted(request.method, 16)}"
            f" path={self._policy.shown(request.path, self._context.mask)}"
            f" status={response.status} ms={took:.1f}",
            logging.DEBUG,
        )

    def _tell_trouble(self, request: Request, status: int) -> None:
        # While the disk is full each request would tell the same.
        log.warning(
            "request not served id=%s path=%s status=%d",
            request.id,
            self._policy.shown(request.path, self._context.mask),
            status,
            extra=SELDOM,
        )

    def _refuse(self, request: Request, error: BaseException) -> tuple[Response, bool]:
        """Return the answer, and whether its line is one of many in a second."""
        status, problem, headers = _problem(request, error)
        message = self._context.mask(problem)
        counted = self._count(request, status, message)
        answer: dict[str, object] = {"error": message}
        if request.path.startswith(API):
            answer = {"code": status, "msg": message, "error": message}
        return Response(status, dump_json(answer), headers), counted

    def _count(self, request: Request, status: int, message: str) -> bool:
        path = request.path
        hook = self._policy.hook(path)
        if hook and path.startswith(HOOKS) and status != 503:
            # Nobody waits for it; a flood is counted.
            new_delivery = hook.new_delivery(hook.guard.client(request))
            refusal = Refusal(new_delivery, status, message, request.id)
            self._context.counters.deliveries.add(hook.guard.hook, "refused")
        elif status in _UNWELCOME:
            client = self._policy.anonymous.client(request)
            name = "runs" if path.startswith(RUNS) else "api"
            new_delivery = deliveries.NewDelivery(name, "", client, self._context.now())
            refusal = Refusal(new_delivery, status, message, request.id, kept=False)
        else:
            return False
        self._context.refusals.note(refusal)
        return True


def _problem(
    request: Request, error: BaseException
) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    if isinstance(error, HttpError):
        return error.status, error.message, error.headers
    if isinstance(error, BusyError):
        return 503, str(error), (RETRY_AFTER,)
    if isinstance(error, StoreError):
        headers = (RETRY_AFTER,) if error.status == 503 else ()
        return error.status, str(error), headers
    log.error("request failed id=%s", request.id, exc_info=error)
    return 500, "internal error", ()


def _plain(path: str) -> str:
    """Return a path without repeated slashes, as an address put together has them.

    A secret behind the name of a hook stays as it is.
    """
    hook = re.match("/+api/+webhooks/+", path)
    if hook:
        return HOOKS + path[hook.end() :]
    return re.sub("/+", "/", path)


def _challenge(path: str) -> HttpError:
    # With Basic a browser asks its user.
    kind = "Bearer" if path.startswith("/api/") else _BASIC
    challenge = ("WWW-Authenticate", kind)
    return HttpError(401, "a valid bearer token is needed", (challenge,))


def _template(path: str) -> str:
    """Return the kind of a path, of which there are few."""
    if path in _PLAIN_PATHS:
        return path
    if path.startswith(TOP + "/"):
        page = path.rpartition("/")[0]
        return f"{page}/{{key}}" if page in _PAGES else "other"
    if path.startswith(RUNS):
        return RUNS + "{id}"
    if path.startswith(HOOKS):
        return HOOKS + "{hook}"
    if path.startswith(API):
        call = path.removeprefix(API)
        return API + (call if call in _PATHS else "{call}")
    return "other"


def templates() -> list[str]:
    """Return every kind of path."""
    calls = (API + call for call in sorted(_PATHS))
    pages = (f"{page}/{{key}}" for page in sorted(_PAGES))
    kinds = RUNS + "{id}", HOOKS + "{hook}", API + "{call}", "other"
    return [*sorted(_PLAIN_PATHS), *calls, *pages, *kinds]


def _readiness(warnings: list[str], reasons: list[str]) -> Response:
    answer: dict[str, object] = {"status": "not ready" if reasons else "ready"}
    answer |= {"reasons": reasons} if reasons else {}
    answer |= {"warnings": warnings} if warnings else {}
    headers = (RETRY_AFTER,) if reasons else ()
    return Response(503 if reasons else 200, dump_json(answer), headers)


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        allow = ("Allow", ", ".join(methods))
        raise HttpError(405, "this method is not allowed here", (allow,))


def _run_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise HttpError(404, "no such run")
    return int(text)


def _body(request: Request) -> Mapping[str, Any]:
    try:
        params = load_json(request.body or b"{}")
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON: {error}"[:200]) from None
    if not isinstance(params, dict):
        raise HttpError(400, "the body is not a JSON object")
    return params


def _query(query: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(query, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        problem = f"at most {MOST_PARAMETERS} parameters are taken"
        raise HttpError(400, problem) from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HttpError(400, "a parameter is given twice")
    return found


def _envelope(request: Request, data: object) -> Response:
    page = data if isinstance(data, api.Listed) else None
    answer = {"code": 0, "msg": "success", "data": page.items if page else data}
    headers = (_next(request, *page.more),) if page and page.more else ()
    return Response(200, dump_json(answer), headers)


def _next(request: Request, key: str, value: int | str) -> tuple[str, str]:
    """Return the header that leads to the next page (RFC 8288)."""
    query = urlencode({**_query(request.query), key: value})
    return "Link", f'<{request.path}?{query}>; rel="next"'
