"""Ask the daemon over its control socket: a request and its answer, by HTTP/1.1.

Not by http.client: with `email`, which it brings, that takes longer to load than all of
a command that asks a question. The daemon says how long each answer is (RFC 9112, 6.3).
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from gms_hookd.errors import ClientError, SilentError, UnreachableError

PATIENCE = 60.0  # seconds to wait for an answer, and for each part of it
ANSWER_LIMIT = 64 << 20
LINE_LIMIT = 64 << 10
LINES = 100
JSON_HEADERS = {"accept": "application/json", "content-type": "application/json"}


class Answer(NamedTuple):
    """What was answered."""

    status: int
    body: bytes


def listens(path: str | os.PathLike[str], patience: float = PATIENCE) -> bool:
    """Return whether a daemon listens on this control socket. Raises ClientError."""
    try:
        with one_line_errors(str(path), patience), _connected(path, patience):
            return True
    except UnreachableError:
        return False


def ask(
    path: str | os.PathLike[str],
    method: str,
    target: str,
    body: bytes = b"",
    patience: float = PATIENCE,
) -> Answer:
    """Return the answer to one request, over a connection of its own.

    Raises ClientError.
    """
    with one_line_errors(str(path), patience), _connected(path, patience) as sock:
        sock.sendall(_head(f"{method} {target} HTTP/1.1", len(body)) + body)
        with sock.makefile("rb") as stream:
            return Answer(_status(stream), _body(stream, _length(stream)))


def readiness(path: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return why the daemon at this control socket is not ready, and its warnings.

    Raises ClientError.
    """
    answer = ask(path, "GET", "/readyz")
    with one_line_errors(str(path), PATIENCE):
        said = json.loads(answer.body)
        if not isinstance(said, dict):
            raise ValueError("not an object")
        reasons, warnings = said.get("reasons", ()), said.get("warnings", ())
        return list(map(str, reasons)), list(map(str, warnings))


def _head(request: str, length: int) -> bytes:
    fields = {"host": "localhost", "connection": "close", **JSON_HEADERS}
    lines = [request, *map(": ".join, fields.items()), f"content-length: {length}"]
    return "\r\n".join([*lines, "\r\n"]).encode()


def _connected(path: str | os.PathLike[str], patience: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(patience)
        connection.connect(os.fspath(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _status(stream: BinaryIO) -> int:
    line = stream.readline(LINE_LIMIT)
    if not line:
        raise ConnectionError("closed the connection without an answer")
    version, status, *_ = line.split(maxsplit=2)
    if not version.startswith(b"HTTP/1."):
        raise ValueError("not HTTP")
    return int(status)


def _length(stream: BinaryIO) -> int | None:
    """Read the header; return how long the body is, None: up to the end."""
    length = None
    for _ in range(LINES):
        line = stream.readline(LINE_LIMIT)
        if line in (b"\r\n", b"\n"):
            return length
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"transfer-encoding":
            raise ValueError("an answer of unknown length")
    raise ValueError("no end of the header")


def _body(stream: BinaryIO, length: int | None) -> bytes:
    if length is None:
        return stream.read(ANSWER_LIMIT)
    if not 0 <= length <= ANSWER_LIMIT:
        raise ValueError("too long an answer")
    body = stream.read(length)
    if len(body) < length:
        raise ConnectionError("closed the connection in the middle of its answer")
    return body


@contextmanager
def one_line_errors(
    where: str, patience: float, what: str = "gms-hookd"
) -> Iterator[None]:
    """Turn what may go wrong while somebody is asked into ClientError.

    `what` is to answer there. A broken answer may end in any of the errors that a
    parser of it raises.
    """
    try:
        yield
    except (ConnectionRefusedError, FileNotFoundError, socket.gaierror) as error:
        raise UnreachableError(f"{where}: {_why(error)}") from error
    except TimeoutError as error:
        raise SilentError(f"{where}: no answer within {patience:g} s") from error
    except BlockingIOError as error:  # connect(2) of a unix socket: no room to wait in
        raise SilentError(f"{where}: too many wait for an answer") from error
    except PermissionError as error:
        remedy = "run this as root or as the user of the daemon"
        raise ClientError(f"{where}: {_why(error)}: {remedy}") from error
    except OSError as error:
        raise ClientError(f"{where}: {_why(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{where}: what answers is not {what}") from error


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
