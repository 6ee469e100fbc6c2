"""Who may ask at a hook: address, rate and signature, for whoever is behind a proxy."""

import logging
import threading
from dataclasses import dataclass, field

from gms_hookd.auth import signature
from gms_hookd.auth.forwarded import client
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.whitelist import UNIX, Whitelist, is_near
from gms_hookd.http.message import HttpError, Request
from gms_hookd.safetext import reason

log = logging.getLogger(__name__)

SIGNATURE = "x-hub-signature-256"
NEAR = 32  # peers of this machine or a private network that are named
FAR = 8
UNTRUSTED = (
    "sends X-Forwarded-For and is not in server.trusted_proxies: all its clients share"
    " one rate limit, and ip_whitelist sees their proxy: if it is yours, add it there"
)
UNREADABLE = (
    "forwards without X-Forwarded-For: all its clients share one rate limit, and"
    " ip_whitelist sees their proxy: have it send that header (nginx:"
    " proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for)"
)

NOT_LISTED = "this address is not allowed: add it to ip_whitelist if it should be"
OUTDATED = "the signature of the empty body shows no run"


class Forwarders:
    """Peers that forward requests of others without our knowing whose: each is named.

    A proxy is nearly always near; far peers may write any header, so few are named.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, str] = {}

    @property
    def warnings(self) -> list[str]:
        """Return what is to be done about each, one line each."""
        return list(self._named.values())

    def note(self, peer: str, why: str) -> None:
        """Take note of a peer, and say in the log what is to be done, once."""
        if peer in self._named:
            return
        with self._lock:
            most = NEAR if is_near(peer) else FAR
            if peer in self._named or len(self._named) >= most:
                return
            self._named[peer] = f"{peer} {why}"
        log.warning("forwarded requests peer=%s reason=%s", peer, reason(why))


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may ask at one hook, and how often."""

    hook: str
    provider: str
    keys: signature.Keys
    whitelist: Whitelist
    proxies: Whitelist
    buckets: Buckets
    forwarders: Forwarders = field(default_factory=Forwarders)

    def client(self, request: Request) -> str:
        """Return the client's address, `unix` for the peer of a unix socket."""
        peer, headers = request.peer or UNIX, request.headers
        forwarded = headers.get("x-forwarded-for")
        if forwarded:
            if not self.proxies.covers(peer):
                self.forwarders.note(peer, UNTRUSTED)
        elif "x-real-ip" in headers or "forwarded" in headers:
            self.forwarders.note(peer, UNREADABLE)
        address = client(peer, forwarded, self.proxies)
        return UNIX if address.startswith(UNIX) else address

    def admit(self, request: Request, now: float, *, counted: bool = True) -> str:
        """Return the client; refuse with 403 who is not listed, with 429 who must wait.

        File permissions guard our socket. The peer of another unix socket is listed
        only by that name: it may be a proxy. What is not `counted` takes no token.
        """
        client = self.client(request)
        address = request.peer or UNIX if client == UNIX else client
        if not request.control and not self.whitelist.admits(address):
            raise HttpError(403, NOT_LISTED)
        buckets = self.buckets
        wait = buckets.take(client, now) if counted else buckets.wait(client, now)
        if wait:
            raise _too_many(wait)
        return client

    def check_failures(self, request: Request, now: float) -> None:
        """Refuse with 429 an address that has failed too often, without counting."""
        wait = self.buckets.wait(self.client(request), now)
        if wait:
            raise _too_many(wait)

    def count_failure(self, request: Request, now: float) -> None:
        """Count a failure against the address."""
        self.buckets.charge(self.client(request), now)

    def check_signature(self, request: Request) -> None:
        """Refuse with 401 what no active secret has signed."""
        if not self.keys.verify(request.headers.get(SIGNATURE), request.body):
            raise HttpError(401, "missing or wrong signature")

    def check_path_signature(self, request: Request) -> None:
        """Refuse with 401 a request whose path no active secret has signed.

        The signature of its empty body is the same for every request, for ever: who
        sends that is told what to sign.
        """
        given = request.headers.get(SIGNATURE)
        signed, outdated = (
            self.keys.verify(given, text) for text in (request.path.encode(), b"")
        )
        if outdated:
            raise HttpError(401, f"{OUTDATED}: sign {request.path}, the path asked for")
        if not signed:
            raise HttpError(401, "missing or wrong signature")


def _too_many(wait: float) -> HttpError:
    after = ("Retry-After", str(int(wait) + 1))
    return HttpError(429, "too many requests", (after,))
