"""What of an address is secret, as far as its looks tell."""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from gms_hookd.safetext.shapes import NAMES, TOKENS

# The first user names stand before a token by the words of a forge or of a CI system.
_LOGIN = (
    r"(?i)(?:^|[/@])(?:oauth2?|x-access-token|x-token-auth|gitlab-ci-token|basic|bearer"
    r"|(?:private|job|deploy)-token)[:=][^/]|x-oauth-basic"
)
_PARAMETER = rf"(?i)(?:^|[?&#;/])(?:{NAMES}|key|sign?)=[^&;/]"
_INNER = r"(?i)([a-z][a-z0-9+.-]*):/+([^/@\s]*)@"
_PASSWORDS = r"[^/@:]+:[^/@]+@"
_LOST_SCHEME = r"(?<!:/)(?:^|/)[^/@]+@(?:[\w-]+\.)+[\w-]+(?::\d+)?/[^/]+/[^/]"
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
    inner = ((m[1].lower(), m[2]) for m in re.finditer(_INNER, path))
    if any(":" in user or "ssh" not in scheme for scheme, user in inner):
        return True
    signs = (TOKENS, _LOGIN, _PARAMETER, _PASSWORDS) + (_LOST_SCHEME,) * http
    return any(re.search(sign, path) for sign in signs)


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
