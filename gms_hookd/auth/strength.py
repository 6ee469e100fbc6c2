"""Whether a secret can be guessed: what nobody may use where others can ask."""

import re

PUBLISHED = "my-secret-key"  # GMS's documentation has it
EXAMPLE = "itsasecrettoeverybody"  # of GitHub's page on validating deliveries
SHORTEST = 12  # characters; of hex digits, 100 guesses a minute take a million years
DIFFERENT = 5  # characters at least
REST = 6  # characters at least beside what everybody tries first
WORDS = (
    "abc", "admin", "alpha", "api", "auth", "bot", "change", "changeit", "changeme",
    "ci", "default", "demo", "deploy", "dev", "dummy", "example", "fake", "foo",
    "bar", "baz", "foobar", "gitea", "github", "gitlab", "gitee", "gms", "gmshookd",
    "hello", "here", "hook", "hookd", "hooks", "hub", "key", "letmein", "login",
    "me", "my", "none", "null", "password", "passwd", "pass", "passw0rd",
    "p4ssw0rd", "placeholder", "please", "pw", "replace", "root", "sample",
    "secret", "secrets", "secretkey", "server", "sign", "signature", "some", "sync",
    "task", "test", "testing", "this", "token", "user", "value", "webhook",
    "webhooks", "welcome", "with", "world", "your",
)  # fmt: skip
ROWS = ("0123456789012345678901234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop",
        "qwertzuiop", "asdfghjkl", "zxcvbnm")  # fmt: skip
SEQUENCE = 4  # characters in a row that count as one

# The longer words first: what is left of one must not hide another.
_WORD = re.compile("|".join(sorted(WORDS, key=len, reverse=True)))
_YEAR = re.compile(r"(?:19|20)[0-9]{2}")
_ROWS = " ".join((*ROWS, *(row[::-1] for row in ROWS)))


def weakness(secret: str) -> str:
    """Return why a secret can be guessed, "" if nothing says so."""
    if secret == PUBLISHED:
        return f"{PUBLISHED} is published with GMS"
    if len(secret) < SHORTEST:
        return f"is shorter than {SHORTEST} characters"
    repeated = re.fullmatch(r"(.+?)\1+", secret, re.DOTALL)
    if len(set(secret)) < DIFFERENT or (repeated and len(repeated[1]) < SHORTEST):
        return "repeats a few characters"
    if len(_rest(secret)) < REST:
        return "is made of words and numbers that are tried first"
    return ""


def _rest(secret: str) -> str:
    """Return what is left of a secret without what everybody tries first."""
    plain = re.sub(r"[\W_]", "", secret.lower()).replace(EXAMPLE, "")
    rest = _YEAR.sub("", plain)
    return _WORD.sub("", _without_sequences(rest))


def _without_sequences(text: str) -> str:
    kept, at = "", 0
    while at < len(text):
        end = at + 1
        while end < len(text) and text[at : end + 1] in _ROWS:
            end += 1
        kept += "" if end - at >= SEQUENCE else text[at:end]
        at = end
    return kept
