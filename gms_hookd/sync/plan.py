"""What to do to each ref of a target: a pure decision over three views of it.

The views are what the source has now, what the target has (read, or remembered from
our last push), and what we last pushed. Nothing is overwritten or deleted but under a
rule that says so; what the target alone has is a conflict.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gms_hookd.git.cache import Ancestry
from gms_hookd.git.errors import TRANSIENT, Diagnosis
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.refs import Pushed
from gms_hookd.git.refspec import Selection, WantedRef
from gms_hookd.model import RefResult

HELD_DELETIONS = 5  # a run that deletes more, and more than half, waits for a human
BEYOND = "it is not what was to be deleted when that was confirmed"
TWIN = (
    "it may be an alias of {}, which has the same tip, and the target does not tell:"
    " by ssh it does with AcceptEnv GIT_PROTOCOL in its sshd_config"
)
UNSAID = "the target did not say"
# By http git has no words for a host that does not offer to delete (delete-refs).
NO_DELETION = "refused without a reason: the host may let no ref be deleted"
CIRCLE = "an alias at the target that leads to itself"
UNCHANGED_LISTED = 200  # refs
_KEPT = late_pattern(r"deletion of the current branch|delete the current branch")
# What hooks of GitLab, Gitea and others say for the same, of a whole push.
_DEFAULT = late_pattern(
    r"default branch.{0,60}delet|delet.{0,60}default branch"
    r"|默认分支.{0,20}删除|删除.{0,20}默认分支",
    re.IGNORECASE,
)
_RACE = late_pattern(
    r"lock ref|failed to lock|failed to update ref|old value|already exists"
    r"|reference does not exist|fetch first|failed to report|aliased update"
    r"|atomic \w+ fail"
)
# As the host's git says it of a ref that is not as the push was told (files-backend.c).
_MOVED = late_pattern(
    r"unable to resolve reference|is at \S+ but expected|reference already exists"
)
# What git itself says of one ref, and of no other in the same push (receive-pack.c).
_OF_ONE = late_pattern(
    r"hook declined|deny updating a hidden ref|funny refname|bad ref|missing necessary"
    r"|branch is currently checked out|deletion |denying |non-fast-forward|refusing "
    r"|broken symref|inconsistent aliased|invalid |failed to |shallow update"
)
_WORDS = {
    Ancestry.AHEAD: "git wants force for this kind of ref",
    Ancestry.BEHIND: "the source is behind the target",
    Ancestry.DIVERGED: "source and target have diverged",
    Ancestry.UNSEEN: "the target has commits that the source has not",
}
_OTHER_TAG = "the tag is another one at the source"


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be done, or was done, to one ref of the target."""

    ref: str
    result: RefResult
    old: str | None
    new: str | None
    reason: str | None = None
    conflict: bool = False
    transient: bool = False
    alias: str | None = None  # the ref that this one, a symbolic one, stands for
    unknown: bool = False  # whether it may have arrived all the same
    declined: bool = False  # whether the target would not have it

    @property
    def acts(self) -> bool:
        """Whether it changes the target."""
        return self.result not in (RefResult.UNCHANGED, RefResult.REJECTED)


@dataclass(frozen=True, slots=True)
class Views:
    """What is known when the decision is taken; target ref -> object id.

    symrefs are the symbolic refs of the target, and the refs that they stand for: a
    push to one would move the other, and a deletion would delete the other. blind: the
    target does not tell them, so refs with one tip may be one ref.
    """

    wanted: Mapping[str, WantedRef]
    target: Mapping[str, str]
    known: Mapping[str, str]
    prune: bool
    selection: Selection
    empty: bool = False
    symrefs: Mapping[str, str] = field(default_factory=dict)
    blind: bool = False

    def with_symrefs(self, more: Mapping[str, str]) -> "Views":
        """Return it with symbolic refs that were found later."""
        return replace(self, symrefs={**self.symrefs, **more}) if more else self

    @property
    def changing(self) -> list[str]:
        """The wanted refs that the target has not, or has otherwise."""
        target = self.target
        return [r for r, want in self.wanted.items() if target.get(r) != want.oid]

    @property
    def selected(self) -> dict[str, str]:
        """The refs of the target that the task may touch."""
        return {
            ref: oid
            for ref, oid in self.target.items()
            if ref in self.wanted or self.selection.origin(ref) is not None
        }


def pairs(views: Views) -> list[tuple[str, str]]:
    """Name the (old, new) objects whose kinship the decision needs."""
    found = {
        (views.target[ref], views.wanted[ref].oid): None
        for ref in views.changing
        if ref in views.target and not _immutable(ref, views.wanted[ref])
        if ref not in views.symrefs
    }
    return list(found)


def decide(views: Views, kin: Mapping[tuple[str, str], Ancestry]) -> tuple[Move, ...]:
    """Class every selected ref; of very many, only those that are not as wanted."""
    every = len(views.wanted) <= UNCHANGED_LISTED
    named = sorted(views.wanted if every else views.changing)
    plain = (ref for ref in named if ref not in views.symrefs)
    moves = [_move(ref, views.wanted[ref], views, kin) for ref in plain]
    if views.prune:
        moves += [_deletion(ref, old, views) for ref, old in _gone(views)]
    else:
        moves += _missing(views)
    return with_aliases(without_harm(moves, views), views)


def without_harm(moves: Iterable[Move], views: Views) -> list[Move]:
    """Refuse what other refs stand against, and deletions that may delete others."""
    return _undoubted(list(_unobstructed(moves, views)), views)


def doubtful(moves: Iterable[Move], views: Views) -> dict[str, str]:
    """Return the refs that cannot be told from others: ref -> one of those.

    A move of theirs would move the other one, too, if one is an alias of the other; and
    the other one is not to be moved so.
    """
    if not views.blind:
        return {}
    acting = [m for m in moves if m.acts]
    after = {**views.target, **{m.ref: m.new for m in acting}}
    ends: dict[str, dict[str | None, str]] = {m.old: {} for m in acting if m.old}
    for ref, oid in views.target.items():
        if oid in ends:
            ends[oid].setdefault(after[ref], ref)
    found = ((m.ref, _other_end(m, ends.get(m.old or "", {}))) for m in acting)
    return {ref: other for ref, other in found if other}


def _other_end(move: Move, ends: Mapping[str | None, str]) -> str | None:
    """Return a ref with the same tip that is to end elsewhere than this one."""
    return next((ref for end, ref in ends.items() if end != move.new), None)


def _undoubted(moves: list[Move], views: Views) -> list[Move]:
    """Refuse deletions that may delete another ref, too.

    Once that other ref has moved, and this one has not, it will be deleted.
    """
    found = doubtful(moves, views)
    return [
        replace(refused(m, TWIN.format(found[m.ref])), conflict=True)
        if m.result is RefResult.DELETED and m.ref in found
        else m
        for m in moves
    ]


def moved_along(
    done: Sequence[Move], now: Mapping[str, str], moves: Sequence[Move], views: Views
) -> dict[str, str]:
    """Return the refs whose move has moved another: ref -> that one.

    A known alias is to move with the ref that it stands for.
    """
    after = {m.ref: m.new for m in moves if m.acts}
    tips: dict[str, list[str]] = {}
    for ref, oid in now.items():
        tips.setdefault(oid, []).append(ref)
    found = {}
    for move in done:
        along = (
            ref
            for ref in (tips.get(move.new or "", ()) if move.acts else ())
            if ref != move.ref and after.get(ref) != move.new
            if views.target.get(ref) == move.old
            if stands_for(ref, views.symrefs) != move.ref
        )
        if other := next(along, None):
            found[move.ref] = other
    return found


def with_aliases(moves: Iterable[Move], views: Views) -> tuple[Move, ...]:
    """Judge the target's symbolic refs by what these moves make of their refs.

    What was said of them before, when that was still to come, is replaced.
    """
    plain = [m for m in moves if m.ref not in views.symrefs]
    found = {m.ref: m for m in plain}
    selected = (
        ref
        for ref in sorted(views.symrefs)
        if ref in views.wanted or (views.prune and views.selection.origin(ref))
    )
    return (*plain, *(_alias(ref, found, views) for ref in selected))


def _alias(ref: str, moves: Mapping[str, Move], views: Views) -> Move:
    real = stands_for(ref, views.symrefs)
    move = moves.get(real)
    there = views.target.get(real, views.target.get(ref))
    tip = move.new if move and move.acts else there
    want = views.wanted.get(ref)
    reason = CIRCLE if real in views.symrefs else an_alias(real)
    if want and tip == want.oid:
        return Move(ref, RefResult.UNCHANGED, tip, tip, reason, alias=real)
    old, new = views.target.get(ref), want.oid if want else None
    return Move(ref, RefResult.REJECTED, old, new, reason, conflict=True, alias=real)


def an_alias(real: str) -> str:
    """Return the words for a symbolic ref of the target."""
    return f"an alias of {real} at the target"


def made_through(alias: str) -> str:
    """Return the words for a ref that a push to an alias of it has made."""
    return f"created with {alias}, an alias of it"


def stands_for(ref: str, symrefs: Mapping[str, str]) -> str:
    """Return the ref that a symbolic one leads to, through others where need be."""
    for _ in symrefs:
        ref = symrefs.get(ref, ref)
    return ref


def held(moves: Iterable[Move], views: Views) -> str:
    """Say why a human should look at the plan first, "" if none need."""
    if not views.wanted and (views.empty or views.prune):
        return "the source has none of the selected refs"
    deleted = sum(m.result is RefResult.DELETED for m in moves)
    selected = len(views.selected) if deleted > HELD_DELETIONS else 0
    if deleted > HELD_DELETIONS and 2 * deleted > selected:
        return f"{deleted} of the {selected} selected refs would be deleted"
    return ""


def deletions(moves: Iterable[Move]) -> dict[str, str]:
    """Return what would be deleted: ref -> the object id that it has."""
    gone = (m for m in moves if m.result is RefResult.DELETED)
    return {m.ref: m.old for m in gone if m.old}


def within(
    moves: Sequence[Move], confirmed: Mapping[str, str] | None
) -> tuple[Move, ...]:
    """Refuse the deletions beyond those that were confirmed, if any had to be."""
    if confirmed is None:
        return tuple(moves)
    beyond = deletions(moves).items() - confirmed.items()
    return tuple(
        replace(refused(m, BEYOND), conflict=True) if (m.ref, m.old) in beyond else m
        for m in moves
    )


def judged(
    move: Move,
    line: Pushed | None,
    why: Diagnosis | None = None,
    *,
    alone: bool = False,
) -> tuple[Move, bool]:
    """Read what became of a move; False where the target must be looked at again.

    why is what the host refused it for, if it did; alone, that nothing else was pushed
    that its words may be about.
    """
    if line is None:
        return replace(move, reason=UNSAID), False
    if line.flag in " +*-":
        return move, True
    if line.flag == "=":
        return replace(move, result=RefResult.UNCHANGED, old=move.new), True
    default = alone and move.new is None and _DEFAULT.search(str(why or ""))
    if default or _KEPT.search(line.reason):
        reason = "kept: it is the target's default branch"
        kept = Move(move.ref, RefResult.UNCHANGED, move.old, move.old, reason)
        return replace(kept, declined=True), True
    return _declined(move, line, why)


def _declined(move: Move, line: Pushed, why: Diagnosis | None) -> tuple[Move, bool]:
    passing = why is not None and why.kind in TRANSIENT
    race = _RACE.search(line.reason)
    words = why.words if why else ""
    if passing and race and (not words or _MOVED.search(words)):  # a look tells which
        return replace(move, reason=str(why), transient=True), False
    if move.new is None and not line.reason:
        return replace(refused(move, NO_DELETION), declined=True), True
    would_not = "[remote rejected]" in line.summary and not race
    if passing or would_not:
        verdict = refused(move, str(why or line.reason), transient=passing)
        return replace(verdict, declined=not passing), True
    return replace(move, reason=line.reason), False


def judged_together(
    verdicts: Iterable[Move], lines: Mapping[str, Pushed]
) -> list[Move]:
    """Return the moves that a target may have declined for the sake of one of them.

    Empty unless there are several, and nothing of the same push was taken.
    """
    moves = list(verdicts)
    if any(m.acts for m in moves):
        return []
    declined = (m for m in moves if m.result is RefResult.REJECTED and m.declined)
    together = [m for m in declined if not _OF_ONE.match(lines[m.ref].reason)]
    return together if len(together) > 1 else []


def refused(
    move: Move, reason: str, *, transient: bool = False, unknown: bool = False
) -> Move:
    """Make it a move that was not carried out."""
    return replace(
        move,
        result=RefResult.REJECTED,
        reason=reason,
        transient=transient,
        unknown=unknown,
    )


def wants_force(move: Move) -> bool:
    """Return whether a move was refused only because its task may not force it."""
    return (move.reason or "").startswith((*_WORDS.values(), _OTHER_TAG))


def _immutable(ref: str, want: WantedRef) -> bool:
    return ref.startswith("refs/tags/") and not want.force


def _move(
    ref: str, want: WantedRef, views: Views, kin: Mapping[tuple[str, str], Ancestry]
) -> Move:
    old = views.target.get(ref)
    if old == want.oid:
        return Move(ref, RefResult.UNCHANGED, old, old)
    if old is None:
        return Move(ref, RefResult.CREATED, None, want.oid)
    if _immutable(ref, want):
        return _refusal(ref, old, want, _OTHER_TAG)
    relation = kin[old, want.oid]
    if relation is Ancestry.AHEAD and not ref.startswith("refs/tags/"):
        return Move(ref, RefResult.UPDATED, old, want.oid)
    if want.force:
        return Move(ref, RefResult.FORCED, old, want.oid)
    return _refusal(ref, old, want, _why(relation, old, views.known.get(ref)))


def _refusal(ref: str, old: str, want: WantedRef, reason: str) -> Move:
    return Move(ref, RefResult.REJECTED, old, want.oid, reason, conflict=True)


def _why(relation: Ancestry, old: str, known: str | None) -> str:
    if not known:
        return _WORDS[relation]
    who = "the source was rewound" if old == known else "someone moved the target"
    return f"{_WORDS[relation]} ({who} since our last push)"


def _gone(views: Views) -> list[tuple[str, str]]:
    return sorted(
        (ref, oid)
        for ref, oid in views.target.items()
        if ref not in views.wanted and views.selection.origin(ref) is not None
        if ref not in views.symrefs
    )


def _unobstructed(moves: Iterable[Move], views: Views) -> Iterator[Move]:
    """Refuse refs that files and folders of the target's other refs stand against."""
    made = list(moves)
    if not any(m.result is RefResult.CREATED for m in made):
        yield from made
        return
    gone = {m.ref for m in made if m.result is RefResult.DELETED}
    there = views.target.keys() - gone
    taken = {f for ref in there for f in folders(ref)}
    for move in made:
        bars = [f for f in folders(move.ref) if f in there]
        barred = move.result is RefResult.CREATED and (bars or move.ref in taken)
        yield _barred(move, bars) if barred else move


def _barred(move: Move, bars: Sequence[str]) -> Move:
    what = bars[0] if bars else f"{move.ref}/..."
    reason = f"{what} of the target stands in its way, and is not to be deleted"
    return replace(move, result=RefResult.REJECTED, reason=reason, conflict=True)


def folders(ref: str) -> list[str]:
    """Return the names of refs that cannot be beside this one, as folders of its."""
    parts = ref.split("/")
    return ["/".join(parts[:n]) for n in range(3, len(parts))]


def _missing(views: Views) -> list[Move]:
    return [
        Move(
            ref,
            RefResult.REJECTED,
            views.target.get(ref),
            None,
            f"the source has no {src}",
        )
        for ref, src in views.selection.exact.items()
        if ref not in views.wanted
    ]


def _deletion(ref: str, old: str, views: Views) -> Move:
    known = views.known.get(ref, old)
    if old != known and not views.selection.force:
        reason = "gone at the source, but moved at the target by someone else"
        return Move(ref, RefResult.REJECTED, old, None, reason, conflict=True)
    if alias := alias_of(ref, views):
        reason = f"{alias} is an alias of it at the target"
        return Move(ref, RefResult.REJECTED, old, None, reason, conflict=True)
    return Move(ref, RefResult.DELETED, old, None)


def alias_of(ref: str, views: Views) -> str | None:
    """Return a symbolic ref that would be gone with this one.

    What points nowhere is told by no protocol, and a push to it makes what it names.
    """
    names = sorted(views.symrefs)
    return next((a for a in names if stands_for(a, views.symrefs) == ref), None)
