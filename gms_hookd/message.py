"""A request and its response as values: what the socket side and the web side share."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fault:
    """What the socket side found wrong with a request before anybody looked inside."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Request:
    """One whole HTTP request.

    `path` is the raw path without the query; header names are lower case, the values
    of a repeated header are joined with ", ". `peer` is the address of the other end,
    empty for a unix socket. `control` marks the control socket, where file permissions
    stand in for a token. A `fault` means that the body was not read.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""
    control: bool = False
    id: str = "-"
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; the socket side adds Date, Server and Content-Length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class HttpError(Exception):
    """A request refused: the status, one line for the client, and extra headers."""

    def __init__(
        self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
