"""What a secret looks like to somebody who does not know it: in a URL, in any text."""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

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


LONG_PIECE = 12  # letters: shorter ones may be an ordinary word of a path
SHORTEST_PIECE = 6
# Of the addresses of vendors, and in messages of ours too.
COMMON = frozenset({
    "api.telegram.org", "cgi-bin", "open-apis", "update-package", "incoming-webhook",
    "notifications", "webhookb2", "IncomingWebhook",
})  # fmt: skip


def address_secrets(url: str) -> Iterator[str]:
    """Give what of an address is secret: what nobody would guess of path and query.

    The whole would mask harmless texts, the name of the host among them.
    """
    parts = urlsplit(url)
    values = (field.partition("=")[2] for field in parts.query.split("&"))
    for piece in (*parts.path.split("/"), *values):
        telling = len(piece) >= LONG_PIECE or not (piece.isalpha() and piece.islower())
        if len(piece) >= SHORTEST_PIECE and piece not in COMMON and telling:
            yield from {piece, unquote(piece)}


HIDDEN = b"***"
_MASK = HIDDEN.decode()
_IN_URL = (
    (re.compile(r"(?i)\b(https?://)[^/@\s'\"]+@"), rf"\1{_MASK}@"),
    (
        re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^/@:\s'\"]*):(?!\d+/)[^\s'\"]*@"),
        rf"\1:{_MASK}@",
    ),
)
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:private|job|deploy)-token|x-[a-z-]*token"
    r"|(?:set-)?cookie)\b(\s*[:=]\s*).*"
)
_VALUE = re.compile(
    rf"(?i)((?:[?&;#]|%3f|%26)(?:{_NAMES}|key|sign?)(?:=|%3d))[^&;\s\"'<>]+"
)
_HOOK_KEY = re.compile(
    r"(?i)(/webhooks/+(?!runs/)[^/?&#%\s\"']++(?:/|%2f)++)(?!\.\.\.)[^\s\"'?]+"
)
# A signed URL lets in whoever has it: S3, Google Cloud, Azure, CDNs, storage of LFS.
_SIGNED = re.compile(
    r"(?i)(\bhttps?://[^\s'\"<>?]+\?)(?=[^\s'\"<>]*"
    r"(?:signature|credential|token|jwt|policy|key-pair-id|expir\w*|\bsig|\bse)=)"
    r"[^\s'\"<>]+"
)
_FIELD = re.compile(
    rb"(?i)(\"[^\"\\]*(?:passw(?:or)?d|passphrase|token|secret|authorization|api_?key"
    rb"|private_?key|\"sign)\"\s*:\s*\[?\s*)\"(?:[^\"\\]|\\.)*\""
)


def hidden(text: str) -> str:
    """Return a text without what looks like a credential."""
    return without_tokens(without_logins(text))


def without_logins(text: str) -> str:
    """Return a text without passwords and signatures in URLs, and values of headers.

    Those headers that hold credentials. Nearly every text is spared the slow searches.
    """
    if "?" in text and "://" in text:
        text = _SIGNED.sub(rf"\1{_MASK}", text)
    if "@" in text:
        for sign, instead in _IN_URL:
            text = sign.sub(instead, text)
    return _HEADER.sub(rf"\1\2{_MASK}", text) if _names_header(text) else text


def without_tokens(text: str) -> str:
    """Return a text without tokens and parameters, however they got into it."""
    if "=" in text or "%3" in text:
        text = _VALUE.sub(rf"\1{_MASK}", text)
    return TOKEN.sub(_MASK, _HOOK_KEY.sub(rf"\1{_MASK}", text))


def _names_header(text: str) -> bool:
    lower = text.lower()
    return "authorization" in lower or "-token" in lower or "cookie" in lower


def without_fields(body: bytes) -> bytes:
    """Return JSON without the values of fields for secrets; it stays JSON.

    Gitee sends `password`, Coding `token`, older Gitea and Gogs `secret`.
    """
    return _FIELD.sub(rb'\1"' + HIDDEN + b'"', body)
