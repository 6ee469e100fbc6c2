"""What a secret looks like to somebody who does not know it, in any text.

The patterns are texts: `re` compiles each when it is first needed, and keeps it. All at
once takes 18 ms, and nearly no command needs any.
"""

import re

# The prefixes that forges give their tokens so that they are found: docs.github.com
# "About authentication to GitHub", docs.gitlab.com "Token overview", Atlassian, AWS,
# Slack, Standard Webhooks; and JSON Web Tokens (RFC 7519).
TOKENS = (
    r"(?<![A-Za-z0-9])(?:"
    r"gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|gl[a-z]{2,6}-[\w-]{16,}"
    r"|AT(?:ATT|BB|CTT)[\w=-]{16,}|AKIA[0-9A-Z]{16}|xox[a-z]-[\w-]{10,}"
    r"|whsec_[\w+/=-]{16,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}[\w.-]*)"
)
NAMES = (
    r"[\w.-]*(?:token|secret|passw(?:or)?d|passphrase|pwd|api_?key|access_?key"
    r"|auth|authorization|credentials?|signature)"
)
HIDDEN = b"***"
_MASK = HIDDEN.decode()
_IN_URL = (
    (r"(?i)\b(https?://)[^/@\s'\"]+@", rf"\1{_MASK}@"),
    (r"(?i)\b([a-z][a-z0-9+.-]*://[^/@:\s'\"]*):(?!\d+/)[^\s'\"]*@", rf"\1:{_MASK}@"),
)
_HEADER = (
    r"(?i)\b((?:proxy-)?authorization|(?:private|job|deploy)-token|x-[a-z-]*token"
    r"|(?:set-)?cookie)\b(\s*[:=]\s*).*"
)
_VALUE = rf"(?i)((?:[?&;#]|%3f|%26)(?:{NAMES}|key|sign?)(?:=|%3d))[^&;\s\"'<>]+"
_HOOK_KEY = r"(?i)(/webhooks/+(?!runs/)[^/?&#%\s\"']++(?:/|%2f)++)(?!\.\.\.)[^\s\"'?]+"
# A signed URL lets in whoever has it: S3, Google Cloud, Azure, CDNs, storage of LFS.
_SIGNED = (
    r"(?i)(\bhttps?://[^\s'\"<>?]+\?)(?=[^\s'\"<>]*"
    r"(?:signature|credential|token|jwt|policy|key-pair-id|expir\w*|\bsig|\bse)=)"
    r"[^\s'\"<>]+"
)
_FIELD = (
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
        text = re.sub(_SIGNED, rf"\1{_MASK}", text)
    if "@" in text:
        for sign, instead in _IN_URL:
            text = re.sub(sign, instead, text)
    return re.sub(_HEADER, rf"\1\2{_MASK}", text) if _names_header(text) else text


def without_tokens(text: str) -> str:
    """Return a text without tokens and parameters, however they got into it."""
    if "=" in text or "%3" in text:
        text = re.sub(_VALUE, rf"\1{_MASK}", text)
    return re.sub(TOKENS, _MASK, re.sub(_HOOK_KEY, rf"\1{_MASK}", text))


def _names_header(text: str) -> bool:
    lower = text.lower()
    return "authorization" in lower or "-token" in lower or "cookie" in lower


def without_fields(body: bytes) -> bytes:
    """Return JSON without the values of fields for secrets; it stays JSON.

    Gitee sends `password`, Coding `token`, older Gitea and Gogs `secret`.
    """
    return re.sub(_FIELD, rb'\1"' + HIDDEN + b'"', body)
