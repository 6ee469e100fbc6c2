"""What git's failures mean: a class, whether trying again can help, one line."""

import re
from enum import StrEnum

from gms_hookd.errors import Failure
from gms_hookd.safetext import one_line


class ErrorKind(StrEnum):
    """Why git did not do it."""

    AUTH = "authentication"
    TRUST = "host key or certificate"
    MISSING = "missing"
    NETWORK = "network"
    POLICY = "refused"
    DISK = "disk full"
    LOCK = "locked"
    CORRUPT = "corrupt"
    UNSAFE = "unsafe objects"
    TIMEOUT = "timeout"
    STALL = "silent host"
    STOPPED = "stopped"
    SIGNAL = "signal"
    SIZE = "too large"
    GIT = "git missing"
    CONFIG = "configuration"
    OTHER = "other"


TRANSIENT = frozenset(
    {
        ErrorKind.NETWORK,
        ErrorKind.DISK,
        ErrorKind.LOCK,
        ErrorKind.TIMEOUT,
        ErrorKind.SIGNAL,
        ErrorKind.CORRUPT,
    }
    | {ErrorKind.GIT, ErrorKind.STOPPED, ErrorKind.STALL}
)
_SAYINGS = {
    ErrorKind.DISK: """
        no space left on device
        disk quota exceeded
    """,
    ErrorKind.SIZE: """
        file too large
        pack exceeds maximum
        died of signal 25
        (?<!remote: )fatal: out of memory
    """,
    ErrorKind.SIGNAL: """
        died of signal
        (?m:^(sh: .*)?killed( |$))
    """,
    ErrorKind.TRUST: """
        host key verification failed
        remote host identification has changed
        no .{1,40} host key is known
        certificate (problem|verif|subject|has expired)
        self.signed certificate
        ssl certificate
        ssl ca cert
        gnutls_handshake[(][)] failed: handshake failed
        alert (certificate required|handshake failure|bad certificate|unknown ca)
        x[.]509 key or certificate
        unable to (set|load|use) (private key|client cert)
    """,
    ErrorKind.AUTH: """
        authentication failed
        could not read (username|password)
        http basic: access denied
        permission denied [(]
        terminal prompts disabled
        returned error: 40[13]
        too many authentication failures
        unprotected private key
        load key
    """,
    ErrorKind.MISSING: """
        couldn't find remote ref
        repository .*not found
        returned error: 404
        does not appear to be a git repository
        does not exist
        project you were looking for
    """,
    ErrorKind.CONFIG: """
        returned error: 3[0-9][0-9]
        transport '.*' not allowed
        hash algorithm
        object format
        mismatched algorithms
        dubious ownership
        strange (pathname|hostname)
        not found in path
        not support push options
        shallow update
    """,
    ErrorKind.NETWORK: """
        could(n't| not) (resolve|connect)
        name or service not known
        temporary failure in name resolution
        connection (timed out|refused|reset|closed|was reset|aborted)
        failed to connect
        operation (too slow|timed out)
        timeout, server
        early eof
        expected (flush|response end packet) after
        error reading section header
        protocol error: bad
        rpc failed
        unexpected disconnect
        the remote end hung up
        returned error: (5[0-9][0-9]|429|408)
        network is unreachable
        no route to host
        broken pipe
        empty reply
        transfer closed
        (recv|send) failure
        proxy connect aborted
        gnutls
        ssl_error_syscall
        ssl connect error
        curl [0-9]+
        failed to report status
        kex_exchange
        mux_client
    """,
    ErrorKind.POLICY: """
        remote rejected
        hook declined
        protected branch
        gh[0-9]{3}:
    """,
    ErrorKind.UNSAFE: """
        fsck error
        unpacker error
        error in object
        error: object [0-9a-f]+: [a-z0-9]+:
    """,
    ErrorKind.LOCK: """
        cannot lock ref
        unable to create .*[.]lock
        file exists
    """,
    ErrorKind.CORRUPT: """
        bad object
        corrupt
        loose object
        unable to read
        (invalid|bad) index-pack output
        missing (blob|tree|commit)
        invalid sha1 pointer
        unresolved deltas
        not a git repository
        (bad|broken) (ref|pack|signature|config)
        inflate
        does not match index
        did not send all necessary objects
        unknown repository extension
        could not parse
    """,
}  # the first that matches names the class: a full disk before what it breaks
_SIGNS = tuple(
    (kind, re.compile("|".join(re.findall(r"\S.*", sayings)), re.IGNORECASE))
    for kind, sayings in _SAYINGS.items()
)
_TELLING = re.compile(r"^(?:fatal|error|remote: ?(?:fatal|error)|ERROR|! )", re.I)
_REMOTE = re.compile(r"^remote: ?(?:fatal|error)", re.I | re.M)
_ABNORMAL = re.compile(r"unpack failed: .*abnormal exit")
_HELD = re.compile(r"unable to create .*[.]lock': file exists", re.I)
_PROMPT = re.compile(r"could not read \w+ for ('.*'): .*")
_REFUSED = r"authentication failed for \1: no credentials, or they were refused"
_NOISE = re.compile(
    r"please make sure you have the correct access|and the repository exists"
    r"|could not read from remote repository|^hint:|^warning:",
    re.IGNORECASE,
)


class GitError(Failure):
    """A git command did not do what was asked; str() is one line, redacted."""

    def __init__(self, kind: ErrorKind, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.stderr = stderr
        self.retry_after: float | None = None

    @property
    def transient(self) -> bool:
        """Whether the same again, later, can work."""
        return self.kind in TRANSIENT


def classify(stderr: str) -> ErrorKind:
    """Tell the class of a failure from what git said, in the C locale."""
    return next((k for k, sign in _SIGNS if sign.search(stderr)), ErrorKind.OTHER)


def hosts_own(stderr: str) -> ErrorKind | None:
    """Tell what ails a host that took a push and could not carry it out; None: nothing.

    Its unpacker says why it refuses what it was given; one that was killed does not.
    """
    kind = classify(stderr)
    if kind in (ErrorKind.DISK, ErrorKind.SIGNAL):
        return kind
    if _HELD.search(stderr):
        return ErrorKind.LOCK
    silent = _ABNORMAL.search(stderr) and not _REMOTE.search(stderr)
    return ErrorKind.SIGNAL if silent else None


def telling_line(stderr: str) -> str:
    """Pick the line that says most about a failure."""
    lines = [one_line(text) for text in stderr.split("\n") if text.strip()]
    useful = [text for text in lines if not _NOISE.search(text)]
    errors = [text for text in useful if _TELLING.match(text)]
    ranked = errors or useful or lines
    return _PROMPT.sub(_REFUSED, ranked[0]) if ranked else ""
