"""How a delivery proves where it comes from: what every scheme of it shares.

Header names are lower case; times are Unix seconds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from gms_hookd.signature import Encoder, base64_text

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
