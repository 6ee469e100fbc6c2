"""Takes secrets out of text before it is logged, stored or shown.

What a secret looks like to somebody who does not know it: in a URL, in any text.
"""

import base64
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, unquote

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


FIELD_LIMIT = 200
_BARE = re.compile(r"[\w./:@+,%~^*#>-]+")


def quoted(value: object, limit: int = FIELD_LIMIT) -> str:
    """Write an untrusted value for `key=value`, in at most `limit` characters."""
    text = str(value)
    if len(text) <= limit and text.isprintable() and _BARE.fullmatch(text):
        return text
    escaped = text[:limit].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_cut(flattened(escaped), limit - 2, len(text) > limit)}"'


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


# The prefixes that forges give their tokens so that they are found: docs.github.com
# "About authentication to GitHub", docs.gitlab.com "Token overview", Atlassian, AWS,
# Slack, Standard Webhooks; and JSON Web Tokens (RFC 7519).
TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|gl[a-z]{2,6}-[\w-]{16,}"
    r"|AT(?:ATT|BB|CTT)[\w=-]{16,}|AKIA[0-9A-Z]{16}|xox[a-z]-[\w-]{10,}"
    r"|whsec_[\w+/=-]{16,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}[\w.-]*)"
)
_NAMES = (
    r"[\w.-]*(?:token|secret|passw(?:or)?d|passphrase|pwd|api_?key|access_?key"
    r"|auth|authorization|credentials?|signature)"
)
# The first user names stand before a token by the words of a forge or of a CI system.
_LOGIN = re.compile(
    r"(?i)(?:^|[/@])(?:oauth2?|x-access-token|x-token-auth|gitlab-ci-token|basic|bearer"
    r"|(?:private|job|deploy)-token)[:=][^/]|x-oauth-basic"
)
_PARAMETER = re.compile(rf"(?i)(?:^|[?&#;/])(?:{_NAMES}|key|sign?)=[^&;/]")
_INNER = re.compile(r"(?i)([a-z][a-z0-9+.-]*):/+([^/@\s]*)@")
_PASSWORD_WORD = re.compile(r"[^/@:]+:[^/@]+@")
_LOST_SCHEME = re.compile(
    r"(?<!:/)(?:^|/)[^/@]+@(?:[\w-]+\.)+[\w-]+(?::\d+)?/[^/]+/[^/]"
)
ROUNDS = 3  # how often a URL may have been percent-encoded


def in_address(path: str, *, http: bool) -> bool:
    """Return whether the path of an address, with all behind it, holds a credential.

    A user name alone is none by ssh; by http it is, since hosts take tokens in its
    place.
    """
    for _ in range(ROUNDS):
        if _revealed(path, http):
            return True
        path = unquote(path)
    return False


def _revealed(path: str, http: bool) -> bool:
    inner = ((m[1].lower(), m[2]) for m in _INNER.finditer(path))
    if any(":" in user or "ssh" not in scheme for scheme, user in inner):
        return True
    signs = (TOKEN, _LOGIN, _PARAMETER, _PASSWORD_WORD) + (_LOST_SCHEME,) * http
    return any(sign.search(path) for sign in signs)
