"""HTTP/1.1 and 1.0 as values: bytes in, whole messages or a Fault out; no sockets.

Stricter than RFC 9112 allows a server to be lenient: whatever two parsers could read in
two ways is refused, and after a refusal nothing more of that stream is read.
What comes out depends on the bytes alone, never on how they were cut into pieces.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from gms_hookd.http.message import Fault, Response

MAX_LINE = 8 * 1024
MAX_HEAD = 32 * 1024
MAX_FIELDS = 100
MAX_CHUNK_LINE = 256
MAX_CHUNKS = 65_536
MAX_TRAILER = 8 * 1024
MAX_LENGTH_DIGITS = 10
_LINE = re.compile(r"([A-Z]{1,16}) ([!-~]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION = re.compile(r"[A-Z]{1,16} [!-~]+ HTTP/[0-9](\.[0-9])?\r\n")
# A field is a whole line: with as many matches as line feeds nothing was skipped.
_FIELD = re.compile(
    r"^([\w!#$%&'*+\-.^`|~]++):[ \t]*+([\t -~\x80-\xff]*+)\r\n", re.MULTILINE | re.ASCII
)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_ONCE = frozenset({"content-length", "host", "transfer-encoding"})
_NEEDS_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NO_BODY = frozenset({204, 304})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Head(NamedTuple):
    """What stands before the body; header names are lower case.

    A repeated header is joined with ", "; one with an underscore in its name is left
    out, since gateways that turn "-" into "_" cannot tell the two apart. `keep_alive`:
    the peer wants to send another request after this one.
    """

    method: str = ""
    path: str = ""
    query: str = ""
    headers: Mapping[str, str] = {}
    minor: int = 1
    keep_alive: bool = False


class Message(NamedTuple):
    """One request off the wire; with a fault the head may be empty, the body is."""

    head: Head
    body: bytes = b""
    fault: Fault | None = None


class Phase(Enum):
    """What a reader is waiting for."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    DEAD = "dead"


# To find a member of an enumeration takes longer than to find a global.
IDLE, HEAD, BODY, DEAD = Phase


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(status, message)


class Reader:
    """The requests of one connection, in order.

    Give it what arrived, and ask for the `next` message until there is none.
    """

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._buffer = bytearray()
        self._head: Head | None = None  # of the message whose body is to come
        self._length = 0  # of that body, unless it comes in chunks
        self._chunked: _Chunked | None = None
        self._scanned = 0
        self._promise = False
        self._dead = False

    @property
    def phase(self) -> Phase:
        """What the next byte would belong to."""
        if self._dead:
            return DEAD
        if self._head is not None:
            return BODY
        return HEAD if self._buffer else IDLE

    @property
    def held(self) -> int:
        """Bytes kept in memory for the message that is not whole yet."""
        return len(self._buffer) + (len(self._chunked.data) if self._chunked else 0)

    def next(self, data: bytes = b"") -> Message | None:
        """Add what arrived; return the next whole message, None until more arrives."""
        if self._dead:
            return None
        self._buffer += data
        if not (self._buffer or self._head):
            return None
        try:
            head = self._head or self._read_head()
            body = self._take_body() if head else None
        except _RefusedError as refused:
            return self.refuse(refused.fault)
        if head is None or body is None:
            return None
        self._head = self._chunked = None
        self._promise = False
        return Message(head, body)

    def refuse(self, fault: Fault) -> Message:
        """End the stream here with `fault`; the head is as far as it was understood."""
        head, self._head = self._head or _begun(self._buffer), None
        self._dead = True
        self._chunked = None
        self._buffer.clear()
        return Message(head, fault=fault)

    def eof(self) -> Message | None:
        """Say that nothing more comes: only an unfinished body is a fault."""
        if self.phase is not BODY:
            return None
        return self.refuse(Fault(400, "body ended early"))

    def owes_continue(self) -> bool:
        """Say once per message whether the peer waits for `CONTINUE`."""
        owed, self._promise = self._promise, False
        return owed

    def _take_body(self) -> bytes | None:
        """Take the body out of the buffer, or return None while it is not whole."""
        buffer, length = self._buffer, self._length
        if self._chunked:
            return self._chunked.take(buffer)
        if len(buffer) < length:
            return None
        body = bytes(memoryview(buffer)[:length])
        del buffer[:length]
        return body

    def _read_head(self) -> Head | None:
        buffer = self._buffer
        if buffer[0] == 0x0D:  # RFC 9112 2.2: empty lines may come first
            del buffer[: _end_of_empty_lines(buffer)]
        end = buffer.find(b"\r\n\r\n", self._scanned, MAX_HEAD)
        if end < 0:
            _check_unfinished(buffer, self._scanned)
            self._scanned = max(0, len(buffer) - 3)
            return None
        self._scanned = 0
        self._head = head = _parsed(buffer[: end + 2])
        self._frame(head)
        del buffer[: end + 4]
        return head

    def _frame(self, head: Head) -> None:
        """Find out how long the body is (RFC 9112 6.3)."""
        headers = head.headers
        _check_host(headers.get("host"), head.minor)
        if "transfer-encoding" in headers:
            _check_transfer_encoding(headers, head.minor)
            self._chunked = _Chunked(self._max_body)
        else:
            self._length = _content_length(head, self._max_body)
        if "expect" in headers:
            self._promise = _expects_continue(headers["expect"], head.minor)


class _Chunked:
    """A chunked body (RFC 9112 7.1); extensions and trailers are dropped."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit
        self._chunks = 0
        self._trailer = 0
        self._step: Callable[[_Chunked, bytearray, int], int | None] = _Chunked._size
        self._left = 0

    def take(self, buffer: bytearray) -> bytes | None:
        """Take the body out of `buffer`, or return None while it is not whole."""
        position = 0
        step: int | None = 0
        while step is not None:
            position += step
            step = self._step(self, buffer, position)
        del buffer[:position]
        return bytes(self.data) if self._left < 0 else None

    def _size(self, buffer: bytearray, start: int) -> int | None:
        line = _whole_line(buffer, start, MAX_CHUNK_LINE)
        if line is None:
            return None
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise _RefusedError(400, "malformed chunk")
        self._left = int(size[1], 16)
        self._chunks += 1
        if len(self.data) + self._left > self._limit or self._chunks > MAX_CHUNKS:
            raise _RefusedError(413, "body too large")
        self._step = _Chunked._data if self._left else _Chunked._trailers
        return len(line)

    def _data(self, buffer: bytearray, start: int) -> int | None:
        piece = buffer[start : start + self._left]
        if not piece:
            return None
        self.data += piece
        self._left -= len(piece)
        if not self._left:
            self._step = _Chunked._data_end
        return len(piece)

    def _data_end(self, buffer: bytearray, start: int) -> int | None:
        if len(buffer) < start + 2:
            return None
        if not buffer.startswith(b"\r\n", start):
            raise _RefusedError(400, "malformed chunk")
        self._step = _Chunked._size
        return 2

    def _trailers(self, buffer: bytearray, start: int) -> int | None:
        line = _whole_line(buffer, start, MAX_TRAILER)
        if line is None:
            return None
        self._trailer += len(line)
        if self._trailer > MAX_TRAILER:
            raise _RefusedError(431, "trailer too large")
        if line == b"\r\n":
            self._left = -1
            self._step = _Chunked._nothing
        else:
            _check_trailer(line.decode("latin-1"))
        return len(line)

    def _nothing(self, buffer: bytearray, start: int) -> int | None:
        return None


def _parsed(raw: bytearray) -> Head:
    """Return the head that these whole lines are. Raises _RefusedError."""
    text = raw.decode("latin-1")
    line = _LINE.match(text)
    if line is None or line.end() > MAX_LINE + 2:
        _check_unfinished(raw, 0)
        raise _RefusedError(400, "malformed request line")
    method, target, minor = line.groups()
    fields = _FIELD.findall(text, line.end())
    if len(fields) != text.count("\n", line.end()):
        _check_unfinished(raw, 0)
        raise _RefusedError(400, "malformed header field")
    if " \r\n" in text or "\t\r\n" in text:
        fields = [(name, value.rstrip(" \t")) for name, value in fields]
    headers = _headers(fields)
    if target[0] == "/" and "#" not in target:
        path, _, query = target.partition("?")
    else:
        path, query = _odd_target(method, target, headers)
    option = headers.get("connection")
    keep_alive = minor == "1" if option is None else _keeps_alive(option, minor)
    return Head(method, path, query, headers, int(minor), keep_alive)


def _keeps_alive(option: str, minor: str) -> bool:
    """Read the field Connection (RFC 9112 9.3)."""
    options = _tokens(option)
    return "close" not in options and (minor == "1" or "keep-alive" in options)


def _check_trailer(line: str) -> None:
    """Refuse what is no field, or one that would frame (RFC 9110 6.5.1)."""
    field = _FIELD.fullmatch(line)
    if field is None or field[1].lower() in _ONCE:
        raise _RefusedError(400, "malformed trailer")


def _whole_line(buffer: bytearray, start: int, limit: int) -> bytes | None:
    """Return the line with its end, or None while there is none.

    Raises _RefusedError: no end within `limit`.
    """
    end = buffer.find(b"\n", start, start + limit)
    if end >= 0:
        return bytes(buffer[start : end + 1])
    if len(buffer) - start >= limit:
        raise _RefusedError(400, "line too long")
    return None


def _begun(buffer: bytearray) -> Head:
    """Return what the request line says of a head that is not whole or not right."""
    line = _LINE.match(buffer[: MAX_LINE + 2].decode("latin-1"))
    if line is None or line[2][0] != "/":
        return Head()
    path, _, query = line[2].partition("?")
    return Head(line[1], path, query, {}, int(line[3]))


def _end_of_empty_lines(buffer: bytearray) -> int:
    end = 0
    while buffer.startswith(b"\r\n", end):
        end += 2
    return end


def _check_unfinished(raw: bytes | bytearray, start: int) -> None:
    """Refuse what cannot become a head; the part before `start` is known to be fine.

    Faults are found in the order of their place in the stream, so that it does not
    matter how much of it is there already.
    """
    if not raw or raw == b"\r":
        return
    if not 0x41 <= raw[0] <= 0x5A:  # A-Z; a TLS hello on a plain port ends here
        raise _RefusedError(400, "malformed request line")
    bare = _BARE_LF.search(raw, start)
    bare_at = bare.start() if bare else MAX_HEAD
    _check_first_line(raw, start, bare_at)
    if bare_at < MAX_HEAD:
        raise _RefusedError(400, "line feed without carriage return")
    if len(raw) >= MAX_HEAD:
        raise _RefusedError(431, "headers too large")


def _check_first_line(raw: bytes | bytearray, start: int, bare_at: int) -> None:
    """Refuse it where it is whole or too long, and no line feed comes before."""
    end = raw.find(b"\r\n", 0, MAX_LINE + 2)
    if end < 0 and len(raw) > MAX_LINE + 1 and bare_at > MAX_LINE:
        raise _RefusedError(414, "request line too long")
    if end + 2 > start and bare_at > end >= 0:
        _check_line(raw[: end + 2].decode("latin-1"))


def _check_line(line: str) -> None:
    if _LINE.fullmatch(line):
        return
    if _OTHER_VERSION.fullmatch(line):
        raise _RefusedError(505, "only HTTP/1.1 and HTTP/1.0")
    raise _RefusedError(400, "malformed request line")


def _headers(fields: list[tuple[str, str]]) -> dict[str, str]:
    if len(fields) > MAX_FIELDS:
        raise _RefusedError(431, "too many header fields")
    names, values = zip(*fields, strict=True) if fields else ((), ())
    headers = dict(zip(map(str.lower, names), values, strict=True))
    if len(headers) < len(fields):
        headers = _joined(fields)
    if "_" in "".join(headers):
        headers = {name: headers[name] for name in headers if "_" not in name}
    return headers


def _joined(fields: list[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for field, text in fields:
        name = field.lower()
        if name in headers and name in _ONCE:
            raise _RefusedError(400, f"{name} given twice")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _odd_target(
    method: str, target: str, headers: Mapping[str, str]
) -> tuple[str, str]:
    """Return path and query of a target that is not simply a path.

    The absolute form must name the same host as the Host field (RFC 9112 3.2.2).
    """
    if target == "*" and method == "OPTIONS":
        return target, ""
    absolute = _ABSOLUTE.fullmatch(target)
    if not absolute or absolute[1].lower() != headers.get("host", "").lower():
        raise _RefusedError(400, "malformed request target")
    path, _, query = absolute[2].partition("?")
    return path or "/", query


def _check_host(host: str | None, minor: int) -> None:
    if host is None and minor == 0:
        return
    if host is None or not _is_host(host):
        raise _RefusedError(400, "missing or malformed host")


@lru_cache(maxsize=64)  # a server has few names, and each request gives one of them
def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host) is not None


def _check_transfer_encoding(headers: Mapping[str, str], minor: int) -> None:
    codings = _tokens(headers["transfer-encoding"])
    if "content-length" in headers or minor == 0 or codings[-1] != "chunked":
        raise _RefusedError(400, "malformed body length")
    if len(codings) > 1:
        raise _RefusedError(501, "transfer coding not supported")


def _tokens(value: str) -> list[str]:
    """Return the tokens of a list, in lower case (RFC 9110 5.6.1).

    Only blanks and tabs surround them: a no-break space, which `str.strip` would take
    off too, is part of a word that is none of ours.
    """
    return [token.strip(" \t") for token in value.lower().split(",")]


def _content_length(head: Head, limit: int) -> int:
    text = head.headers.get("content-length")
    if text is None and head.method in _NEEDS_LENGTH:
        raise _RefusedError(411, "length required")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise _RefusedError(400, "malformed content-length")
    length = int(text) if len(text) <= MAX_LENGTH_DIGITS else limit + 1
    if length > limit:
        raise _RefusedError(413, "body too large")
    return length


def _expects_continue(expect: str, minor: int) -> bool:
    if minor == 0:
        return False
    if expect.lower() != "100-continue":
        raise _RefusedError(417, "expectation not supported")
    return True


def serialise(
    response: Response,
    date: str,
    request_id: str,
    connection: str = "",
    *,
    body: bool = True,
) -> bytes:
    """Return the bytes of `response`; without `body` those for a HEAD request.

    Raises ValueError: a header is not one line of Latin-1.
    """
    status, content, headers, content_type = response
    fields = list(map(": ".join, headers))
    if connection:
        fields.append(f"Connection: {connection}")
    if content:
        fields.append(f"Content-Type: {content_type}")
    own = "".join(fields)
    if not own.isprintable() and _CONTROL.search(own):
        raise ValueError("control character in a response header")
    if status in _NO_BODY:
        content = b""
    else:
        fields.append(f"Content-Length: {len(content)}")
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {date}\r\n"
        f"Server: gms-hookd\r\nX-Request-Id: {request_id}"
    )
    whole = "\r\n".join([head, *fields, "\r\n"])
    return whole.encode("latin-1") + (content if body else b"")
