"""Which refs a task selects, under which names: git's own notation, read strictly."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

CACHED = "refs/src/"  # where a cache keeps what its source serves
MIRROR = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
FEW = 100  # refs that are looked for by name in each line
MANY_TIPS = 1000  # object ids that are looked for in each line
FORGES_OWN = (
    "pull", "pull-requests", "merge-requests", "keep-around", "environments",
    "pipelines", "changes",
)  # fmt: skip
# Of the surrogates, those that stand for a byte which is no UTF-8 are taken.
_FORBIDDEN = re.compile(
    r"[\x00-\x20\x7f~^:?\[\\\ud800-\udc7f\udd00-\udfff]|\.\.|@\{|//"
)


@dataclass(frozen=True, slots=True)
class Refspec:
    """One rule: refs like src go to dst; a negative one takes refs like src out."""

    src: str
    dst: str
    force: bool = False
    negative: bool = False

    @property
    def glob(self) -> bool:
        """Whether it stands for any number of refs."""
        return "*" in self.src

    def mapped(
        self, source: Mapping[str, str], spared: Collection[str], *, force: bool
    ) -> dict[str, "WantedRef"]:
        """Map the refs that are like src, ref -> oid, to the target's names."""
        forced = force or self.force
        head, star, tail = self.src.partition("*")
        if not star:
            oid = None if self.src in spared else source.get(self.src)
            return {self.dst: WantedRef(oid, forced, self.src)} if oid else {}
        shortest, start, stop = len(self.src) - 1, len(head), -len(tail) or None
        before, _, after = self.dst.partition("*")
        return {
            before + ref[start:stop] + after: WantedRef(oid, forced, ref)
            for ref, oid in source.items()
            if ref.startswith(head) and ref.endswith(tail) and len(ref) >= shortest
            if ref not in spared
        }

    def covers(self, target: str) -> bool:
        """Whether a ref of the target is one that it writes."""
        return _match(self.dst, target) is not None


class WantedRef(NamedTuple):
    """What a ref of the target should be: which object, and whether by force."""

    oid: str
    force: bool
    source: str


def stored(ref: str) -> str:
    """Name the ref of a cache that holds one of the source."""
    return CACHED + ref.removeprefix("refs/")


def valid_ref(name: str) -> bool:
    """Whether git takes it as a ref name; none of its parts may look like an option."""
    if _FORBIDDEN.search(name) or name.endswith(("/", ".")) or name == "@":
        return False
    parts = name.split("/")
    return all(p and p[0] not in ".-" and not p.endswith(".lock") for p in parts)


def parse(text: str) -> Refspec:
    """Read [+]SRC[:DST] or ^SRC; ValueError says what is wrong with it."""
    if text.startswith("^"):
        return Refspec(_side(text, text[1:]), "", negative=True)
    src, colon, dst = text.removeprefix("+").partition(":")
    if not src or (colon and not dst):
        raise ValueError(f"refspec {text[:200]!r} has an empty side")
    if src == "HEAD" and not colon:
        raise ValueError("refspec 'HEAD' needs a name at the target: HEAD:refs/heads/x")
    spec = Refspec(_side(text, src), _side(text, dst or src), text.startswith("+"))
    if spec.src.count("*") != spec.dst.count("*"):
        raise ValueError(f"refspec {text[:200]!r} has '*' on one side only")
    return spec


def branch(text: str) -> str:
    """Turn SRC[:DST], two branch names, into a refspec."""
    src, colon, dst = text.removeprefix("+").partition(":")
    plus = "+" if text.startswith("+") else ""
    names = [n.removeprefix("refs/heads/") for n in (src, dst or src)]
    spec = "{}refs/heads/{}:refs/heads/{}".format(plus, *names)
    if "*" in spec or not all(names) or (colon and not dst):
        raise ValueError(f"{text[:200]!r} is not one branch: --refspec takes patterns")
    parse(spec)
    return spec


def _side(text: str, name: str) -> str:
    full = name if name == "HEAD" or name.startswith("refs/") else _qualified(name)
    if full.count("*") > 1:
        raise ValueError(f"refspec {text[:200]!r} has more than one '*' on a side")
    if full != "HEAD" and not (full.count("/") > 1 or full == "refs/*"):
        raise ValueError(f"refspec {text[:200]!r} names no ref below refs/")
    if not valid_ref(full.replace("*", "x")):
        raise ValueError(f"refspec {text[:200]!r} has a name that git does not take")
    return full


def _qualified(name: str) -> str:
    kind = "refs/" if name.startswith(("heads/", "tags/")) else "refs/heads/"
    return kind + name


def _match(pattern: str, ref: str) -> str | None:
    """Give what '*' stands for, "" for an exact match, None for no match."""
    head, star, tail = pattern.partition("*")
    if not star:
        return "" if ref == pattern else None
    long_enough = len(ref) >= len(head) + len(tail)
    if long_enough and ref.startswith(head) and ref.endswith(tail):
        return ref[len(head) : len(ref) - len(tail)]
    return None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which refs a repository is asked for: options of ls-remote, lines of its answer.

    By protocol v2 the options keep a host from sending any others; lines keep what else
    is sent from being kept, and counted.
    """

    options: tuple[str, ...] = ()
    lines: re.Pattern[bytes] | None = None


def with_tips(oids: Collection[str]) -> Scope:
    """Ask for refs of any name that have one of these object ids."""
    if len(oids) > MANY_TIPS:
        return Scope()
    return Scope(lines=re.compile(rf"(?m)^(?:{'|'.join(oids)})\t.*$".encode()))


def named(refs: Collection[str]) -> Scope:
    """Ask for these refs; where they are many, for all of their kinds."""
    kinds = dict.fromkeys(f"refs/{ref.split('/')[1]}/*" for ref in refs)
    return _scope(refs if len(refs) <= FEW else kinds, ())


def _scope(
    names: Iterable[str], foreign: Iterable[str], *, around: bool = False
) -> Scope:
    """Ask for refs like these names, but for foreign folders.

    With around also for those that are folders of such a ref, or within it.
    """
    wanted = [name for name in names if name != "HEAD"]
    kinds = {name.split("/")[1] for name in wanted}
    narrow = wanted and kinds <= {"heads", "tags"}
    options = tuple(f"--{kind}" for kind in sorted(kinds)) if narrow else ()
    if narrow and all(name.endswith(f"/{name.split('/')[1]}/*") for name in wanted):
        return Scope(options)
    parts = dict.fromkeys(part for name in wanted for part in _like(name, around))
    return Scope(options, _lines_like(parts, foreign))


def _lines_like(parts: Iterable[str], foreign: Iterable[str]) -> re.Pattern[bytes]:
    spared = "".join(f"(?!{re.escape(folder)})" for folder in foreign)
    alike = "|".join(parts) or "(?!)"
    # What is told of symbolic refs is kept of any that stands for one of these.
    text = rf"(?m)^(?:[^\t\n]*\t{spared}(?:{alike})|ref: (?:{alike})\t.*)$"
    return re.compile(text.encode("utf-8", "surrogateescape"))


def _like(name: str, around: bool) -> Iterator[str]:
    head, star, tail = name.partition("*")
    if not around:
        yield re.escape(head) + (".*" if star else "") + re.escape(tail)
        return
    yield re.escape(head) + (".*" if star else "(?:/.*)?")
    folders = head.split("/")[:-1]
    yield from (re.escape("/".join(folders[:n])) for n in range(3, len(folders) + 1))


@dataclass(frozen=True, slots=True)
class Selection:
    """The refspecs of one task, taken together."""

    specs: tuple[Refspec, ...]
    negatives: tuple[str, ...]
    force: bool

    @property
    def single(self) -> Refspec | None:
        """The one exact refspec, where that is all there is."""
        one = len(self.specs) == 1 and not self.specs[0].glob
        return self.specs[0] if one else None

    @property
    def only_globs(self) -> bool:
        """Whether no ref is named in full."""
        return all(s.glob for s in self.specs)

    def takes(self, source: str) -> bool:
        """Whether a ref of the source is selected."""
        found = any(_match(s.src, source) is not None for s in self.specs)
        return found and not self._spared(source)

    @property
    def takes_head(self) -> bool:
        """Whether the source's HEAD is asked for by this name."""
        return any(s.src == "HEAD" for s in self.specs)

    @property
    def exact(self) -> dict[str, str]:
        """The refs that are named in full: target's name -> source's name."""
        return {s.dst: s.src for s in self.specs if not s.glob}

    @property
    def at_source(self) -> Scope:
        """Return what to ask a source for."""
        return _scope([s.src for s in self.specs], self._foreign)

    def at_target(self, more: Iterable[str] = ()) -> Scope:
        """Return what to ask a target for: what may stand in the way, and more refs."""
        alike = all(s.src == s.dst for s in self.specs)
        names = [*(s.dst for s in self.specs), *more]
        return _scope(names, self._foreign if alike else (), around=True)

    @property
    def _foreign(self) -> tuple[str, ...]:
        """Return the folders of refs that are left out as a whole."""
        whole = (n for n in self.negatives if re.fullmatch(r"refs/[^/*]+/\*", n))
        return tuple(n.removesuffix("*") for n in whole)

    def wanted(self, source: Mapping[str, str]) -> dict[str, WantedRef]:
        """Map what the source has, ref -> oid, to what the target should have.

        Raises ValueError where two refs of the source claim one of the target.
        """
        spared = {r for r in source if self._spared(r)} if self.negatives else set()
        found: dict[str, WantedRef] = {}
        for spec in self.specs:
            made = spec.mapped(source, spared, force=self.force)
            for target in found.keys() & made.keys():
                made[target] = _claimed_twice(target, found[target], made[target])
            found.update(made)
        return found

    def origin_by_glob(self, target: str) -> bool:
        """Whether a glob, not a full name, sends something to this ref."""
        return any(s.glob and s.covers(target) for s in self.specs)

    def origin(self, target: str) -> str | None:
        """Name the ref of the source that would go to this one of the target."""
        for spec in self.specs:
            part = _match(spec.dst, target)
            if part is not None and not self._spared(spec.src.replace("*", part)):
                return spec.src.replace("*", part)
        return None

    def fetched(self) -> tuple[str, ...]:
        """Write the refspecs that bring the source's refs into a cache."""
        names = dict.fromkeys(s.src for s in self.specs)
        own = tuple(f"+{n}:{CACHED}{n.removeprefix('refs/')}" for n in names)
        globs = any(s.glob for s in self.specs)
        return own + tuple(f"^{n}" for n in self.negatives if globs)

    def forward(self) -> tuple[str, ...]:
        """Return the refspecs that push, from a cache, what globs match; no force.

        They carry what negative ones take out, too, which a push does not obey.
        """
        globs = (s for s in self.specs if s.glob)
        return tuple(f"{CACHED}{s.src.removeprefix('refs/')}:{s.dst}" for s in globs)

    def carried(self, source: Mapping[str, str]) -> set[str]:
        """Return the refs of the target that `forward` writes, of these of a source."""
        globs = (s for s in self.specs if s.glob)
        return {ref for s in globs for ref in s.mapped(source, (), force=False)}

    def _spared(self, ref: str) -> bool:
        return any(_match(n, ref) is not None for n in self.negatives)


def _claimed_twice(target: str, one: WantedRef, other: WantedRef) -> WantedRef:
    if one.source != other.source:
        raise ValueError(f"{one.source} and {other.source} would both go to {target}")
    return other._replace(force=one.force or other.force)


def select(refspecs: Iterable[str], *, force: bool) -> Selection:
    """Read a task's refspecs; none, or only negative ones, mirror heads and tags.

    Raises ValueError.
    """
    read = [parse(text) for text in refspecs]
    specs = tuple(s for s in read if not s.negative) or tuple(map(parse, MIRROR))
    negatives = [s.src for s in read if s.negative]
    if any(s.src == "refs/*" for s in specs):
        named = {s.src.split("/")[1] for s in specs}
        negatives += [f"refs/{n}/*" for n in FORGES_OWN if n not in named]
    return Selection(specs, tuple(negatives), force)
