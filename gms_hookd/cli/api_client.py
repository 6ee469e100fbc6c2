"""The API as a command asks it: over the control socket of the running daemon.

Without a daemon it is the same API in this process (`in_process`), so a command cannot
tell them apart.
"""

import json
import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from gms_hookd.contract import API, NO_PATH
from gms_hookd.errors import ClientError, Failure
from gms_hookd.http.control import PATIENCE, ask, one_line_errors

QUICK = 5.0  # seconds for an answer to who wants to know whether the daemon hangs
SILENT = f"the daemon does not answer for {QUICK:g} s: systemctl restart gms-hookd"

OLDER = "the running daemon is older than this command: systemctl restart gms-hookd"


class ApiError(Failure):
    """The application said no; the text is its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.exit_status = 2 if status == 400 else 1


# What a URL has as it is (RFC 3986, 2.3).
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class ApiRequest(NamedTuple):
    """One call of the API; `patience` is how many seconds to wait for its answer."""

    method: str
    path: str
    query: Mapping[str, str | int] = MappingProxyType({})
    body: object = None
    patience: float = PATIENCE

    @property
    def search(self) -> str:
        """The query as it stands in a URL."""
        pairs = (f"{k}={_quoted(str(v))}" for k, v in self.query.items())
        return "&".join(pairs)

    @property
    def raw(self) -> bytes:
        """The body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body).encode()


def _quoted(text: str) -> str:
    """Return a text as a form has it; `urllib.parse` takes 4 ms to load."""
    said = (chr(n) if n in PLAIN else f"%{n:02X}" for n in text.encode())
    return "".join(said).replace("%20", "+")


class Api(Protocol):
    """The API as a command sees it."""

    def ask(self, call: ApiRequest) -> tuple[int, Any]:
        """Return status and JSON of one call; raises ClientError."""

    def read(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET beside the calls; raises ClientError."""


class OverSocket(NamedTuple):
    """The API of the daemon which listens on the control socket `path`."""

    path: str | os.PathLike[str]
    patience: float = math.inf  # seconds for an answer at most

    def ask(self, call: ApiRequest) -> tuple[int, Any]:
        """Return status and JSON of one call, over a connection of its own."""
        target = API + call.path + ("?" + call.search if call.query else "")
        patience = min(call.patience, self.patience)
        answer = ask(self.path, call.method, target, call.raw, patience)
        with one_line_errors(str(self.path), patience):
            return answer.status, json.loads(answer.body)

    def read(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET, over a connection of its own."""
        return ask(self.path, "GET", path, patience=min(PATIENCE, self.patience))


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
        if reason == NO_PATH:
            raise ClientError(OLDER)
        raise ApiError(status, str(reason))
    return envelope.get("data")
