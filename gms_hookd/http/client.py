"""Ask by HTTP: our own hooks, signed, and the servers of others.

Environment proxies are never used: what is asked is this machine, or exactly the URL
which the operator gave.
"""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from gms_hookd import __version__
from gms_hookd.errors import ClientError
from gms_hookd.http import control
from gms_hookd.http.control import ANSWER_LIMIT, JSON_HEADERS
from gms_hookd.http.timed import Budget, connected, secured

AGENT = {"User-Agent": f"gms-hookd/{__version__}"}  # some vendors refuse who has none
KEPT = 8 << 10  # bytes of an answer to what we send to others


@dataclass(frozen=True, slots=True)
class Posted:
    """What a signed POST was answered with; `body` is None where it was not JSON."""

    status: int
    location: str
    body: Any
    text: str


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


def post_signed(
    url: str,
    body: bytes,
    signature: str,
    patience: float,
    certificate: Path | None = None,
) -> Posted:
    """Post `body` as GMS's webhook takes it. Raises ClientError."""
    headers = {**JSON_HEADERS, "x-hub-signature-256": signature}
    return send(url, body, headers, patience, certificate)


def send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    patience: float,
    certificate: Path | None = None,
) -> Posted:
    """Post `body`; redirects are not followed. Raises ClientError.

    With a certificate it is that one which the server must have, whomever it names;
    without one an authority must vouch for the host.
    """
    parts = _parsed(url)
    where = parts.netloc or parts.path.partition(":")[0]
    with one_line_errors(where, patience):
        connection = _connection(parts, patience, certificate)
    with closing(connection), one_line_errors(where, patience):
        connection.request("POST", _path(parts), body, dict(headers))
        answer = connection.getresponse()
        raw = answer.read(ANSWER_LIMIT)
        return _posted(answer.status, answer.getheader("Location", ""), raw)


@dataclass(frozen=True, slots=True)
class Wire:
    """How others are reached: `within` seconds in all, by which proxy and trust.

    `proxy` is `http://[user:password@]host:port`, or nothing.
    """

    within: float
    ca_file: Path | None = None
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What another answered; names of headers are lower case, 8 KiB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(
    method: str, url: str, body: bytes, headers: Mapping[str, str], wire: Wire
) -> Reply:
    """Send one request to somebody else's server; redirects are not followed.

    However slowly the peer drips and however much it sends, it ends by `wire.within`
    seconds (looking up the name aside). Raises ClientError.
    """
    parts = _parsed(url)
    target = _path(parts)
    if wire.proxy and parts.scheme == "http":
        target, headers = url, {**headers, **_login(urlsplit(wire.proxy))}
    with (
        one_line_errors(parts.netloc, wire.within, "HTTP"),
        closing(_opened(parts, wire)) as connection,
    ):
        connection.request(method, target, body, {**AGENT, **headers})
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, named, _start(answer))


class _FinalAnswer(http.client.HTTPResponse):
    """An answer whose forerunners are passed over (RFC 9110, 15.2), not 100 alone."""

    headers: Any

    def begin(self) -> None:
        """Read on until the headers are those of the answer."""
        super().begin()
        while 100 < self.status < 200:
            self.headers = None
            super().begin()


def _start(answer: http.client.HTTPResponse) -> bytes:
    """Return the beginning of a body; what was cut off after it says enough."""
    try:
        return answer.read(KEPT)
    except http.client.IncompleteRead as error:
        return error.partial[:KEPT]


def _opened(parts: SplitResult, wire: Wire) -> http.client.HTTPConnection:
    budget = Budget(wire.within)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", _port(parts) or (443 if secure else 80)
    proxy = urlsplit(wire.proxy)
    via = (proxy.hostname or "", proxy.port or 3128) if wire.proxy else (host, port)
    connection = http.client.HTTPConnection(host, port)
    connection.response_class = _FinalAnswer
    connection.sock = plain = connected(*via, budget)
    try:
        if wire.proxy and secure:
            _ask_proxy(plain, f"{_bracketed(host)}:{port}", _login(proxy))
        if secure:
            connection.sock = secured(plain, host, budget, wire.ca_file)
            connection.default_port = 443
    except BaseException:
        connection.close()
        raise
    return connection


def _ask_proxy(plain: socket.socket, to: str, login: Mapping[str, str]) -> None:
    """Have a proxy lead on to a host (RFC 9110, 9.3.6). Raises ClientError."""
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    lines += [f"{name}: {value}" for name, value in login.items()]
    plain.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = http.client.HTTPResponse(plain, method="CONNECT")
    answer.begin()
    if not 200 <= answer.status < 300:
        raise ClientError(f"the proxy refuses: {answer.status} {answer.reason}"[:200])


def _login(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode()}"}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


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


def _connection(
    parts: SplitResult, patience: float, certificate: Path | None
) -> http.client.HTTPConnection:
    if parts.scheme == "unix":
        return UnixConnection(parts.path.partition(":")[0], patience)
    host, port = parts.hostname or "", _port(parts)
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=patience)
    context = _trusting(certificate)
    return http.client.HTTPSConnection(host, port, timeout=patience, context=context)


def _trusting(certificate: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


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
def one_line_errors(
    where: str, patience: float, what: str = "gms-hookd"
) -> Iterator[None]:
    """Turn what sockets, TLS, HTTP and JSON raise into a ClientError of one line.

    `what` is what should have answered.
    """
    with control.one_line_errors(where, patience, what):
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            said = f"{where}: certificate: {error.verify_message}"
            raise ClientError(said) from error
        except OSError:  # such as http.client.RemoteDisconnected
            raise
        except http.client.HTTPException as error:
            raise ClientError(f"{where}: what answers is not {what}") from error
