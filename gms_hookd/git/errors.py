"""What git's failures mean: a class, whether trying again can help, one line."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gms_hookd.errors import Failure
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.wordings import TABLE, UNTOLD, VAGUE, WORDLESS, ErrorKind, Row, Voice
from gms_hookd.safetext import one_line

__all__ = [
    "REACHED", "TRANSIENT", "UNREACHED", "Diagnosis", "ErrorKind", "GitError",
    "classify", "read", "refusal",
]  # fmt: skip

COULD_NOT = frozenset(
    {ErrorKind.HOST, ErrorKind.DISK, ErrorKind.LOCK, ErrorKind.SIGNAL}
)  # what a host that refused was not able to do
TRANSIENT = COULD_NOT | {
    ErrorKind.NETWORK,
    ErrorKind.TIMEOUT,
    ErrorKind.STALL,
    ErrorKind.MACHINE,
    ErrorKind.CORRUPT,
    ErrorKind.GIT,
    ErrorKind.STOPPED,
}
# What tells that a host did not answer, and what that it did.
UNREACHED = frozenset({ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.STALL})
REACHED = frozenset(
    {
        None,
        ErrorKind.AUTH,
        ErrorKind.TRUST,
        ErrorKind.MISSING,
        ErrorKind.POLICY,
        ErrorKind.HOST,
    }
)

LINE = 250  # characters of what failed
WORDS = 300  # characters of what the host said

_HOST_ONLY = late_pattern(
    r"(?:remote:|(?:fatal: )?remote error:|(?=ERROR:)"
    r"|error: remote unpack failed:(?!.*abnormal exit))"
    r"\s*(?:ERROR:)?\s*(.*)"
)
_HERE_ONLY = late_pattern(
    r"(fatal|error|warning|hint|usage|BUG): |! \[|(send|fetch|index|unpack)-pack: "
    r"|ssh(:|_proxy|_dispatch)|(kex|ssh)_exchange|banner exchange|client_loop"
    r"|mux_client|Connection (closed|reset|to)|Host key ver|Load key|\*\* "
    r"|Unable to negotiate"
    r"|.*Permission denied \(|Received disconnect|Disconnected from|Timeout, server"
    r"|(To|From|Pushing to|POST|Delta compression|Auto packing|Everything|Done)\b"
    r"|.* -> |Warning: |@|IT IS POSSIBLE|Someone could be|It is also possible|SHA256:"
    r"|The fingerprint for|Please contact your sys|Add correct host key|Offending "
    r"|Host key for|No \w+ host key is known|remove with|ssh-keygen -f"
)
_NOISE = late_pattern(
    r"please make sure you have the correct access|and the repository exists"
    r"|could not read from remote repository|failed to push some refs"
    r"|^(hint|warning):|^(To|From|POST|Done)\b|^\*\* | -> "
    r"|the remote end hung up|unexpected disconnect|error: hook declined to update",
    re.IGNORECASE,
)
_IDLE = late_pattern(
    r"^[\W_]*$|^(Enumerating|Counting|Compressing|Resolving|Unpacking|Writing|Total"
    r"|Receiving|Checking|Finding|Getting|Storing|Updating|Processing)\b.*\d",
    re.IGNORECASE,
)
_TELLING = late_pattern(r"^(?:fatal|error|! )", re.I)
_STYLE = late_pattern(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # ECMA-48, 5.4
_URL = late_pattern(r"\b[a-z][a-z0-9+.-]*://[^\s'\"]*", re.I)
_QUOTED = late_pattern(r"(?<!\w)(['`])[^'`]*\1")
_SILENT = late_pattern(r"could not read from remote repository", re.I)
_ABNORMAL = late_pattern(r"unpack failed: .*abnormal exit")
_WHY = late_pattern(r"^remote: ?(?:fatal|error)", re.I | re.M)
_PROMPT = late_pattern(r"could not read \w+ for ('.*'): .*")
_REFUSED = r"authentication failed for \1: no credentials, or they were refused"


class GitError(Failure):
    """A git command did not do what was asked; str() is one line, redacted."""

    def __init__(self, kind: ErrorKind, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.stderr = stderr
        self.retry_after: float | None = None
        self.remedy = ""  # what the message ends with that says what to do

    @property
    def transient(self) -> bool:
        """Whether the same again, later, can work."""
        return self.kind in TRANSIENT


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a failure is: its kind, what failed, and what the host said of it."""

    kind: ErrorKind
    failed: str
    words: str

    def __str__(self) -> str:
        """Return both in one line, cut to a sane length."""
        return with_words(self.failed, self.words)


def with_words(failed: str, words: str) -> str:
    """Return what failed, and then what the host said, if that is more."""
    if not words or words in failed:
        return failed
    return f"{failed}; the host says: {words}" if failed else f"the host says: {words}"


@dataclass(frozen=True, slots=True)
class _Said:
    """What the programs here and the host said, line by line; some may be of either."""

    here: tuple[str, ...] = ()
    host: tuple[str, ...] = ()

    def first(self) -> tuple[Row | None, str]:
        """Return the first row of the table that fits, and the line that it fits."""
        here, host = _bare(self.here), _bare(self.host)
        for row in TABLE:
            if row.voice is not Voice.HOST and (found := row.words.search(here)):
                return row, self.here[here.count("\n", 0, found.start())]
            if row.voice is not Voice.HERE and (found := row.words.search(host)):
                return row, self.host[host.count("\n", 0, found.start())]
        return None, ""


def classify(stderr: str) -> ErrorKind:
    """Return the class of a failure by what git printed, in the C locale."""
    return read(stderr).kind


@lru_cache(maxsize=8)  # one failure is asked for its kind several times
def read(stderr: str) -> Diagnosis:
    """Return what a failure is by what git printed, in the C locale."""
    said = _said(stderr)
    row, line = said.first()
    failed = line if line in said.here else _best(said.here)
    words = _words([text for text in said.host if text != failed], line)
    if not (row or words or failed) and _SILENT.search(stderr):
        return Diagnosis(ErrorKind.NETWORK, "the connection ended without a word", "")
    if not (failed or words):
        failed = next((text for text in said.here if not _IDLE.match(text)), "")
    kind = row.kind if row else ErrorKind.OTHER
    return Diagnosis(kind, _PROMPT.sub(_REFUSED, one_line(failed, LINE)), words)


def refusal(reason: str, stderr: str) -> Diagnosis:
    """Return why a host refused a ref; its kind tells whether it only could not.

    reason is what stands in the brackets of `[remote rejected] (...)`.
    """
    host = _said(stderr).host
    row, line = _Said(host=(reason,)).first()
    if VAGUE.search(reason) and not (row and row.kind in COULD_NOT):
        row, line = _Said(host=host).first()
    words = _words(host, line)
    untold = UNTOLD.fullmatch(reason) or (not words and WORDLESS.fullmatch(reason))
    kind = ErrorKind.HOST if untold and not row else _refusal_kind(row, stderr)
    silent = kind in COULD_NOT and not words
    named = one_line(reason, WORDS) or "refused without a reason"
    return Diagnosis(kind, f"{named} ({kind})" if silent else named, words)


def _refusal_kind(row: Row | None, stderr: str) -> ErrorKind:
    if not row and _ABNORMAL.search(stderr) and not _WHY.search(stderr):
        return ErrorKind.SIGNAL
    return row.kind if row and row.kind in COULD_NOT else ErrorKind.POLICY


def _said(stderr: str) -> _Said:
    here, host = [], []
    for raw in _STYLE.sub("", stderr).split("\n"):
        text = one_line(raw, 4 * LINE)
        only_host = _HOST_ONLY.match(text)
        if only_host:
            host.append(only_host[1])
        elif text and not (_HERE_ONLY.match(text) or _NOISE.search(text)):
            host.append(text)
        if text and not only_host:
            here.append(text)
    return _Said(tuple(here), tuple(t for t in host if not _IDLE.match(t)))


def _bare(lines: Iterable[str]) -> str:
    """Return lines without names: those of repositories may hold any words."""
    return "\n".join(_QUOTED.sub("''", _URL.sub("URL", line)) for line in lines)


def _best(lines: Sequence[str]) -> str:
    """Return the line that says most about what failed."""
    useful = (text for text in lines if not _NOISE.search(text))
    return next((text for text in useful if _TELLING.match(text)), "")


def _words(lines: Sequence[str], most: str) -> str:
    """Return the host's words in one line; if it is too long, from `most` on."""
    once = list(dict.fromkeys(line for line in lines if not _NOISE.search(line)))
    if len(" ".join(once)) > WORDS and most in once:
        once = once[once.index(most) :]
    return one_line(" ".join(once), WORDS)
