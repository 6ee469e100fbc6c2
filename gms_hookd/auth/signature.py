"""Signatures and tokens: made, and compared in constant time; nothing is decided here.

A signature is compared as the exact bytes that a sender must have written, so blanks,
junk inside base64 and a missing prefix are simply wrong; hex digits may be upper case.
Every secret is tried and no comparison is skipped, not even when there is no signature
at all: the time taken tells nothing about what was wrong.
"""

import base64
import hmac
from collections.abc import Callable, Iterable

MOST_SIGNATURES = 16
Encoder = Callable[[bytes], str]


def base64_bytes(text: str) -> bytes:
    """Return the bytes of strict, padded base64; raises ValueError."""
    return base64.b64decode(text, validate=True)


def base64_text(digest: bytes) -> str:
    """Return the standard base64 of a digest, padded."""
    return base64.b64encode(digest).decode("ascii")


class Keys:
    """The active secrets of one hook, each prepared once for one hash algorithm."""

    def __init__(
        self,
        secrets: Iterable[str | bytes],
        algorithm: str = "sha256",
        *,
        prefix: str = "",
        encode: Encoder = bytes.hex,
    ) -> None:
        keys = [s.encode() if isinstance(s, str) else s for s in secrets]
        self._macs = [hmac.new(key, digestmod=algorithm) for key in keys if key]
        self._prefix = prefix
        self._encode = encode

    def sign(self, body: bytes) -> list[str]:
        """Return what a sender would write for this body, one text per secret."""
        texts = []
        for key in self._macs:
            mac = key.copy()
            mac.update(body)
            texts.append(self._prefix + self._encode(mac.digest()))
        return texts

    def verify(self, given: str | None, body: bytes) -> bool:
        """Tell whether `given` is the signature of the body by any of the secrets."""
        return matches(self.spelled(given or ""), self.sign(body))

    def spelled(self, given: str) -> str:
        """Return a sender's signature as we write ours: in lower case if it is hex."""
        if self._encode is not bytes.hex or not given.startswith(self._prefix):
            return given
        return self._prefix + given[len(self._prefix) :].lower()


def hub_keys(secrets: Iterable[str]) -> Keys:
    """Prepare secrets for the header `X-Hub-Signature-256`."""
    return Keys(secrets, prefix="sha256=")


def sign(secret: str, body: bytes) -> str:
    """Return the value of `X-Hub-Signature-256` for this body.

    Raises IndexError for an empty secret: there is no such signature.
    """
    return hub_keys([secret]).sign(body)[0]


def matches(given: str | bytes | None, wanted: Iterable[str]) -> bool:
    """Compare what was given with every wanted text, as bytes, in constant time.

    A header's value is given as text, in which HTTP reads bytes as latin-1. Nothing
    given, and nothing wanted, is no match: forges send the header with an empty value
    when they have no secret.
    """
    raw = given if isinstance(given, bytes) else header_bytes(given)
    same = False
    for text in wanted:
        if text:
            same |= hmac.compare_digest(raw, text.encode())
    return raw != b"" and same


def header_bytes(value: str | None) -> bytes:
    """Return the bytes of a header as they came: HTTP is read as latin-1."""
    try:
        return (value or "").encode("latin-1")
    except UnicodeEncodeError:
        return b""


def basic_credentials(header: str | None) -> bytes | None:
    """Return `user:password` of a Basic `Authorization`, or None."""
    try:
        return base64_bytes(after_scheme(header, "basic") or "")
    except ValueError:
        return None


def bearer_token(header: str | None) -> str | None:
    """Return the token of a Bearer `Authorization`, or None."""
    return after_scheme(header, "bearer")


def after_scheme(header: str | None, scheme: str) -> str | None:
    """Return what follows the scheme's name, in any case, and one or more blanks."""
    name, _, rest = (header or "").partition(" ")
    return rest.strip(" ") if name.lower() == scheme else None


def standard_webhooks_key(secret: str) -> bytes:
    """Return the key behind a Standard Webhooks secret (`whsec_` and base64).

    The prefix and the padding may be missing. Raises ValueError for anything else.
    """
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64_bytes(text + "=" * (-len(text) % 4))
    except ValueError:
        key = b""
    if not key:
        raise ValueError("the secret is not `whsec_` and base64")
    return key


def listed(given: str, separator: str) -> list[str]:
    """Return the entries of a list of signatures; none of a longer list than is sent.

    A sender writes one for each of its active secrets. To compare as many as a header
    can hold would cost the sender nothing, and us milliseconds.
    """
    entries = given.split(separator, MOST_SIGNATURES)
    return entries if len(entries) <= MOST_SIGNATURES else []


def standard_webhooks(
    keys: Keys, message_id: str, timestamp: str, given: str, body: bytes
) -> bool:
    """Verify a list of `v1,<base64>`; the header texts are signed as they came."""
    signed = header_bytes(f"{message_id}.{timestamp}.") + body
    wanted = keys.sign(signed)
    pairs = [entry.partition(",") for entry in listed(given, " ")]
    found = [matches(text, wanted) for version, _, text in pairs if version == "v1"]
    return any(found)
