"""git-lfs on one repository: which pointers there are, and their objects carried.

git-lfs tells of a failure in the host's words, without the status, which only its trace
has; the trace is read here and goes no further, for it holds signed addresses. What
else git-lfs is given it writes down, all variables that begin with GIT_ among it
(git-lfs: lfs/config.go, Environ), so a password goes another way.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gms_hookd.git.command import Git, GitCommand
from gms_hookd.git.credentials import Access
from gms_hookd.git.errors import TRANSIENT, ErrorKind, GitError, classify
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.process import Done
from gms_hookd.git.remote import Remote
from gms_hookd.git.url import GitUrl
from gms_hookd.safetext import one_line

SMALLEST, LARGEST = 100, 1023  # bytes of a pointer (git-lfs: docs/spec.md)
TOGETHER = 10_000  # objects that are read with one command, 10 MiB at most
KNOWN = 2000  # tips of the target that bound the look for new pointers
TIPS = 1000  # whose objects are asked for with one command
# By diffs what is new to a target is found in one process; by objects, what is all new.
_GREP = r"^version https://git-lfs\.github\.com/spec/v1"
_POINTER = late_pattern(rb"version https://git-lfs\.github\.com/spec/v1\n")
_OID = late_pattern(rb"^oid sha256:([0-9a-f]{64})$", re.M)

SETTINGS = (
    ("lfs.locksverify", "false"),
    ("lfs.transfer.maxretries", "2"),  # a run is tried again as a whole
    ("lfs.ssh.autoMultiplex", "false"),  # it would leave a folder in /tmp
    ("lfs.ssh.retries", "1"),
)
# No variable begins with GIT_. It answers for the repository's host only, and no more
# once it was refused: git-lfs would ask the host again, and again, without a pause.
_HELPER = r"""!f() { case "$1" in
erase) : >"$LFS_REFUSED" ;;
get) test -e "$LFS_REFUSED" ||
printf 'username=%s\npassword=%s\n' "$LFS_USERNAME" "$LFS_PASSWORD" ;;
esac; }; f"""

_TRACED = late_pattern(r"^\d\d:\d\d:\d\d\.\d+ .*$", re.M)
_STATUS = late_pattern(r"trace git-lfs: HTTP: (\d{3})$", re.M)
_BATCH = late_pattern(r"^batch (request|response): ", re.M)
_EMPTY_WORDS = late_pattern(
    r"^(batch (request|response): |LFS: |Fatal error: |error: )+", re.I
)
_NOISE = late_pattern(
    r"^(Errors logged to|Use `git lfs logs|Uploading|Downloading|\[\])"
)
_UNREADABLE = late_pattern(r"Unable to parse HTTP response")
_CUT = late_pattern(
    r": EOF|i/o timeout|no such host|connection (refused|reset|closed)|broken pipe"
    r"|handshake timeout|timeout awaiting|unexpected EOF|network is unreachable",
    re.IGNORECASE,
)
_NO_COMMAND = late_pattern(
    r"git-lfs-authenticate: (command )?not found|exit status 127"
    r"|(unknown|invalid|disallowed|not allowed|unrecognized).{0,20}(command|git-lfs)"
    r"|git-lfs-authenticate.{0,40}(not (allowed|supported|valid)|unknown)",
    re.IGNORECASE,
)
# Of one object, by a server (git-lfs: docs/api/batch.md), or in a folder.
_LACKING = late_pattern(
    r"\[([0-9a-f]{64})\] .*\[(?:404|410)\]|remote missing object ([0-9a-f]{64})"
)
_SUMMARY = late_pattern(r"^error: failed to fetch some objects from ")
_SOME = (("lfs.allowincompletepush", "true"),)
_NO_LFS = (403, 404, 405, 410, 501)


def at_hand(git: Git) -> bool:
    """Whether git-lfs is on the PATH that git has."""
    return shutil.which("git-lfs", path=git.environ["PATH"]) is not None


def pointers(
    git: Git, tips: Sequence[str], old: Sequence[str], known: Iterable[str]
) -> set[str]:
    """Return the LFS objects that commits point to which these known ones do not have.

    By their SHA-256. The old ones are here, of the others some may not be. Raises
    GitError.
    """
    others = list(dict.fromkeys(known))[:KNOWN]
    # Where nothing that is here bounds the look, diffs would be those of all history.
    bounds = [*old, *others] if old or _any_here(git, others) else []
    asked = "".join([*(f"{t}\n" for t in tips), *(f"^{b}\n" for b in bounds)]).encode()
    blobs = _changed(git, asked) if bounds else _small(git, asked, tips)
    return {oid for some in _by(TOGETHER, blobs) for oid in _pointed(git, some)}


def fetch(source: Remote, tips: Sequence[str]) -> set[str]:
    """Bring the objects of these commits from a source; return those that it lacks.

    Raises GitError for all other failures.
    """
    lacking: set[str] = set()
    for part in _by(TIPS, tips):
        done = _run(source, "fetch", part)
        found = _lacking(done) if done.failed and not done.ended else set()
        if done.failed and not found:
            raise _failure(done, "fetch").error
        lacking |= found
    return lacking


def push(target: Remote, tips: Sequence[str], *, some: bool = False) -> str | None:
    """Bring the objects of these commits to a target; say why if it takes none.

    `some`: not all of them are here. Raises GitError for all that is not the want of
    LFS.
    """
    for part in _by(TIPS, tips):
        done = _run(target, "push", part, _SOME if some else ())
        if not done.failed:
            continue
        failure = _failure(done, "push")
        if failure.absent:
            return failure.words
        raise failure.error
    return None


# --- what there is to carry


def _changed(git: Git, asked: bytes) -> list[str]:
    """List the blobs that a diff has a pointer's first line of."""
    out = git.ask(
        "log", "--ignore-missing", "--format=", "--raw", "--no-abbrev", "-m",
        "--no-renames", "-G", _GREP, "--stdin", stdin=asked,
    )  # fmt: skip
    lines = (line.split(b" ") for line in out.split(b"\n") if line.startswith(b":"))
    return [fields[3].decode() for fields in lines if fields[3].strip(b"0")]


def _any_here(git: Git, oids: Sequence[str]) -> bool:
    asked = "".join(f"{oid}\n" for oid in oids).encode()
    found = git.ask("cat-file", "--batch-check", stdin=asked) if oids else b""
    return any(not line.endswith(b" missing") for line in found.split(b"\n") if line)


def _small(git: Git, asked: bytes, tips: Sequence[str]) -> list[str]:
    """List all blobs that may be pointers; of very many, those of the tips."""
    done = _list_small(git, asked)
    if done.ended is ErrorKind.SIZE:
        git.limits.log.line(
            "too many objects to look through: LFS pointers of the tips"
        )
        trees = "".join(f"{tip}^{{tree}}\n" for tip in tips).encode()
        done = _list_small(git, trees)
    if done.failed:
        raise done.failure("rev-list")
    return done.out.decode().split()


def _list_small(git: Git, asked: bytes) -> Done:
    listed = ("rev-list", "--objects", "--no-object-names", "--ignore-missing")
    few = f"--filter=combine:object:type=blob+blob:limit={LARGEST + 1}"
    alone = "--filter-provided-objects"  # without the tips that are given
    command = GitCommand((*listed, few, alone, "--stdin"), stdin=asked, quiet=True)
    return git.run(command)


def _fitting(git: Git, blobs: Sequence[str]) -> list[bytes]:
    """Return those of these blobs that are of the size of a pointer."""
    asked = "".join(f"{oid}\n" for oid in blobs).encode()
    form = "--batch-check=%(objectsize) %(objectname)"
    sizes = git.ask("cat-file", form, stdin=asked)
    found = (line.partition(b" ") for line in sizes.split(b"\n"))
    return [o for s, _, o in found if s.isdigit() and SMALLEST <= int(s) <= LARGEST]


def _pointed(git: Git, blobs: Sequence[str]) -> Iterator[str]:
    """Tell what these blobs point to, if they do."""
    fit = _fitting(git, blobs)
    if not fit:
        return
    contents = git.ask("cat-file", "--batch", stdin=b"\n".join(fit) + b"\n")
    for text in _POINTER.split(contents)[1:]:
        if oid := _OID.search(text[:LARGEST]):
            yield oid[1].decode()


def _by(number: int, items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[n : n + number] for n in range(0, len(items), number))


# --- git-lfs itself


def _run(
    remote: Remote,
    verb: str,
    tips: Sequence[str],
    more: tuple[tuple[str, str], ...] = (),
) -> Done:
    url, git = remote.access.url, remote.git
    place = f"file://{url.path}" if url.local else url.text
    refused = git.gitdir / f"lfs-refused-{os.urandom(8).hex()}"
    settings, extra = _given(url, remote.access.access(), refused)
    log = git.limits.log
    log.line(f"$ git lfs {verb} --all {place} ({len(tips)} commits)")
    command = GitCommand(
        ("lfs", verb, "--all", place, *tips), (*settings, *more), extra, quiet=True
    )
    done = git.run(replace(command, afar=not url.local))
    for line in _words(done.err):
        log.line(f"  {line}")
    _clear_logs(git)
    refused.unlink(missing_ok=True)
    return done


def _given(
    url: GitUrl, access: Access, refused: Path
) -> tuple[tuple[tuple[str, str], ...], Mapping[str, str]]:
    """Return settings and environment of git-lfs: no header, but a helper."""
    plain = (s for s in access.settings if not s[0].lower().endswith(".extraheader"))
    settings = (*SETTINGS, *plain)
    extra = {**access.extra, "GIT_TRACE": "1"}
    if access.login is None:
        return settings, extra
    username, password = access.login
    base = url.text if url.text.endswith(".git") else f"{url.text.rstrip('/')}.git"
    own = (
        (f"credential.{url.origin}.helper", _HELPER),
        (f"lfs.{base}/info/lfs.access", "basic"),
    )
    login = {"LFS_USERNAME": username, "LFS_PASSWORD": password}
    return (*settings, *own), {**extra, **login, "LFS_REFUSED": str(refused)}


def _words(stderr: str) -> list[str]:
    plain = _TRACED.sub("", stderr).split("\n")
    return [line.strip() for line in plain if line.strip() and not _NOISE.match(line)]


def _lacking(done: Done) -> set[str]:
    """Return the objects that are not there, if git-lfs says so and nothing else."""
    words = [word for word in _words(done.err) if not _SUMMARY.match(word)]
    found = [_LACKING.search(word) for word in words]
    return {each[1] or each[2] for each in found if each} if all(found) else set()


def _clear_logs(git: Git) -> None:
    """Remove what git-lfs has written down; all of it stood in its words, too."""
    with contextlib.suppress(OSError):
        shutil.rmtree(git.gitdir / "lfs" / "logs")


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a failure of git-lfs means; absent: there is no LFS at the other end."""

    words: str
    error: GitError
    absent: bool


def _said(done: Done, status: int) -> str:
    words = [_EMPTY_WORDS.sub("", line) for line in _words(done.err)]
    said = next((w for w in words if not _UNREADABLE.search(w)), "")
    if status >= 400:
        said = f"{said} (HTTP {status})" if said else f"the host answers {status}"
    return one_line(said or f"exit status {done.status}")


def _failure(done: Done, verb: str) -> _Failure:
    status = int(found[-1]) if (found := _STATUS.findall(done.err)) else 0
    said = _said(done, status)
    batch = bool(_BATCH.search(done.err))
    kind = _kind(done, status, said)
    none = status in _NO_LFS and kind not in TRANSIENT
    absent = batch and (none or bool(_NO_COMMAND.search(done.err)))
    if done.ended:
        said, absent = f"ended: {done.ended}", False
    return _Failure(said, GitError(kind, f"git lfs {verb}: {said}"), absent)


def _kind(done: Done, status: int, said: str) -> ErrorKind:
    if done.ended or done.status < 0:
        return done.kind
    if status >= 400:  # it means what it does of git's own requests
        return classify(f"remote: {said}\nfatal: LFS: returned error: {status}\n")
    text = "\n".join(_words(done.err))
    kind = classify(text)
    if kind is ErrorKind.OTHER and "credentials for" in text:
        return ErrorKind.AUTH
    if kind is ErrorKind.OTHER and "x509:" in text:
        return ErrorKind.TRUST
    cut = kind is ErrorKind.OTHER and _CUT.search(text)
    return ErrorKind.NETWORK if cut else kind
