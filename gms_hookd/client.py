"""Ask the application: over the control socket, within this process, or signed by HTTP.

Both ways to the API have one face, `Api`, so a command cannot tell them apart.
Environment proxies are never used: what is asked is this machine, or exactly the URL
which the operator gave.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlencode, urlsplit

from gms_hookd.errors import Failure
from gms_hookd.futures import Future
from gms_hookd.message import Request, Response

PREFIX = "/api/v1/sync/"
PATIENCE = 60.0
ANSWER_LIMIT = 64 << 20
JSON_HEADERS = {"accept": "application/json", "content-type": "application/json"}


class ClientError(Failure):
    """Nobody answered as a gms-hookd does; the text is one line for the operator."""


class UnreachableError(ClientError):
    """Nobody listens there: nothing was sent."""


class RefusedError(Failure):
    """The application said no; the text is its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.exit_status = 2 if status == 400 else 1


@dataclass(frozen=True, slots=True)
class Call:
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


@dataclass(frozen=True, slots=True)
class Posted:
    """What a signed POST was answered with; `body` is None where it was not JSON."""

    status: int
    location: str
    body: Any
    text: str


class Api(Protocol):
    """The API as a command sees it."""

    def ask(self, call: Call) -> tuple[int, Any]:
        """Return status and JSON of one call; raises ClientError."""


@dataclass(frozen=True, slots=True)
class OverSocket:
    """The API of the daemon which listens on the control socket `path`."""

    path: Path

    def ask(self, call: Call) -> tuple[int, Any]:
        """Return status and JSON of one call, over a connection of its own."""
        connection = UnixConnection(str(self.path), call.patience)
        target = PREFIX + call.path + ("?" + call.search if call.query else "")
        with closing(connection), one_line_errors(str(self.path), call.patience):
            connection.request(call.method, target, call.raw or None, JSON_HEADERS)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read(ANSWER_LIMIT))


@dataclass(frozen=True, slots=True)
class InProcess:
    """The API of an application which this process itself has opened."""

    handle: Callable[[Request, Callable[[Response], None]], None]

    def ask(self, call: Call) -> tuple[int, Any]:
        """Return status and JSON of one call, made as the control socket makes it."""
        path, head = PREFIX + call.path, JSON_HEADERS
        request = Request(call.method, path, call.search, head, call.raw, control=True)
        with one_line_errors("the application", call.patience):
            replied: Future[Response] = Future()
            self.handle(request, replied.set_result)
            answer = replied.result(call.patience)
            return answer.status, json.loads(answer.body)


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def listens(path: Path) -> bool:
    """Tell whether a daemon listens on this control socket; raises ClientError."""
    connection = UnixConnection(str(path), PATIENCE)
    try:
        with closing(connection), one_line_errors(str(path), PATIENCE):
            connection.connect()
    except UnreachableError:
        return False
    return True


def get(api: Api, path: str, **query: str | int) -> Any:
    """Return the data of a GET; raises RefusedError, ClientError."""
    return _data(*api.ask(Call("GET", path, query)))


def post(api: Api, path: str, body: object, patience: float = PATIENCE) -> Any:
    """Return the data of a POST; raises RefusedError, ClientError."""
    return _data(*api.ask(Call("POST", path, {}, body, patience)))


def _data(status: int, envelope: Any) -> Any:
    if not isinstance(envelope, dict):
        raise ClientError("what answers is not gms-hookd")
    if status >= 400:
        reason = envelope.get("error") or envelope.get("msg") or f"status {status}"
        raise RefusedError(status, str(reason))
    return envelope.get("data")


def post_signed(url: str, body: bytes, signature: str, patience: float) -> Posted:
    """Post `body` as GMS's webhook takes it. Raises ClientError."""
    headers = {**JSON_HEADERS, "x-hub-signature-256": signature}
    return send(url, body, headers, patience)


def send(url: str, body: bytes, headers: Mapping[str, str], patience: float) -> Posted:
    """Post `body`; redirects are not followed. Raises ClientError."""
    parts = _parsed(url)
    connection = _connection(parts, patience)
    where = parts.netloc or parts.path.partition(":")[0]
    with closing(connection), one_line_errors(where, patience):
        connection.request("POST", _path(parts), body, dict(headers))
        answer = connection.getresponse()
        raw = answer.read(ANSWER_LIMIT)
        return _posted(answer.status, answer.getheader("Location", ""), raw)


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.hostname if parts.scheme in ("http", "https") else parts.path
        usable = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme in ("http", "https", "unix") and known and usable:
            return parts._replace(netloc=parts.netloc.rpartition("@")[2])
    except ValueError:
        pass
    raise ClientError("not an http:// or https:// URL")


def _connection(parts: SplitResult, patience: float) -> http.client.HTTPConnection:
    if parts.scheme == "unix":
        return UnixConnection(parts.path.partition(":")[0], patience)
    host, port = parts.hostname or "", _port(parts)
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=patience)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=patience, context=context)


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError as error:
        raise ClientError("the URL's port is not one of 1 to 65535") from error


def _path(parts: SplitResult) -> str:
    # unix:/run/hookd.sock:/api/webhooks/task-sync, as nginx writes it
    path = parts.path.partition(":")[2] if parts.scheme == "unix" else parts.path
    return (path or "/") + ("?" + parts.query if parts.query else "")


def _posted(status: int, location: str, raw: bytes) -> Posted:
    text = raw.decode(errors="replace")
    try:
        return Posted(status, location, json.loads(raw), text)
    except (ValueError, RecursionError):
        return Posted(status, location, None, text)


@contextmanager
def one_line_errors(where: str, patience: float) -> Iterator[None]:
    """Turn what sockets, TLS, HTTP and JSON raise into a ClientError of one line."""
    try:
        yield
    except (ConnectionRefusedError, FileNotFoundError, socket.gaierror) as error:
        raise UnreachableError(f"{where}: {_why(error)}") from error
    except TimeoutError as error:
        raise ClientError(f"{where}: no answer within {patience:g} s") from error
    except PermissionError as error:
        remedy = "run this as root or as the user of the daemon"
        raise ClientError(f"{where}: {_why(error)}: {remedy}") from error
    except ssl.SSLCertVerificationError as error:
        raise ClientError(f"{where}: certificate: {error.verify_message}") from error
    except OSError as error:
        raise ClientError(f"{where}: {_why(error)}") from error
    except (http.client.HTTPException, ValueError, RecursionError) as error:
        raise ClientError(f"{where}: what answers is not gms-hookd") from error


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
