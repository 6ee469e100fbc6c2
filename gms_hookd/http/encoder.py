"""What all answers of one server have in common: request ids, the date, the bytes."""

import itertools
import logging
import os
from email.utils import formatdate
from math import inf

from gms_hookd.http.http1 import serialise
from gms_hookd.http.message import Request, Response

log = logging.getLogger(__name__)


class ResponseEncoder:
    """Makes the bytes of responses."""

    def __init__(self) -> None:
        self._date = ""
        self._date_until = -inf
        # For each request one that no other of this process has: 16 hex digits.
        self.ids = map(
            "{:016x}".format, itertools.count(int.from_bytes(os.urandom(8)) >> 1)
        )

    def encode(
        self, request: Request, response: Response, connection: str, now: float
    ) -> bytes:
        """Return what goes over the wire, with `connection` as Connection field.

        `now` is in monotonic seconds: the date is made once a second.
        """
        with_body = request.method != "HEAD"
        if now >= self._date_until:
            self._date_until = now + 1.0
            self._date = formatdate(usegmt=True)
        date = self._date
        try:
            return serialise(response, date, request.id, connection, body=with_body)
        except ValueError:
            log.exception("response not sendable request=%s", request.id)
            broken = failure(500, "internal error")
            return serialise(broken, date, request.id, connection, body=with_body)


def failure(
    status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Return an answer that needs no application."""
    return Response(status, f'{{"error": "{message}"}}'.encode(), headers)
