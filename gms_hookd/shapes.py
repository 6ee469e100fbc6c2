"""What a secret looks like to somebody who does not know it: in a URL, in any text."""

import re
from urllib.parse import unquote

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
_PASSWORD = re.compile(r"[^/@:]+:[^/@]+@")
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
    signs = (TOKEN, _LOGIN, _PARAMETER, _PASSWORD) + (_LOST_SCHEME,) * http
    return any(sign.search(path) for sign in signs)
