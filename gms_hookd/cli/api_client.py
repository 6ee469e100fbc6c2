"""cli.api_client."""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from gms_hookd.errors import Failure
from gms_hookd.futures import Future
from gms_hookd.http.client import (
    ANSWER_LIMIT,
    JSON_HEADERS,
    PATIENCE,
    ClientError,
    UnixConnection,
    UnreachableError,
    one_line_errors,
)
from gms_hookd.http.message import Request, Response
from gms_hookd.paths import API

QUICK = 5.0  # seconds for an answer to who wants to know whether the daemon hangs
SILENT = f"the daemon does not answer for {QUICK:g} s: systemctl restart gms-hookd"


class ApiError(Failure):
    """The application said no; the text is its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.exit_status = 2 if status == 400 else 1


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One call of the API; `patience` is how many seconds to wait for its answer."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: object = None
    patience: float = PATIENCE

    @property
    def search(self) -> str:
        """The query as it stands in a URL."""
        return urlencode(self.query)

    @property
    def raw(self) -> bytes:
        """The body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body).encode()


class Api(Protocol):
    """The API as a command sees it."""

    def ask(self, call: ApiRequest) -> tuple[int, Any]:
        """Return status and JSON of one call; raises ClientError."""

    def read(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET beside the calls; raises ClientError."""


@dataclass(frozen=True, slots=True)
class OverSocket:
    """The API of the daemon which listens on the control socket `path`."""

    path: Path
    patience: float = math.inf  # seconds for an answer at most

    def ask(self, call: ApiRequest) -> tuple[int, Any]:
        """Return status and JSON of one call, over a connection of its own."""
        patience = min(call.patience, self.patience)
        connection = UnixConnection(str(self.path), patience)
        target = API + call.path + ("?" + call.search if call.query else "")
        with closing(connection), one_line_errors(str(self.path), patience):
            connection.request(call.method, target, call.raw or None, JSON_HEADERS)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read(ANSWER_LIMIT))

    def read(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET, over a connection of its own."""
        patience = min(PATIENCE, self.patience)
        connection = UnixConnection(str(self.path), patience)
        with closing(connection), one_line_errors(str(self.path), patience):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_LIMIT)


@dataclass(frozen=True, slots=True)
class InProcess:
    """The API of an application which this process itself has opened."""

    handle: Callable[[Request, Callable[[Response], None]], None]

    def ask(self, call: ApiRequest) -> tuple[int, Any]:
        """Return status and JSON of one call, made as the control socket makes it."""
        path, head = API + call.path, JSON_HEADERS
        request = Request(call.method, path, call.search, head, call.raw, control=True)
        with one_line_errors("the application", call.patience):
            replied: Future[Response] = Future()
            self.handle(request, replied.set_result)
            answer = replied.result(call.patience)
            return answer.status, json.loads(answer.body)

    def read(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET, made as the control socket makes it."""
        with one_line_errors("the application", PATIENCE):
            replied: Future[Response] = Future()
            self.handle(Request("GET", path, control=True), replied.set_result)
            answer = replied.result(PATIENCE)
            return answer.status, answer.body


def listens(path: Path, patience: float = PATIENCE) -> bool:
    """Tell whether a daemon listens on this control socket; raises ClientError."""
    connection = UnixConnection(str(path), patience)
    try:
        with closing(connection), one_line_errors(str(path), patience):
            connection.connect()
    except UnreachableError:
        return False
    return True


def get(api: Api, path: str, **query: str | int) -> Any:
    """Return the data of a GET; raises RefusedError, ClientError."""
    return _data(*api.ask(ApiRequest("GET", path, query)))


def post(api: Api, path: str, body: object, patience: float = PATIENCE) -> Any:
    """Return the data of a POST; raises RefusedError, ClientError."""
    return _data(*api.ask(ApiRequest("POST", path, {}, body, patience)))


def _data(status: int, envelope: Any) -> Any:
    if not isinstance(envelope, dict):
        raise ClientError("what answers is not gms-hookd")
    if status >= 400:
        reason = envelope.get("error") or envelope.get("msg") or f"status {status}"
        raise ApiError(status, str(reason))
    return envelope.get("data")
