"""What is asked of another repository: its refs and its objects; see also push."""

import os
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gms_hookd.git.access import Need, RepositoryAccess
from gms_hookd.git.advice import Way, advice
from gms_hookd.git.command import Git, GitCommand
from gms_hookd.git.credentials import Access, with_remedy
from gms_hookd.git.errors import REACHED, UNREACHED, ErrorKind, GitError, read
from gms_hookd.git.http_answer import RPC, HttpAnswer, asked_to_wait, parse
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.process import Done, Stop
from gms_hookd.git.refs import parse_refs, points, symrefs
from gms_hookd.git.refspec import Scope

STDIN_FROM = 50  # refspecs; more go through a pipe
FETCH = (
    "fetch", "--progress", "--no-tags", "--no-write-fetch-head",
    "--no-auto-maintenance", "--no-recurse-submodules", "--refmap=",
)  # fmt: skip
LISTED = (("protocol.version", "0"),)
BUFFER = (("http.postBuffer", str(512 * 2**20)),)  # bytes
HTTP_1 = (("http.version", "HTTP/1.1"),)
# Before a body beyond this (the least that git takes) it sends a small request. Where a
# host hung up while git counted objects (apache: after 5 s), libcurl repeats a request
# that small on a new connection, but no large one.
PROBE = (("http.postBuffer", str(2**16)),)
# A git with GnuTLS, that of Debian, reads each file of the folder of authorities for
# each connection: 280 files, 40 ms. All of them stand in one file, too, as a rule, so
# that is tried alone: here is a folder that has no file.
NO_FOLDER = {"GIT_SSL_CAPATH": "/proc/self/task"}
PUSH_NOTHING = ("push", "--dry-run", "--porcelain", "--no-verify")
# A front of ssh may end so although all was sent, which git takes for a failure.
UNTOLD = "error: git at the host ended with an error, and said nothing"
LOOKED = 20.0  # seconds to find out what a host had answered
# What git says of an answer that is none, and of one whose body it does not tell.
NO_GIT = late_pattern(
    r"returned error: 3\d\d|/info/refs not valid|return code 22$|git-http-push failed",
    re.MULTILINE,
)
ANSWERED = late_pattern(
    r"^(fatal|error): .*((returned error:|RPC failed; HTTP) (4\d\d|5(0[13]|11|30))"
    r"|could not read (User|Pass)"
    r"|Authentication failed)",
    re.MULTILINE,
)
_CHALLENGE = late_pattern(r"(?im)^.*<= recv header: *www-authenticate: *([a-z]+)")
# RFC 9112, 6.1: who knows no chunks says 501, or finds the request a bad one.
_LENGTH = late_pattern(r"(returned error:|RPC failed; HTTP) (400|411|501)")
_CHUNKED = late_pattern(r"(?i)=> send header: transfer-encoding: chunked")
# A proxy that refuses a body while it comes resets the stream, and curl then drops
# what it said (HAProxy 2.6, curl 7.88): by HTTP/1.1 that is heard.
_HTTP2 = late_pattern(r"HTTP/2 stream|HTTP2? framing layer|nghttp2|curl (16|92)\b")
_HUNG_UP = late_pattern(r"curl 55\b")  # CURLE_SEND_ERROR
_STATUS = late_pattern(r"(?:returned error:|RPC failed; HTTP) ([345]\d\d)")
_REMEDIES = {
    "403": "the account may not do that there, or a proxy in between forbids it",
    "411": "what is sent is larger than http.postBuffer may be: push by ssh",
    "413": "the host, or a proxy before it, takes no request of that size: raise its"
    " limit (nginx: client_max_body_size), or push by ssh",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """The refs that a repository has, ref -> object id; symbolic ref -> ref.

    blind: the host does not tell which refs are symbolic.
    """

    refs: Mapping[str, str]
    symrefs: Mapping[str, str] = field(default_factory=dict)
    blind: bool = False


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
        stdin = ("--stdin",) if piped else ()
        named = () if piped else specs
        command = GitCommand(
            (*FETCH, *options, *stdin, "--end-of-options", self.url, *named),
            LISTED if listed else (),
            stdin=_lines(specs) if piped else None,
        )
        done = self.run(command)
        if done.failed:
            raise self.error(done, "fetch")
        if "shallow roots are not allowed" in done.err:  # and yet the status is 0
            raise GitError(ErrorKind.CONFIG, self._shallow())

    def within(self, deadline: float) -> "Remote":
        """Give it another end of time (time.monotonic), and nobody to stop it."""
        limits = replace(self.git.limits, deadline=deadline, stop=Stop())
        return replace(self, git=replace(self.git, limits=limits))

    def until(self, deadline: float) -> "Remote":
        """Give it an earlier end of time (time.monotonic)."""
        limits = replace(self.git.limits, deadline=deadline)
        return replace(self, git=replace(self.git, limits=limits))

    def refs(self, scope: Scope) -> dict[str, str]:
        """Read those of its refs, without peeled tags; raises GitError."""
        return dict(self.listing(scope).refs)

    def listing(self, scope: Scope) -> Listing:
        """Read those of its refs, and which are symbolic; raises GitError.

        By protocol v2 a host tells every symbolic ref that can be resolved, by v0 next
        to none. What one on this machine has besides is asked for by name: dangling.
        """
        asked = ("--symref", "--refs", *scope.options, "--end-of-options", self.url)
        done = self._ask(*asked, lines=scope.lines)
        refs = dict(parse_refs(done.out))
        blind = not (self.access.url.local or done.tells_symrefs)
        return Listing(refs, symrefs(done.out), blind)

    def dangling(self, names: Iterable[str]) -> dict[str, str]:
        """Return those of these refs that are symbolic at a target on this machine."""
        url = self.access.url
        return points(url.path, names) if url.local else {}

    def head(self) -> str | None:
        """Name its default branch; None where it has none, or does not say."""
        done = self._ask("--symref", "--end-of-options", self.url, "HEAD")
        return symrefs(done.out).get("HEAD")

    def make(self, object_format: str) -> None:
        """Make it, an empty bare repository on this machine, whole or not at all.

        Raises GitError.
        """
        path = Path(self.access.url.path)
        if not path.parent.is_dir():
            said = f"{path} is not made, since {path.parent} does not exist: make that"
            raise GitError(ErrorKind.CONFIG, said)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        options = ("-q", "--bare", "--template=", f"--object-format={object_format}")
        try:
            self.git.ask("init", *options, "--", str(fresh), quiet=False)
            fresh.rename(path)
        except (GitError, OSError) as error:
            shutil.rmtree(fresh, ignore_errors=True)
            said = f"{path} cannot be made: {error}: let the service write there"
            raise GitError(ErrorKind.CONFIG, said) from None

    def _shallow(self) -> str:
        """Return what to do about a shallow source: it is to be completed there."""
        url = self.access.url
        where = f" -C {shlex.quote(url.path)}" if url.local else ""
        complete = f"git{where} fetch --unshallow"
        return f"git fetch: the repository is a shallow clone: complete it: {complete}"

    def _ask(self, *args: str, lines: re.Pattern[bytes] | None = None) -> Done:
        done = self.run(GitCommand(("ls-remote", *args), lines=lines))
        if done.failed:
            raise self.error(done, "ls-remote")
        return done

    def run(self, command: GitCommand) -> Done:
        """Run a command that talks to it, again with what it turns out to need."""
        done = self._with_status(self.git.run(self._with_access(command)))
        done = self._unmasked(command.args[0], done)
        if not done.failed:
            self._note_host(None)
            return done
        if done.kind is ErrorKind.NETWORK:
            done = replace(done, err=self._last_words() + done.err)
        self._note_host(done.kind)
        if self.access.by_http:
            self._learn(done.err)
        return self.run(command) if self._may_try_again(done) else done

    def _with_access(self, command: GitCommand) -> GitCommand:
        access, url = self._access(), self.access.url
        return replace(
            command,
            settings=(*access.settings, *command.settings, *self._asked_for()),
            extra=self._extra(),
            afar=not url.local,
            http=self.access.by_http,
            protocol=url.scheme == "ssh" and command.args[0] == "ls-remote",
        )

    def _with_status(self, done: Done) -> Done:
        """Add the status that a request met, where git tells of a cut alone."""
        if not (done.failed and self.access.by_http) or ANSWERED.search(done.err):
            return done
        _, post, last = done.headers.rpartition("=> Send header: POST")
        answer = parse(post + last, RPC)
        if answer is None or answer.status < 400 or _STATUS.search(done.err):
            return done
        said = f"error: RPC failed; HTTP {answer.status}\n"
        return replace(done, err=said + done.err)

    def _unmasked(self, verb: str, done: Done) -> Done:
        """Return it as a failure where the host answered with something else than git.

        A page may look to git like a repository without refs.
        """
        nothing = verb == "ls-remote" and not (done.failed or done.out)
        if not self.access.by_http or not (nothing or done.failed):
            return done
        answer = parse(done.headers)
        if answer and answer.is_git:
            return self._unmasked_rpc(verb, done)
        if answer is None or not (nothing or NO_GIT.search(done.err)):
            return done
        said = (self._answer(verb) or answer).instead_of_git(self.url)
        return self._instead_of_git(said, done)

    def _unmasked_rpc(self, verb: str, done: Done) -> Done:
        """Return it as a failure that names what a POST was answered by instead."""
        answer = parse(done.headers, RPC)
        if answer is None or answer.is_git or not 200 <= answer.status < 400:
            return done
        whole = self._answer(verb)
        told = whole if whole and not whole.is_git else answer
        return self._instead_of_git(told.instead_of_result(self.url), done)

    def _instead_of_git(self, said: str, done: Done) -> Done:
        self.git.limits.log.line("  " + said.rstrip())
        return replace(done, status=done.status or 128, err=said + done.err)

    def _answer(self, verb: str) -> HttpAnswer | None:
        """Ask again, for the whole answer, much of which git keeps to itself.

        A host that is asked to take something may answer otherwise than one that is
        asked to give it.
        """
        access = self.access.access()
        ask = PUSH_NOTHING if verb == "push" else ("ls-remote",)
        what = ":refs/heads/none" if verb == "push" else "HEAD"
        deadline = min(self.git.limits.deadline, time.monotonic() + LOOKED)
        plain = (f"http.{self.url}.extraHeader", "Accept-Encoding: identity")
        command = GitCommand(
            (*ask, "--end-of-options", self.url, what),
            (*access.settings, *self._asked_for(), plain),
            self._extra(),
            quiet=True,
        )
        command = replace(command, afar=True, http=True, bodies=True)
        headers = self.within(deadline).git.run(command).headers
        answer = parse(headers)
        return parse(headers, RPC) if answer and answer.is_git else answer

    def _with_words(self, what: str, done: Done) -> Done:
        """Add what the host said of a failure, as far as git did not tell it.

        A host is asked for its refs again, and mostly answers that as it did the push.
        The body of its answer to the POST of a push is not told: git drops it, and a
        trace that has it has the whole pack, too. To hear it after a final answer the
        push would have to be sent again.
        """
        if not (done.ended or done.status < 0 or str(read(done.err))):
            return replace(done, err=f"{UNTOLD}\n{done.err}")
        if not self.access.by_http or not ANSWERED.search(done.err):
            return done
        if read(done.err).words:
            return done
        answer = self._answer(what)
        words = answer.words if answer else ""
        return replace(done, err=f"{done.err}remote: {words}\n") if words else done

    def _last_words(self) -> str:
        """Return why the kept connection has ended, if it has; log that, too."""
        words = self.access.last_words()
        for line in filter(None, words.split("\n")):
            self.git.limits.log.line(f"  ssh: {line.rstrip()}")
        return words

    def _learn(self, stderr: str) -> None:
        """Remember what would have helped, for the next attempt."""
        for need, words in ((Need.HTTP_1, _HTTP2), (Need.PROBE, _HUNG_UP)):
            if words.search(stderr):
                self.access.learn(need)

    def _asked_for(self) -> tuple[tuple[str, str], ...]:
        """Return the settings that the host has turned out to need."""
        given = ((Need.PROBE, PROBE), (Need.LENGTH, BUFFER), (Need.HTTP_1, HTTP_1))
        needs = self.access.needs
        return tuple(s for need, more in given if need in needs for s in more)

    def _extra(self) -> Mapping[str, str]:
        """Return what the environment of git has for this host."""
        extra, access = self._access().extra, self.access
        if Need.FOLDER in access.needs or not access.by_http:
            return extra
        return {**extra, **NO_FOLDER}

    def _may_try_again(self, done: Done) -> bool:
        """Give a host that took nothing what it asked for: a length, another key."""
        if _LENGTH.search(done.err) and _CHUNKED.search(done.headers):
            return self.access.learn(Need.LENGTH)
        if done.kind is ErrorKind.TRUST and self.access.by_http:
            return self.access.learn(Need.FOLDER)
        return done.kind is ErrorKind.AUTH and self.access.other()

    def _access(self) -> Access:
        try:
            return self.access.access()
        except GitError as error:
            self._note_host(error.kind)
            raise

    def _note_host(self, failure: ErrorKind | None) -> None:
        answered = failure in REACHED
        if not self.access.url.local and (answered or failure in UNREACHED):
            self.git.limits.log.note_host(self.access.url.origin, answered)

    def error(self, done: Done, what: str) -> GitError:
        """Return why a command failed, in the host's words, with what to do."""
        done = self._with_words(what, done)
        failure, remedies = done.failure(what), self.access.access().remedies
        status = _STATUS.search(done.err)
        if status and status[1] in _REMEDIES and not failure.transient:
            failure = with_remedy(failure, {failure.kind: _REMEDIES[status[1]]})
        remedied = with_remedy(failure, remedies)
        more = advice(remedied, self._way(remedied.kind, done.headers))
        error = with_remedy(remedied, {remedied.kind: more})
        error.retry_after = asked_to_wait(done.headers, time.time())
        return error

    def _way(self, kind: ErrorKind, headers: str) -> Way:
        """Return how the host is reached, and what login it offers."""
        offered = _CHALLENGE.findall(headers) if kind is ErrorKind.AUTH else ()
        challenges = {name.lower() for name in offered}
        access = self.access
        return Way(access.url, access.tls, challenges, access.key)


def _lines(specs: Iterable[str]) -> bytes:
    return "".join(f"{s}\n" for s in specs).encode("utf-8", "surrogateescape")
