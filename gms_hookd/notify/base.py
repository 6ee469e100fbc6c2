"""What is told, to whom, and how an answer is judged: the values of every kind."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from gms_hookd import units

JSON = {"Content-Type": "application/json"}
LONGEST_WAIT = 3600.0  # seconds of Retry-After that are believed
LONGEST = 100_000  # characters
MOST_FACTS = 8
BUSY = frozenset({408, 425, 429})


class Level(Enum):
    """How bad it is, as a mark and as a colour (24 bits)."""

    GOOD = 0x1AC600
    CHANGED = 0x2F7FD8
    WARNING = 0xEB6420
    BAD = 0xFF3232


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about one event, its texts in the target's language and masked.

    `key` is the same at each attempt. `facts` are pairs of label and value. `data` is
    what `webhook` sends; `timestamp` is RFC 3339 in UTC.
    """

    key: str
    event: str
    timestamp: str
    title: str
    reason: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    level: Level = Level.BAD
    link: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where notices go: the URL is a credential itself at most vendors."""

    name: str
    kind: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VendorRequest:
    """One HTTP request to a vendor."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON, repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """What a vendor answered; header names are lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body, for people: whole, as it is masked before it is cut."""
        return self.body.decode(errors="replace").strip()


class Fate(Enum):
    """What becomes of a notice after an attempt."""

    SENT = "sent"
    AGAIN = "again"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class SendResult:
    """What an answer means; `after` is how many seconds the vendor wants us to wait.

    `note` is what people should know of a notice that was sent.
    """

    fate: Fate
    reason: str = ""
    after: float | None = None
    note: str = ""


SENT = SendResult(Fate.SENT)


class TargetKind(Protocol):
    """A module per kind. `PACE` is the least number of seconds between two notices."""

    NAME: str
    PACE: float

    def render(self, notice: Notice, target: Target, now: float) -> VendorRequest:
        """Return the request that tells it; `now` is in Unix seconds."""

    def judge(self, answer: VendorAnswer) -> SendResult:
        """Return what the answer means."""


def judged_by_status(answer: VendorAnswer, reason: str = "") -> SendResult:
    """Return what the status alone means: RFC 9110, with 429 of RFC 6585."""
    why = reason or f"status {answer.status}: {answer.text}".rstrip(": ")
    if 200 <= answer.status < 300:
        return SENT
    if answer.status in BUSY or answer.status >= 500:
        return SendResult(Fate.AGAIN, why, retry_after(answer))
    return SendResult(Fate.NEVER, why)


def judged_without_page(answer: VendorAnswer) -> SendResult:
    """Return what the status means of a vendor that answers no page.

    Where one comes it is that of a portal or a sign-in, and nobody was told.
    """
    verdict = judged_by_status(answer)
    if verdict.fate is Fate.SENT and answer.text.startswith("<"):
        return SendResult(Fate.AGAIN, f"a page answers: {answer.text}")
    return verdict


def retry_after(answer: VendorAnswer) -> float | None:
    """Return the seconds of a Retry-After, at most an hour; None without a usable one.

    RFC 9110, 10.2.3: seconds or a date. A date counts from the answer's own `Date`.
    """
    sent = units.unix_time(answer.headers.get("date", ""))
    seconds = units.retry_after(answer.headers.get("retry-after", "").strip(), sent)
    return None if seconds is None else min(seconds, LONGEST_WAIT)


def bounded(notice: Notice, reason: int) -> Notice:
    """Return the notice with texts that are not longer than people read."""
    facts = tuple((cut(label, 60), cut(value, 300)) for label, value in notice.facts)
    return replace(
        notice,
        title=cut(notice.title, 300),
        reason=cut(notice.reason, reason),
        facts=facts[:MOST_FACTS],
    )


def body_within(
    notice: Notice, reason: int, most: int, body: Callable[[Notice], bytes]
) -> bytes:
    """Return a body of at most so many bytes; what is too long goes of the reason.

    `reason` is how many characters it has at most.
    """
    made = body(bounded(notice, reason))
    while len(made) > most and reason:
        reason //= 2
        made = body(bounded(notice, reason))
    return made


def json_body(value: object) -> bytes:
    """Return JSON in UTF-8 without escapes: the vendors count its bytes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")


def cut(text: str, most: int) -> str:
    """Return the text in at most so many characters, all of which UTF-8 has."""
    text = text.encode(errors="replace").decode()  # a lone surrogate is no character
    return text if len(text) <= most else text[: max(most - 1, 0)] + "…"


def escaped_within(text: str, most: int, escape: Callable[[str], str]) -> str:
    """Return a text escaped and at most so long; it is cut before, not in an escape."""
    kept = cut(text, most)
    while len(escaped := escape(kept)) > most:
        # One character becomes five or six at most ("&amp;").
        kept = cut(kept, len(kept) - max((len(escaped) - most) // 6, 1))
    return escaped


def cut_utf16(text: str, most: int) -> str:
    """Return the text in at most so many units of UTF-16, no character torn."""
    raw = text.encode("utf-16-le", errors="replace")
    if len(raw) <= 2 * most:
        return text
    return raw[: 2 * (most - 1)].decode("utf-16-le", errors="ignore") + "…"


def flat(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


def unlinked(text: str) -> str:
    """Return a text without links and pictures of Markdown: a blank ends one.

    What a host says of an error is not to have anything loaded.
    """
    return text.replace("](", "] (")


def cut_bytes(text: str, most: int) -> str:
    """Return the text in at most so many bytes of UTF-8, no character torn."""
    raw = text.encode(errors="replace")
    if len(raw) <= most:
        return text
    return raw[: most - 3].decode(errors="ignore") + "…"


def plain(notice: Notice) -> str:
    """Return the notice as text: title, reason, facts, link."""
    facts = " · ".join(f"{label} {value}" for label, value in notice.facts)
    parts = (notice.title, notice.reason, facts, notice.link)
    return cut("\n".join(filter(None, parts)), LONGEST)
