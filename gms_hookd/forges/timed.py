"""The schemes that sign the time as well, and refuse a delivery outside its window."""

import re
from dataclasses import dataclass
from urllib.parse import quote_plus

from gms_hookd.forges.proof import ENCODINGS, Incoming, Proof, Scheme, Secrets
from gms_hookd.signature import (
    Keys,
    base64_text,
    header_bytes,
    matches,
    standard_webhooks,
    standard_webhooks_key,
)

FIVE_MINUTES = 300.0
ONE_HOUR = 3600.0
_NUMBER = re.compile(r"[0-9]{1,15}")
_VERSION = re.compile(r"v[0-9]+")


def within(stamp: str, per_second: int, now: float, window: float) -> bool:
    """Tell whether a decimal time stamp is no further than the window from now."""
    if not _NUMBER.fullmatch(stamp):
        return False
    return abs(now - int(stamp) / per_second) <= window


@dataclass(frozen=True)
class StandardWebhooks(Scheme):
    """Standard Webhooks: id, time and body signed, five minutes of tolerance.

    The Ed25519 entries (`v1a`) are skipped: the standard library cannot verify them.
    """

    family: str = "webhook"

    def check(self, secrets: Secrets) -> None:
        """Raise ValueError for a secret that is not base64 behind `whsec_`."""
        super().check(secrets)
        for secret in secrets:
            standard_webhooks_key(secret)

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare each signature in the list with the one by every secret."""
        message_id, stamp, given = (
            incoming.headers.get(f"{self.family}-{name}", "")
            for name in ("id", "timestamp", "signature")
        )
        keys = self._keys(secrets)
        proven = standard_webhooks(keys, message_id, stamp, given, incoming.body)
        fresh = within(stamp, 1, incoming.now, FIVE_MINUTES)
        return proven and fresh and message_id != ""

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Sign with an id made of the time."""
        message_id, stamp = f"msg_{int(now * 1000)}", str(int(now))
        signed = header_bytes(f"{message_id}.{stamp}.") + body
        values = (message_id, stamp, "v1," + self._keys([secret]).sign(signed)[0])
        names = (f"{self.family}-{name}" for name in ("id", "timestamp", "signature"))
        return Proof(dict(zip(names, values, strict=True)))

    def _keys(self, secrets: Secrets) -> Keys:
        return Keys(map(standard_webhooks_key, secrets), encode=base64_text)


@dataclass(frozen=True)
class GiteeSignature(Scheme):
    """Gitee's signature over time and secret, one hour; the body is not covered."""

    header: str = "x-gitee-token"

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare the header with the signature by every secret, URL-encoded or not."""
        stamp = incoming.headers.get("x-gitee-timestamp", "")
        plain = [_gitee(stamp, secret) for secret in secrets if secret]
        encoded = [quote_plus(signature) for signature in plain]
        proven = matches(incoming.headers.get(self.header), plain + encoded)
        return proven and within(stamp, 1000, incoming.now, ONE_HOUR)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Sign the time."""
        stamp = str(int(now * 1000))
        return Proof({"x-gitee-timestamp": stamp, self.header: _gitee(stamp, secret)})


def _gitee(stamp: str, secret: str) -> str:
    signed = header_bytes(stamp) + b"\n" + secret.encode()
    return Keys([secret], encode=base64_text).sign(signed)[0]


@dataclass(frozen=True)
class ConvoyAdvanced(Scheme):
    """Convoy's `t=TIME,v1=SIGNATURE,...` over time and body, five minutes."""

    settable: frozenset[str] = frozenset({"header", "algorithm", "encoding"})
    header: str = "x-convoy-signature"
    algorithm: str = "sha256"
    encoding: str = "hex"

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare each signature in the list with the one by every secret."""
        parts = incoming.headers.get(self.header, "").split(",")
        pairs = [(name, value) for name, _, value in (p.partition("=") for p in parts)]
        stamp = next((value for name, value in pairs if name == "t"), "")
        keys = self._keys(secrets)
        wanted = keys.sign(header_bytes(f"{stamp},") + incoming.body)
        given = [value for name, value in pairs if _VERSION.fullmatch(name)]
        proven = any(matches(keys.spelled(value), wanted) for value in given)
        return proven and within(stamp, 1, incoming.now, FIVE_MINUTES)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Sign time and body."""
        stamp = str(int(now))
        signature = self._keys([secret]).sign(f"{stamp},".encode() + body)[0]
        return Proof({self.header: f"t={stamp},v1={signature}"})

    def _keys(self, secrets: Secrets) -> Keys:
        return Keys(secrets, self.algorithm, encode=ENCODINGS[self.encoding])
