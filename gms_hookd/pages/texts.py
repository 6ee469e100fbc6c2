"""What pages say: one table of sentences (sentences.tsv), in English and in Chinese.

What git, a host or a forge said stays in its own words.
"""

import pkgutil
import re
from collections.abc import Mapping
from datetime import UTC, datetime

LANGUAGES = ("en", "zh")
_SPANS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[\w-]*)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?")
_FILE = (pkgutil.get_data("gms_hookd.pages", "sentences.tsv") or b"").decode()
_ROWS = [line.split("\t") for line in _FILE.splitlines()[1:]]
SENTENCES: Mapping[str, Mapping[str, str]] = {
    language: {row[0]: row[n] for row in _ROWS}
    for n, language in enumerate(LANGUAGES, start=1)
}


class Words:
    """The sentences of one language, with times as people say them."""

    def __init__(self, language: str = "en") -> None:
        self._sentences = SENTENCES[language]

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence with its values filled in."""
        sentence = self._sentences[key]
        return sentence.format(**values) if values else sentence

    def span(self, milliseconds: float) -> str:
        """Return how long that is, in its two largest units."""
        left = max(int(milliseconds / 1000), 0)
        if 0 < milliseconds < 1000:
            return self._one(round(milliseconds / 1000, 1), "second")
        parts: list[tuple[int, str]] = []
        for name, size in _SPANS:
            count, left = divmod(left, size)
            if count or parts:
                parts.append((count, name))
        shown = [self._one(*part) for part in parts[:2] if part[0]]
        return " ".join(shown) or self._one(0, "second")

    def distance(self, at: int, now: int) -> str:
        """Return how far a time is away, in its largest unit, before `now` or after."""
        far = abs(now - at)
        whole = self.span(far).split(" ")
        number = 1 if self._sentences["lang"] == "zh" else 2
        sentence = "ago" if at <= now else "in"
        return self(sentence, span=" ".join(whole[:number])) if far else self("now")

    def _one(self, count: float, unit: str) -> str:
        between = " " if self("lang") == "en" else ""
        return f"{count:g}{between}{self(unit)}"


def language(accepted: str | None) -> str:
    """Return the language of a page by `Accept-Language` (RFC 9110, 12.5.4)."""
    wanted = [_wanted(each) for each in (accepted or "")[:500].split(",")]
    known = [pair for pair in wanted if pair[1] in LANGUAGES and pair[0] > 0]
    # Of two that are wanted as much the first counts: max keeps it.
    return max(known, key=lambda pair: pair[0], default=(1.0, "en"))[1]


def _wanted(part: str) -> tuple[float, str]:
    found = _RANGE.fullmatch(part.rstrip())
    return (float(found[2] or 1), found[1].lower()) if found else (0.0, "")


def local_time(milliseconds: int) -> str:
    """Return a time to the second with its offset, as the service's machine has it."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    return at.isoformat(sep=" ", timespec="seconds")
