"""What a notice says: a table of sentences (sentences.tsv), in English and Chinese."""

import pkgutil
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gms_hookd.notify.base import Level

LANGUAGES = ("en", "zh")
LISTED = 20  # tasks that a digest names
_LEVELS = {
    "recovered": Level.GOOD,
    "success": Level.GOOD,
    "test": Level.GOOD,
    "changed": Level.CHANGED,
    "conflict": Level.WARNING,
    "stalled": Level.WARNING,
    "renamed": Level.WARNING,
}
_FILE = (pkgutil.get_data("gms_hookd.notify", "sentences.tsv") or b"").decode()
_ROWS = [line.split("\t") for line in _FILE.splitlines()[1:]]
SENTENCES: Mapping[str, Mapping[str, str]] = {
    language: {row[0]: row[n] for row in _ROWS}
    for n, language in enumerate(LANGUAGES, start=1)
}


class EventFacts(NamedTuple):
    """One event, as far as its text needs it; `lasted` is in seconds."""

    event: str
    task: str = ""
    failures: int = 0
    lasted: float = 0.0
    reminder: bool = False
    reason: str = ""
    condition: str = ""


def level(event: str) -> Level:
    """Return how bad an event is."""
    return _LEVELS.get(event, Level.BAD)


def mark(event: str, language: str) -> str:
    """Return the word that stands first in a title."""
    return SENTENCES[language].get(f"mark_{event}", event.upper())


def title(facts: EventFacts, language: str) -> str:
    """Return the title of a notice about one event."""
    words = SENTENCES[language]
    form = "plain"
    if facts.condition:
        form = facts.condition + ("_over" if facts.event == "recovered" else "")
    elif facts.event == "recovered" and facts.failures:
        form = "recovered"
    elif facts.reminder:
        form = "still"
    return words[form].format(
        mark=mark(facts.event, language),
        task=facts.task or "gms-hookd",
        failures=facts.failures,
        times=words["once" if facts.failures == 1 else "often"],
        lasted=duration(facts.lasted, language),
    )


def digest(each: Sequence[EventFacts], language: str) -> tuple[str, str, Level]:
    """Return title, lines and level of a message about many events; the worst leads."""
    words = SENTENCES[language]
    worst = max(each, key=lambda facts: _badness(level(facts.event)))
    names = list(dict.fromkeys(facts.task for facts in each if facts.task))
    head = words["digest_of_one" if len(names) == 1 else "digest"].format(
        mark=mark(worst.event, language),
        count=len(each),
        tasks=len(names),
        task=names[0] if names else "",
    )
    return head, "\n".join(_lines(each, language)), level(worst.event)


def _lines(each: Sequence[EventFacts], language: str) -> list[str]:
    lines = [_line(facts, language) for facts in each[:LISTED]]
    if len(each) > LISTED:
        more = SENTENCES[language]["more"]
        lines.append(more.format(more=len(each) - LISTED))
    return lines


def free(said: str, language: str) -> str:
    """Return how much room a disk has, in words."""
    return SENTENCES[language]["free"].format(said=said)


def _line(facts: EventFacts, language: str) -> str:
    reason = f": {facts.reason}" if facts.reason else ""
    return f"{title(facts, language)}{reason}"


def _badness(found: Level) -> int:
    return (Level.GOOD, Level.CHANGED, Level.WARNING, Level.BAD).index(found)


def lost(count: int, language: str) -> str:
    """Return the line that says how many notices were dropped."""
    return SENTENCES[language]["lost"].format(lost=count)


def not_delivered(target: str, language: str) -> str:
    """Return the line that says to whom it was to go first."""
    return SENTENCES[language]["fallback"].format(target=target)


def test(host: str, language: str) -> str:
    """Return the title of a notice that tries a target out."""
    return SENTENCES[language]["test"].format(host=host)


def label(word: str, language: str) -> str:
    """Return what a fact is called."""
    return SENTENCES[language][word]


def duration(seconds: float, language: str) -> str:
    """Return seconds as people say it, in one or two units."""
    words = SENTENCES[language]
    whole = max(int(seconds), 0)
    sizes = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    parts: list[str] = []
    for size, unit in sizes:
        count, whole = divmod(whole, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {words[unit]}" if count else "")
    said = [part for part in parts[:2] if part]
    return " ".join(said) or f"0 {words['second']}"
