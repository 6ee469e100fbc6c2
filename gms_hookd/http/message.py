"""A request and its response as values: what the socket side and the web side share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Fault(NamedTuple):
    """What the socket side found wrong with a request before anybody looked inside."""

    status: int
    message: str


class Request(NamedTuple):
    """One whole HTTP request.

    `path` is the raw path without the query; header names are lower case, the values
    of a repeated header are joined with ", ". `peer` is the address of the other end,
    or the name of the unix socket that it came through, `unix:/PATH`. `control` marks
    the control socket, where file permissions stand in for a token. A `fault` means
    that the body was not read.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    peer: str = ""
    control: bool = False
    id: str = "-"
    fault: Fault | None = None


class Response(NamedTuple):
    """One HTTP response; the socket side adds what all have."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class HttpError(Exception):
    """A request refused: the status, one line for the client, and extra headers."""

    def __init__(
        self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
