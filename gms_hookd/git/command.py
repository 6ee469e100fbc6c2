"""Runs git, and whatever else must be a process; the only user of subprocess.

A command gets an environment of its own, no terminal, a process group of its own which
is killed as a whole, and a cap on what it may print.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from gms_hookd.git.errors import ErrorKind
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.process import SHOWN, Done, Limits, execute
from gms_hookd.git.recovery import Journal
from gms_hookd.safetext import one_line

TRACED = 64 * 1024  # bytes of http headers that are looked into
TRACED_BODIES = 32 * 1024 * 1024  # bytes among which a host's answer is looked for
HEARD = late_pattern(rb"<= Recv (?:header|data): .*|=> Send header: [A-Z]+ \S+ HTTP/.*")
# Their addresses may hold a password: for commands that talk to another host only.
PROXIES = (
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
)  # fmt: skip
PASSED_ON = (
    "PATH", *PROXIES, "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ",
)  # fmt: skip
# git asks for authorities by names of its own.
TRUSTED = (("SSL_CERT_FILE", "GIT_SSL_CAINFO"), ("SSL_CERT_DIR", "GIT_SSL_CAPATH"))
ISOLATED = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ADVICE": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_CEILING_DIRECTORIES": "/",
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_LFS_SKIP_SMUDGE": "1",
}
# Given by environment, which a local receive-pack does not inherit: the hooks of a
# target are its owner's, those of a cache nobody's. What git does without being told is
# not said: each costs every git of a sync some time.
SETTINGS = (
    ("core.hooksPath", "/dev/null"),
    ("core.alternateRefsCommand", "exit 0 #"),
    ("core.fsync", "none"),  # a cache can be fetched again; see Cache.pin
    ("core.bigFileThreshold", "32m"),
    ("credential.helper", ""),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fetch.recurseSubmodules", "no"),
    ("fetch.unpackLimit", "1"),
    ("http.followRedirects", "false"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "128m"),
    ("safe.bareRepository", "explicit"),
    ("transfer.credentialsInUrl", "die"),
    ("transfer.fsckObjects", "true"),
)


def environment(
    inherited: Mapping[str, str], home: Path, name: str, protocols: Sequence[str]
) -> dict[str, str]:
    """Make the environment of a git command: nothing of the user, no prompt."""
    kept = {name: inherited[name] for name in PASSED_ON if name in inherited}
    own = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "GIT_CONFIG_GLOBAL": str(home / f"gitconfig-{name}"),
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
    }
    own |= {git: inherited[name] for name, git in TRUSTED if inherited.get(name)}
    return {"PATH": os.defpath, **kept, **ISOLATED, **own}


def configured(
    environ: Mapping[str, str], settings: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Add git settings to an environment: not in argv, not in a file.

    Those that are added later come later, and so outweigh others of the same key.
    """
    before = int(environ.get("GIT_CONFIG_COUNT", 0))
    given = {"GIT_CONFIG_COUNT": str(before + len(settings))}
    for number, (key, value) in enumerate(settings, before):
        given[f"GIT_CONFIG_KEY_{number}"] = key
        given[f"GIT_CONFIG_VALUE_{number}"] = value
    return {**environ, **given}


def uncounted(_command: str, _result: str) -> None:
    """Count no command."""


@dataclass(frozen=True, slots=True)
class GitCommand:
    """One command of git, by its arguments.

    settings and extra are configuration and environment of this command alone; a quiet
    one is not in the log. writing names the local repository that it changes, if not
    this one. With afar it may know of proxies, and ends when the host that it talks to
    is silent for too long; with http the header fields of what it says are there, too,
    and what comes after them with bodies; with protocol, which version of git's
    protocol is spoken. Of what it prints only lines like `lines` are kept.
    """

    args: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    stdin: bytes | None = None
    quiet: bool = False
    writing: str | None = None
    afar: bool = False
    http: bool = False
    bodies: bool = False
    protocol: bool = False
    lines: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class _Trace:
    """What git tells of the http headers that it sends and gets, in memory only.

    git masks the secrets in it, older ones not all: it is read here and never shown.
    With bodies it tells of these, too, and the first of it is read, not the last. With
    protocol it tells which version of git's protocol is spoken, and nothing of http.
    """

    file: int | None
    bodies: bool = False
    protocol: bool = False

    @property
    def kept(self) -> tuple[int, ...]:
        """Return the descriptor that git has to inherit."""
        return () if self.file is None else (self.file,)

    @property
    def environ(self) -> dict[str, str]:
        """Return what makes git write it: see git(1), and api-trace2 of git's docs."""
        if self.protocol:
            return {"GIT_TRACE2_EVENT": f"/dev/fd/{self.file}"}
        place = {"GIT_TRACE_CURL": f"/dev/fd/{self.file}"}
        less = {} if self.bodies else {"GIT_TRACE_CURL_NO_DATA": "1"}
        return {} if self.file is None else {**place, **less}

    def text(self) -> str:
        """Return the last of it, or the first of what a host says with bodies."""
        if self.file is None:
            return ""
        if self.bodies:
            whole = os.pread(self.file, TRACED_BODIES, 0)
            return b"\n".join(HEARD.findall(whole))[:TRACED].decode("utf-8", "replace")
        start = max(os.fstat(self.file).st_size - TRACED, 0)
        return os.pread(self.file, TRACED, start).decode("utf-8", "replace")


@contextlib.contextmanager
def _traced(http: bool, bodies: bool, protocol: bool) -> Iterator[_Trace]:
    """Give what makes one command of git trace its http headers, if it has any."""
    file = os.memfd_create("git-trace") if http or protocol else None
    trace = _Trace(file, bodies, protocol)
    try:
        yield trace
    finally:
        for file in trace.kept:
            os.close(file)


@dataclass(frozen=True, slots=True)
class Git:
    """git on one repository, for one run; its journal knows of each command.

    `count` is told each command that has ended, and its result: "ok", or the kind of
    its failure.
    """

    gitdir: Path
    environ: Mapping[str, str] = field(repr=False)
    limits: Limits
    journal: Journal
    binary: str = "git"
    count: Callable[[str, str], None] = uncounted

    def run(self, command: GitCommand) -> Done:
        """Run one command, whatever its exit status."""
        if not command.quiet:
            self._tell(command)
        done = self._execute(command)
        if command.writing and done.orderly:
            self.journal.written()
        if done.failed and self._outgrown():
            done = replace(done, ended=ErrorKind.SIZE)
        # A local command that comes to its own end says no with its status.
        good = not done.failed or (done.orderly and not command.afar)
        self.count(command.args[0], "ok" if good else done.kind.name.lower())
        return done

    def _tell(self, command: GitCommand) -> None:
        shown = one_line(shlex.join(("git", *command.args)), SHOWN)
        self.limits.log.line(f"$ {shown}")

    def _execute(self, command: GitCommand) -> Done:
        """Run it; what it traced of http is part of what is done."""
        with _traced(command.http, command.bodies, command.protocol) as trace:
            done = execute(
                (self.binary, f"--git-dir={self.gitdir}", *command.args),
                {**self._environ_of(command), **trace.environ},
                self.limits,
                stdin=command.stdin,
                quiet=command.quiet,
                started=partial(self.journal.started, writing=command.writing),
                stall=self.limits.stall if command.afar else None,
                keep=trace.kept,
                lines=command.lines,
            )
            return replace(done, headers=trace.text())

    def _environ_of(self, command: GitCommand) -> dict[str, str]:
        environ = {**self.environ, **command.extra}
        for name in () if command.afar else PROXIES:
            environ.pop(name, None)
        return configured(environ, command.settings)

    def _outgrown(self) -> bool:
        """Whether a pack met the limit, of which git says nothing."""
        limit = self.limits.file_size
        packs = (self.gitdir / "objects" / "pack").glob("tmp_pack_*")
        return limit is not None and any(p.stat().st_size >= limit for p in packs)

    def ask(self, *args: str, stdin: bytes | None = None, quiet: bool = True) -> bytes:
        """Run one local command that must succeed, and give what it printed."""
        done = self.run(GitCommand(args, stdin=stdin, quiet=quiet))
        if done.failed:
            raise done.failure(args[0])
        return done.out
