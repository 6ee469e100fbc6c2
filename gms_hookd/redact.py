"""Takes secrets out of text before it is logged, stored or shown."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
SHORTEST = 4  # masking a shorter secret would mask ordinary words

_HTTP_USER = re.compile(r"(?i)\b(https?://)[^/@\s'\"]+@")
_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^/@:\s'\"]*):[^/@\s'\"]*@")
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization|private-token)\b(\s*[:=]\s*).*")


def spellings(secret: str) -> tuple[str, ...]:
    """Name the forms in which a secret can show: as it is, in a URL, in base64."""
    encoded = base64.b64encode(secret.encode()).decode()
    return tuple(dict.fromkeys((secret, quote(secret, safe=""), encoded)))


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask the given secrets, user and password in URLs, and credential headers."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    if "://" in text and "@" in text:
        text = _HTTP_USER.sub(rf"\1{MASK}@", text)
        text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    if _may_name_header(text.lower()):
        text = _HEADER.sub(rf"\1\2{MASK}", text)
    return text


def _may_name_header(text: str) -> bool:
    """Spare nearly every text the slow search."""
    return "authorization" in text or "private-token" in text


def one_line(text: str, limit: int = 500) -> str:
    """Make one printable line of it, cut at so many characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
