"""web.guard."""

from dataclasses import dataclass
from typing import Protocol

from gms_hookd.auth import signature, whitelist
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.whitelist import Whitelist
from gms_hookd.futures import Future
from gms_hookd.http.message import HttpError, Request, Response

PREFIX = "/api/webhooks/"


class Hook(Protocol):
    """What answers for one hook."""

    def deliver(self, request: Request) -> Future[Response]:
        """Take a delivery."""

    def refuse(self, request: Request, status: int, reason: str) -> None:
        """Tell of a refused delivery."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may knock at one hook, and how often."""

    hook: str
    provider: str
    keys: signature.Keys
    whitelist: Whitelist
    proxies: Whitelist
    buckets: Buckets

    def client(self, request: Request) -> str:
        """Tell the client's address; a unix socket's peer has none."""
        if not request.peer:
            return "unix"
        forwarded = request.headers.get("x-forwarded-for")
        return whitelist.client(request.peer, forwarded, self.proxies)

    def check_address(self, request: Request, client: str) -> None:
        """Refuse with 403 who is not on the list; file permissions guard a socket."""
        if request.peer and not self.whitelist.admits(client):
            raise HttpError(403, "this address is not allowed")

    def check_rate(self, client: str, now: float) -> None:
        """Refuse with 429 who has no token left."""
        wait = self.buckets.take(client, now)
        if wait:
            after = ("Retry-After", str(int(wait) + 1))
            raise HttpError(429, "too many requests", (after,))

    def check_failures(self, request: Request, now: float) -> None:
        """Refuse with 429 an address that has failed too often, without counting."""
        wait = self.buckets.wait(self.client(request), now)
        if wait:
            after = ("Retry-After", str(int(wait) + 1))
            raise HttpError(429, "too many requests", (after,))

    def count_failure(self, request: Request, now: float) -> None:
        """Count a failure against the address."""
        self.buckets.charge(self.client(request), now)

    def check_signature(self, request: Request) -> None:
        """Refuse with 401 what no active secret has signed."""
        header = request.headers.get("x-hub-signature-256")
        if not self.keys.verify(header, request.body):
            raise HttpError(401, "missing or wrong signature")
