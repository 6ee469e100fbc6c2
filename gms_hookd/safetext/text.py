"""Text on one line that can be logged and shown: escaped and cut."""

import re
import unicodedata


def one_line(text: str, limit: int = 2000) -> str:
    """Make one printable line of it, cut at so many characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


FIELD_LIMIT = 200
REASON_LIMIT = 2000  # why something failed: what, the host's words, the remedy
_BARE = re.compile(r"[\w./:@+,%~^*#>-]+")


def quoted(value: object, limit: int = FIELD_LIMIT) -> str:
    """Write an untrusted value for `key=value`, in at most `limit` characters."""
    text = str(value)
    if len(text) <= limit and text.isprintable() and _BARE.fullmatch(text):
        return text
    escaped = text[:limit].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_cut(flattened(escaped), limit - 2, len(text) > limit)}"'


def reason(value: object) -> str:
    """Write why something failed for `key=value`; its end, the remedy, is never cut."""
    text = str(value)
    if not text:  # of nearly every delivery, and so not worth a look
        return '""'
    if len(text) > REASON_LIMIT:
        half = REASON_LIMIT // 2 - 3
        text = f"{text[:half]} ... {text[-half:]}"
    return quoted(text, 2 * REASON_LIMIT)


def flattened(text: str) -> str:
    """Escape what is not printable: controls, line separators, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _cut(text: str, limit: int, more: bool) -> str:
    if len(text) <= limit and not more:
        return text
    return text[: limit - 3].rstrip("\\") + "..."


UNSEEN = ("C", "Zl", "Zp")


def safe(text: str, keep: str = "") -> str:
    """Return `text` with everything that is not plainly visible written as escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _seen(c) else _escaped_char(c) for c in text)


def _seen(character: str) -> bool:
    return not unicodedata.category(character).startswith(UNSEEN)


def _escaped_char(character: str) -> str:
    return character.encode("unicode_escape").decode()


def safe_lines(text: str) -> str:
    """Return a text of several lines made safe, its line breaks and tabs kept."""
    return safe(text.replace("\r\n", "\n"), keep="\n\t")
