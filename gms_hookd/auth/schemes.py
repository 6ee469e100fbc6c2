"""Every way in which a delivery proves where it comes from.

Header names are lower case; times are Unix seconds. Three groups: a digest of the body
(RFC 2104), the secret itself in a header, the URL or the body (RFC 6750 for Bearer, RFC
7617 for Basic), and digests that cover a time as well, refused outside their window.
"""

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import quote, quote_plus

from gms_hookd.auth.signature import (
    Encoder,
    Keys,
    base64_text,
    basic_credentials,
    bearer_token,
    header_bytes,
    listed,
    matches,
    standard_webhooks,
    standard_webhooks_key,
)
from gms_hookd.payload import PayloadError, form_payload, is_form, load_json_body

Secrets = Sequence[str]
ENCODINGS: Mapping[str, Encoder] = {"hex": bytes.hex, "base64": base64_text}
ALGORITHMS = ("sha256", "sha512", "sha384", "sha1")


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a scheme may look at; `key` is the secret that came in the URL."""

    body: bytes
    headers: Mapping[str, str]
    now: float
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a sender adds to a delivery: headers, a secret in the URL, or in the body.

    `body` is the body to send where it is not the one that was given.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Scheme(ABC):
    """One way to prove a delivery, never with another one as its fallback.

    `place` says where the secret is entered; `settable` are the hook's options.
    """

    place: str = "Secret"
    settable: frozenset[str] = frozenset()

    @abstractmethod
    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Tell whether any of the secrets proves the delivery; never raises."""

    @abstractmethod
    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Return what a sender adds to this body."""

    def check(self, secrets: Secrets) -> None:
        """Raise ValueError for a secret that this scheme cannot use."""
        if not secrets or not all(secrets):
            raise ValueError("there must be a secret, and none may be empty")

    def guessed(self, secret: str) -> str:
        """Return what of a secret a stranger has to guess."""
        return secret

    def with_options(self, options: Mapping[str, str]) -> Self:
        """Return the scheme with a hook's options; ValueError names a wrong one."""
        given: dict[str, Any] = dict(options)
        for name in given.keys() - self.settable:
            raise ValueError(f"{name}: not an option of this provider and scheme")
        if given.get("algorithm", "sha256") not in ALGORITHMS:
            raise ValueError(f"algorithm: must be one of {', '.join(ALGORITHMS)}")
        if given.get("encoding", "hex") not in ENCODINGS:
            raise ValueError(f"encoding: must be one of {', '.join(ENCODINGS)}")
        if "header" in given:
            given["header"] = given["header"].lower()
        return replace(self, **given)


HMAC_OPTIONS = frozenset({"header", "algorithm", "prefix", "encoding"})
LARGEST_BODY_WITH_TOKEN = 1 << 20


@dataclass(frozen=True)
class Hmac(Scheme):
    """A keyed digest of the body in one header.

    `form_json`: of a form, the JSON inside it is signed. `several`: the header may hold
    several signatures with commas between them.
    """

    header: str = "x-hub-signature-256"
    algorithm: str = "sha256"
    prefix: str = ""
    encoding: str = "hex"
    form_json: bool = False
    several: bool = False

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare the header with the digest by every secret."""
        keys = self._keys(secrets)
        wanted = keys.sign(self._signed(incoming))
        given = incoming.headers.get(self.header, "")
        several = [part.strip(" ") for part in listed(given, ",")]
        parts = several if self.several else [given]
        return any(matches(keys.spelled(part), wanted) for part in parts)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Put the digest of the body into the header."""
        return Proof({self.header: self._keys([secret]).sign(body)[0]})

    def _keys(self, secrets: Secrets) -> Keys:
        encode = ENCODINGS[self.encoding]
        return Keys(secrets, self.algorithm, prefix=self.prefix, encode=encode)

    def _signed(self, incoming: Incoming) -> bytes:
        if not (self.form_json and is_form(incoming.headers)):
            return incoming.body
        try:
            return form_payload(incoming.body)
        except PayloadError:
            return incoming.body


@dataclass(frozen=True)
class TokenHeader(Scheme):
    """The secret itself in one header; the body is not covered."""

    header: str = "x-token"

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare the header with every secret."""
        return matches(incoming.headers.get(self.header), secrets)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Put the secret into the header."""
        return Proof({self.header: secret})


@dataclass(frozen=True)
class BodyToken(Scheme):
    """The secret itself in the field `token` of the body."""

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare the field with every secret."""
        return matches(self._given(incoming.body), secrets)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Put the secret into the body."""
        payload = load_json_body(body)
        fields = payload if isinstance(payload, dict) else {}
        return Proof(body=json.dumps({**fields, "token": secret}).encode())

    def _given(self, body: bytes) -> bytes | None:
        # Not yet verified: an unknown sender must not make us parse megabytes of JSON.
        if len(body) > LARGEST_BODY_WITH_TOKEN:
            return None
        try:
            content = load_json_body(body)
            given = content.get("token") if isinstance(content, dict) else None
            return given.encode() if isinstance(given, str) else None
        except ValueError:
            return None


@dataclass(frozen=True)
class UrlKey(Scheme):
    """The secret itself in the URL, as `?key=` or as the last part of the path."""

    place: str = "the URL: `?key=SECRET` or `/SECRET` at its end"

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare the URL's key with every secret."""
        return matches(incoming.key, secrets)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Put the secret into the URL."""
        return Proof(key=quote(secret, safe=""))


@dataclass(frozen=True)
class Bearer(Scheme):
    """The secret itself as a Bearer token."""

    place: str = "the header `Authorization: Bearer SECRET`"

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare the token with every secret."""
        return matches(bearer_token(incoming.headers.get("authorization")), secrets)

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Put the secret into the header."""
        return Proof({"authorization": f"Bearer {secret}"})


@dataclass(frozen=True)
class Basic(Scheme):
    """The secret as the password of HTTP Basic.

    With the option `username` the name must be that one. Without it, a secret with a
    colon is `user:password`, and one without a colon leaves the name open.
    """

    place: str = "user name and password (HTTP Basic)"
    settable: frozenset[str] = frozenset({"username"})
    username: str | None = None

    def verify(self, incoming: Incoming, secrets: Secrets) -> bool:
        """Compare user and password with every secret's."""
        given = basic_credentials(incoming.headers.get("authorization")) or b""
        password = b":" + given.partition(b":")[2]
        wanted = [self._pair(secret) for secret in secrets if secret]
        named = matches(given, [pair for pair in wanted if pair[0] != ":"])
        return named | matches(password, [pair for pair in wanted if pair[0] == ":"])

    def sign(self, body: bytes, secret: str, now: float) -> Proof:
        """Put user and password into the header."""
        pair = base64.b64encode(self._pair(secret).encode()).decode()
        return Proof({"authorization": f"Basic {pair}"})

    def guessed(self, secret: str) -> str:
        """Return the password alone: a user name is known, or soon found."""
        named = self.username is None and ":" in secret
        return secret.partition(":")[2] if named else secret

    def _pair(self, secret: str) -> str:
        if self.username is None:
            return secret if ":" in secret else f":{secret}"
        return f"{self.username}:{secret}"


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

    def guessed(self, secret: str) -> str:
        """Return the key, as text where it is one, else in base64."""
        key = standard_webhooks_key(secret)
        words = key.isascii() and key.decode("latin-1").isprintable()
        return key.decode() if words else secret.removeprefix("whsec_")

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
        parts = listed(incoming.headers.get(self.header, ""), ",")
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
