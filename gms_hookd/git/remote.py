"""What is asked of another repository: its refs, its objects, and to take ours."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gms_hookd.git.access import RepositoryAccess
from gms_hookd.git.advice import Way, advice
from gms_hookd.git.command import Git
from gms_hookd.git.credentials import with_remedy
from gms_hookd.git.errors import ErrorKind, GitError, Reading, refusal
from gms_hookd.git.process import Done
from gms_hookd.git.refs import (
    Pushed,
    is_tidy,
    parse_pushed,
    parse_refs,
    points,
    symrefs,
)

STDIN_FROM = 50  # refspecs; more go through a pipe
UNTIDIED = ("--receive-pack=git -c receive.autoGC=false receive-pack",)
LISTED = (("protocol.version", "0"),)
_BUSY = re.compile(r"returned error: (429|503)")
_CHALLENGE = re.compile(r"(?i)www-authenticate: *([a-z]+)")
_RETRY_AFTER = re.compile(r"(?i)retry-after: *(\d{1,6})")
AT_ONCE = 500  # leases in one push: git compares each with every ref of the target


class RefUpdate(Protocol):
    """One ref that a push moves; None stands for absent."""

    @property
    def ref(self) -> str:
        """Its full name."""

    @property
    def old(self) -> str | None:
        """The object id that it is expected to have at the target."""

    @property
    def new(self) -> str | None:
        """The object id that it is to have."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a push said of each ref, and the error that ended it, if one did.

    refusals tell why the host refused some, in its own words.
    """

    lines: Mapping[str, Pushed]
    error: GitError | None = None
    refusals: Mapping[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """The refs that a repository has, ref -> object id; symbolic ref -> ref."""

    refs: Mapping[str, str]
    symrefs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Remote:
    """Another repository, with what it takes to get in; secrets only in here."""

    git: Git
    access: RepositoryAccess
    push_options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """What git is told to talk to."""
        return self.access.url.text

    def fetch(self, specs: Sequence[str], *options: str, listed: bool = False) -> None:
        """Bring refs and objects into the cache; raises GitError.

        With listed the host lists all its refs at once: one round trip less, and the
        better choice where they are few.
        """
        piped = len(specs) > STDIN_FROM
        done = self._run(
            "fetch",
            "--progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--refmap=",
            *options,
            *(("--stdin",) if piped else ()),
            "--end-of-options",
            self.url,
            *(() if piped else specs),
            stdin=_lines(specs) if piped else None,
            settings=LISTED if listed else (),
        )
        if done.failed:
            raise self._error(done, "fetch")
        if "shallow roots are not allowed" in done.err:  # and yet the status is 0
            message = "git fetch: the repository is a shallow clone: complete it first"
            raise GitError(ErrorKind.CONFIG, message)

    def within(self, deadline: float) -> "Remote":
        """Give it another end of time (time.monotonic)."""
        limits = replace(self.git.limits, deadline=deadline)
        return replace(self, git=replace(self.git, limits=limits))

    def refs(self, *options: str) -> dict[str, str]:
        """Read its refs, without peeled tags; raises GitError."""
        out = self._ask("--refs", *options, "--end-of-options", self.url)
        return dict(parse_refs(out))

    def listing(self) -> Listing:
        """Read its refs, and which of them are symbolic; raises GitError.

        By protocol v2 a host tells every symbolic ref that can be resolved. What one
        on this machine has besides is asked for by name, see Listing.dangling.
        """
        out = self._ask("--symref", "--refs", "--end-of-options", self.url)
        return Listing(dict(parse_refs(out)), symrefs(out))

    def dangling(self, names: Iterable[str]) -> dict[str, str]:
        """Return those of these refs that are symbolic at a target on this machine."""
        url = self.access.url
        return points(url.path, names) if url.local else {}

    def head(self) -> str | None:
        """Name its default branch; None where it has none, or does not say."""
        out = self._ask("--symref", "--end-of-options", self.url, "HEAD")
        return symrefs(out).get("HEAD")

    def push(self, moves: Sequence[RefUpdate]) -> Report:
        """Carry out moves, each under a lease on the object id it replaces."""
        lines: dict[str, Pushed] = {}
        refusals: dict[str, Reading] = {}
        for part in _parts(moves):
            leases = [f"--force-with-lease={m.ref}:{m.old or ''}" for m in part]
            report = self._push([f"{m.new or ''}:{m.ref}" for m in part], leases)
            lines.update(report.lines)
            refusals.update(report.refusals)
            if report.error:
                return Report(lines, report.error, refusals)
        return Report(lines, refusals=refusals)

    def push_forward(self, specs: Sequence[str]) -> Report:
        """Push what is new or a fast-forward, by glob, and nothing else.

        Without force git itself refuses all that would lose something, on the refs as
        it reads them then; a lease for each of many refs would cost their square.
        """
        return self._push(specs)

    def _push(self, specs: Sequence[str], leases: Sequence[str] = ()) -> Report:
        done = self._run(
            "push",
            "--progress",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--recurse-submodules=no",
            *(f"--push-option={option}" for option in self.push_options),
            *leases,
            *self._untidied(),
            "--end-of-options",
            self.url,
            *specs,
            writing=self.access.url.path if self.access.url.local else None,
        )
        lines = {line.ref: line for line in parse_pushed(done.out)}
        broken = done.ended or (done.failed and b"\nDone\n" not in b"\n" + done.out)
        error = self._error(done, "push") if broken else None
        refused = {r: line.reason for r, line in lines.items() if line.by_host}
        refusals = {ref: refusal(why, done.err) for ref, why in refused.items()}
        return Report(lines, error, refusals)

    def _untidied(self) -> tuple[str, ...]:
        """Spare a target on this machine the look for what is to be tidied up."""
        url = self.access.url
        return UNTIDIED if url.local and is_tidy(url.path) else ()

    def lfs(self, verb: str, tips: Sequence[str]) -> None:
        """Let git-lfs fetch or push all that these commits need; raises GitError."""
        url = f"file://{self.url}" if self.url.startswith("/") else self.url
        done = self._run("lfs", verb, "--all", url, *tips)
        if done.failed:
            raise self._error(done, f"lfs {verb}")

    def _ask(self, *args: str) -> bytes:
        done = self._run("ls-remote", *args)
        if done.failed:
            raise self._error(done, "ls-remote")
        return done.out

    def _run(
        self,
        *args: str,
        stdin: bytes | None = None,
        writing: str | None = None,
        settings: tuple[tuple[str, str], ...] = (),
    ) -> Done:
        access = self.access.access()
        done = self.git.run(
            *args,
            settings=(*access.settings, *settings),
            extra=access.extra,
            stdin=stdin,
            writing=writing,
            afar=not self.access.url.local,
        )
        if done.failed and done.kind is ErrorKind.NETWORK:
            done = replace(done, err=self._last_words() + done.err)
        if done.failed and done.kind is ErrorKind.AUTH and self.access.other():
            return self._run(*args, stdin=stdin, writing=writing, settings=settings)
        return done

    def _last_words(self) -> str:
        """Return why the kept connection has ended, if it has; log that, too."""
        words = self.access.last_words()
        for line in filter(None, words.split("\n")):
            self.git.limits.log.line(f"  ssh: {line.rstrip()}")
        return words

    def _error(self, done: Done, what: str) -> GitError:
        error = done.failure(what)
        if _BUSY.search(done.err):
            error.retry_after = self._asked_to_wait()
        told = with_remedy(error, self.access.access().remedies)
        return with_remedy(told, {error.kind: advice(error, self._way(error.kind))})

    def _way(self, kind: ErrorKind) -> Way:
        url = self.access.url
        by_http = url.scheme in ("http", "https") and kind is ErrorKind.AUTH
        return Way(url, self.access.tls, self._challenges() if by_http else ())

    def _challenges(self) -> set[str]:
        """Return the schemes of authentication that the host offers."""
        return {found.lower() for found in _CHALLENGE.findall(self._headers())}

    def _asked_to_wait(self) -> float | None:
        """Return the seconds of Retry-After."""
        found = _RETRY_AFTER.search(self._headers())
        return float(found[1]) if found else None

    def _headers(self) -> str:
        """Ask again, for the header fields of the answer, which git keeps to itself."""
        access = self.access.access()
        extra = {**access.extra, "GIT_TRACE_CURL": "2", "GIT_TRACE_CURL_NO_DATA": "1"}
        ask = ("ls-remote", "--end-of-options", self.url, "HEAD")
        done = self.git.run(
            *ask, settings=access.settings, extra=extra, quiet=True, afar=True
        )
        return done.err


def _lines(specs: Iterable[str]) -> bytes:
    return "".join(f"{s}\n" for s in specs).encode("utf-8", "surrogateescape")


def _parts(moves: Sequence[RefUpdate]) -> Iterator[Sequence[RefUpdate]]:
    return (moves[n : n + AT_ONCE] for n in range(0, len(moves), AT_ONCE))
