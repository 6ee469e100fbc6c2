"""What a push asks of another repository, under leases, and what that says to it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from gms_hookd.git.command import GitCommand
from gms_hookd.git.errors import Diagnosis, GitError, refusal
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.process import Done
from gms_hookd.git.refs import Pushed, is_maintained, is_self_contained, parse_pushed
from gms_hookd.git.remote import PUSH_NOTHING, Remote

PUSH = (
    "push", "--progress", "--porcelain", "--no-verify", "--no-follow-tags",
    "--recurse-submodules=no",
)  # fmt: skip
NO_MAINTENANCE = "receive.autoGC=false"
# git runs it as it is, without a shell; by its own it starts another git.
NO_ALTERNATES = "core.alternateRefsCommand=true"
_REF = late_pattern(r"(?<![\w/.-])refs/[^\s'\"`()<>:;,!?]+")
# receive-pack's words (check_aliased_update_internal); it takes neither of the two.
_ALIASED = late_pattern(
    r"refusing inconsistent update between symref '([^']+)' \([^)]*\)"
    r" and its target '([^']+)'"
)
_DIED = late_pattern(r"(?m)^fatal: ")
_UNWRITABLE = "unable to create temporary object directory"  # receive-pack's words
# Refs in one push. git compares each with every ref of the target, where it has a lease
# or goes by http: 2000 take it 3 s, in which a host may hang up. And a host that runs a
# hook for each says nothing until the last is done (gitolite: 88 ms a ref).
AT_ONCE = 500
AT_ONCE_HERE = 5000  # by glob on this machine, where each push reads all refs
WHOLE = 2000  # in one push under leases: execve(2) takes 2 MiB, and names are long
T = TypeVar("T")


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

    refusals tell why the host refused some, in its own words; named are the refs that
    it speaks of; symrefs are the symbolic ones of those that were pushed, by what each
    stands for, where both were to have tips of their own. taken_as names the refs that
    the host has put in the place of others (report-status-v2 in gitprotocol-pack).
    """

    lines: Mapping[str, Pushed]
    error: GitError | None = None
    refusals: Mapping[str, Diagnosis] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    symrefs: Mapping[str, str] = field(default_factory=dict)
    taken_as: Mapping[str, str] = field(default_factory=dict)

    def followed_by(self, other: "Report") -> "Report":
        """Return the report of two pushes."""
        return Report(
            {**self.lines, **other.lines},
            self.error or other.error,
            {**self.refusals, **other.refusals},
            self.named | other.named,
            {**self.symrefs, **other.symrefs},
            {**self.taken_as, **other.taken_as},
        )


def push(remote: Remote, moves: Sequence[RefUpdate], *options: str) -> Report:
    """Carry out moves at once, each under a lease on the object id it replaces."""
    leases = [f"--force-with-lease={m.ref}:{m.old or ''}" for m in moves]
    specs = [f"{m.new or ''}:{m.ref}" for m in moves]
    return push_specs(remote, specs, [m.ref for m in moves], (*options, *leases))


def in_parts(
    pushed: Sequence[T], push: Callable[[Sequence[T]], Report], at_once: int = 0
) -> Report:
    """Push as many at once as a host is asked to take, up to the first error."""
    whole = Report({})
    for part in pushes(pushed, at_once):
        whole = whole.followed_by(push(part))
        if whole.error:
            break
    return whole


def pushes(pushed: Sequence[T], at_once: int = 0) -> Iterator[Sequence[T]]:
    """Return what a host is asked to take at once, one after the other."""
    size = at_once or AT_ONCE
    return (pushed[n : n + size] for n in range(0, len(pushed), size))


def sees(remote: Remote, moves: Sequence[RefUpdate]) -> set[str]:
    """Return those of these refs that a push finds there; raises GitError.

    A host may hide from who reads what it shows to who writes.
    """
    return {ref for some in pushes(moves) for ref in _seen(remote, some)}


def _seen(remote: Remote, moves: Sequence[RefUpdate]) -> Iterator[str]:
    specs = [f"+{m.new}:{m.ref}" for m in moves]
    args = (*PUSH_NOTHING, "--end-of-options", remote.url, *specs)
    done = remote.run(GitCommand(args))
    lines = list(parse_pushed(done.out))
    if done.failed and not lines:
        raise remote.error(done, "push")
    return (line.ref for line in lines if line.flag != "*")


def push_specs(
    remote: Remote,
    specs: Sequence[str],
    refs: Iterable[str],
    options: Sequence[str] = (),
) -> Report:
    """Push by refspecs, which may be globs, these refs, and nothing else.

    Without force git itself refuses all that would lose something, on the refs as
    it reads them then; a lease for each of many refs would cost their square.
    """
    pushed_options = (f"--push-option={option}" for option in remote.push_options)
    given = (*PUSH, *pushed_options, *options, *_receive_pack(remote))
    writing = remote.access.url.path if remote.access.url.local else None
    args = (*given, "--end-of-options", remote.url, *specs)
    return _report(remote, remote.run(GitCommand(args, writing=writing)), specs, refs)


def _report(
    remote: Remote, done: Done, specs: Iterable[str], refs: Iterable[str]
) -> Report:
    said = list(parse_pushed(done.out))
    lines, taken_as = {line.ref: line for line in said}, _taken_as(said, specs)
    broken = _broken(done, lines.values(), set(refs) - taken_as.keys())
    error = remote.error(_told(done, lines), "push") if broken else None
    refused = [line for line in lines.values() if line.by_host]
    whys = {line.ref: refusal(line.reason, done.err) for line in refused}
    refusals = {ref: _with_check(remote, why) for ref, why in whys.items()}
    told = dict(_ALIASED.findall(done.err))
    return Report(lines, error, refusals, _named(done.err), told, taken_as)


def _with_check(remote: Remote, why: Diagnosis) -> Diagnosis:
    """Name the command that finds what may not be written on this machine."""
    if not (remote.access.url.local and _UNWRITABLE in why.words):
        return why
    return replace(why, words=f"{why.words}: see `gms-hookd check`")


def _receive_pack(remote: Remote) -> tuple[str, ...]:
    """Spare a target on this machine the looks that would find nothing."""
    path = remote.access.url.path if remote.access.url.local else ""
    looks = (NO_MAINTENANCE, is_maintained), (NO_ALTERNATES, is_self_contained)
    spared = "".join(f"-c {s} " for s, needless in looks if path and needless(path))
    return (f"--receive-pack=git {spared}receive-pack",) if spared else ()


def _broken(done: Done, lines: Iterable[Pushed], refs: Iterable[str]) -> bool:
    """Whether a push ended before the target had said what became of each ref.

    git ends a push with "Done" even if its request failed; without it a git here died,
    or the target did not take the objects, which alone is said of each ref.
    """
    reported = {line.ref for line in lines if line.known}
    died = b"\nDone\n" not in b"\n" + done.out and _DIED.search(done.err)
    unpacked = any(line.flag == "!" for line in lines)  # or why has it failed
    whole = unpacked and not died and reported.issuperset(refs)
    return done.failed and (done.ended is not None or not whole)


def _taken_as(lines: Collection[Pushed], specs: Iterable[str]) -> dict[str, str]:
    """Return the refs of which a host speaks by another name: ref -> that name."""
    asked = {ref: origin for origin, _, ref in (s.partition(":") for s in specs)}
    strange = {line.origin: line.ref for line in lines if line.ref not in asked}
    told = {line.ref for line in lines} if strange else asked.keys()
    found = ((ref, strange.get(asked[ref])) for ref in asked.keys() - told)
    return {ref: name for ref, name in found if name}


def _told(done: Done, lines: Mapping[str, Pushed]) -> Done:
    """Return it with what git says of refs of which the host said nothing."""
    unsaid = {line.reason for line in lines.values() if not line.known}
    told = "".join(f"error: {reason}\n" for reason in sorted(unsaid) if reason)
    return replace(done, err=done.err + told)


def _named(stderr: str) -> frozenset[str]:
    """Name the refs that a host speaks of in its own words."""
    said = "\n".join(t for t in stderr.split("\n") if t.startswith("remote: "))
    return frozenset(name.rstrip(".") for name in _REF.findall(said))
