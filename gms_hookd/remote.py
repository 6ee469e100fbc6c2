"""What is asked of another repository: its refs, its objects, and to take ours."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gms_hookd import porcelain
from gms_hookd.git import Git
from gms_hookd.giterror import GitError
from gms_hookd.plan import Move
from gms_hookd.porcelain import Pushed

STDIN_FROM = 50  # refspecs; more go through a pipe
ARGV_ROOM = 1_000_000  # bytes of arguments in one push, where the system has room


@dataclass(frozen=True, slots=True)
class Report:
    """What a push said of each ref, and the error that ended it, if one did."""

    lines: Mapping[str, Pushed]
    error: GitError | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """Another repository, with what it takes to get in; secrets only in here."""

    git: Git
    url: str
    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)

    def fetch(self, specs: Sequence[str], *options: str) -> None:
        """Bring refs and objects into the cache; raises GitError."""
        piped = len(specs) > STDIN_FROM
        done = self.git.run(
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
            settings=self.settings,
            extra=self.extra,
            stdin=_lines(specs) if piped else None,
        )
        if done.status or done.ended:
            raise done.failure("fetch")

    def within(self, deadline: float) -> "Remote":
        """Give it another end of time (time.monotonic)."""
        limits = replace(self.git.limits, deadline=deadline)
        return replace(self, git=replace(self.git, limits=limits))

    def refs(self, *options: str) -> dict[str, str]:
        """Read its refs, without peeled tags; raises GitError."""
        out = self._ask("--refs", *options, "--end-of-options", self.url)
        return dict(porcelain.refs(out))

    def head(self) -> str | None:
        """Name its default branch; None where it has none, or does not say."""
        out = self._ask("--symref", "--end-of-options", self.url, "HEAD")
        return porcelain.symref(out)

    def push(self, moves: Sequence[Move]) -> Report:
        """Carry out moves, each under a lease on the object id it replaces."""
        lines: dict[str, Pushed] = {}
        for part in _parts(moves):
            report = self._push(part)
            lines.update(report.lines)
            if report.error:
                return Report(lines, report.error)
        return Report(lines)

    def _push(self, moves: Sequence[Move]) -> Report:
        done = self.git.run(
            "push",
            "--progress",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--recurse-submodules=no",
            *(f"--force-with-lease={m.ref}:{m.old or ''}" for m in moves),
            "--end-of-options",
            self.url,
            *(f"{m.new or ''}:{m.ref}" for m in moves),
            settings=self.settings,
            extra=self.extra,
        )
        lines = {line.ref: line for line in porcelain.pushed(done.out)}
        broken = done.ended or (done.status and b"\nDone\n" not in b"\n" + done.out)
        return Report(lines, done.failure("push") if broken else None)

    def _ask(self, *args: str) -> bytes:
        done = self.git.run(
            "ls-remote", *args, settings=self.settings, extra=self.extra
        )
        if done.status or done.ended:
            raise done.failure("ls-remote")
        return done.out


def _lines(specs: Iterable[str]) -> bytes:
    return "".join(f"{s}\n" for s in specs).encode("utf-8", "surrogateescape")


def _parts(moves: Sequence[Move]) -> Iterator[list[Move]]:
    room = min(ARGV_ROOM, os.sysconf("SC_ARG_MAX") // 2)
    part: list[Move] = []
    used = 0
    for move in moves:
        size = 2 * len(os.fsencode(move.ref)) + 220
        if part and used + size > room:
            yield part
            part, used = [], 0
        part.append(move)
        used += size
    if part:
        yield part
