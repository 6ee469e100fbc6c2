"""The schemes without a clock: a digest of the body, or the secret itself."""

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote

from gms_hookd.forges.proof import ENCODINGS, Incoming, Proof, Scheme, Secrets
from gms_hookd.payload import PayloadError, form_payload, is_form, load_json_body
from gms_hookd.signature import Keys, basic_credentials, bearer_token, matches

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
        parts = [p.strip(" ") for p in given.split(",")] if self.several else [given]
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
class Token(Scheme):
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
        # Not yet verified: a stranger must not make us read megabytes of JSON.
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

    def _pair(self, secret: str) -> str:
        if self.username is None:
            return secret if ":" in secret else f":{secret}"
        return f"{self.username}:{secret}"
