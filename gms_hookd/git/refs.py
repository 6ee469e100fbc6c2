"""What git prints for programs, read as bytes: refs and the results of a push.

Reads a repository on this machine from its files, which costs no git process.

Refs are read as git's own files keep them: loose ones before packed ones, so that none
is missed while it goes from there to here. What is not plain is left to git: links,
worktrees, other formats, hidden or broken refs.
"""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gms_hookd.git.patterns import late_pattern


@dataclass(frozen=True, slots=True)
class Pushed:
    """One line of `push --porcelain`: flag ' +-*=!', the target's ref, the words.

    origin is what was to go there, "" where it was to be deleted.
    """

    flag: str
    ref: str
    summary: str
    origin: str = ""

    @property
    def known(self) -> bool:
        """Whether it says what became of the ref, and not that nobody knows."""
        return not self.summary.startswith("[remote failure]")

    @property
    def reason(self) -> str:
        """What stands in brackets after the summary, "" where nothing does."""
        _, _, tail = self.summary.partition(" (")
        return tail.removesuffix(")")

    @property
    def by_host(self) -> bool:
        """Whether it is a refusal by the host, not by git here."""
        return self.flag == "!" and self.summary.startswith("[remote ")


def decoded(name: bytes) -> str:
    """Decode a ref name so that its very bytes can be given back to git."""
    return name.decode("utf-8", "surrogateescape")


def parse_pushed(out: bytes) -> Iterator[Pushed]:
    """Read `push --porcelain`; other lines are passed over."""
    for line in out.split(b"\n"):
        fields = line.split(b"\t", 2)
        if len(fields) == 3 and len(fields[0]) == 1:
            origin, _, ref = fields[1].rpartition(b":")
            yield Pushed(*map(decoded, (fields[0], ref, fields[2], origin)))


def parse_refs(out: bytes) -> Iterator[tuple[str, str]]:
    """Read lines of `<oid><space or tab><ref>` as (ref, oid), but no peeled tags."""
    for line in out.split(b"\n"):
        oid, _, name = line.replace(b"\t", b" ", 1).partition(b" ")
        if name and len(oid) in (40, 64) and not name.endswith(b"^{}"):
            yield decoded(name), oid.decode("ascii", "replace")


def symrefs(out: bytes) -> dict[str, str]:
    """Return where symbolic refs point, HEAD included, from `ls-remote --symref`."""
    lines = (line.partition(b"\t") for line in out.split(b"\n"))
    return {
        decoded(ref): decoded(name.removeprefix(b"ref: "))
        for name, _, ref in lines
        if ref and name.startswith(b"ref: ")
    }


FEW = 100  # refs that are looked up one by one
PACKED_CAP = 256 * 1024  # bytes of packed-refs that are read to count
MANY_PACKS = 25
MANY_LOOSE = 13  # objects of one folder
POINTS = "ref: "
ELSEWHERE = "refs/heads/.invalid"  # HEAD's file where refs are kept in tables
_OID = late_pattern(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NOT_PLAIN = late_pattern(rb"(?i)refstorage|hiderefs|include|worktreeconfig")


class _Unusual(Exception):
    """The repository is one that only git should read."""


def local_refs(
    path: str, names: Collection[str] | None = None, plain: Collection[str] = ()
) -> dict[str, str] | None:
    """Read all refs, or those of these few that are there; None if git has to.

    None too where one of `plain` is a symbolic ref.
    """
    try:
        gitdir = _gitdir(path)
        if names is None:
            return _whole(_all_loose(gitdir), packed_refs(gitdir), plain)
        loose = _some_loose(gitdir, names)
        few = [name for name in names if name not in loose]
        return _whole(loose, _some_packed(gitdir, few) if few else {}, plain)
    except (_Unusual, OSError, UnicodeError):
        return None


def has_few(path: str, most: int) -> bool:
    """Return whether a repository on this machine surely has fewer refs than that."""
    gitdir = _folder(path)
    packed = b""
    with contextlib.suppress(OSError):
        packed = _read(f"{gitdir}/packed-refs", PACKED_CAP)
    if len(packed) == PACKED_CAP or os.path.exists(f"{gitdir}/reftable"):
        return False
    counts = (len(names) for _, _, names in os.walk(f"{gitdir}/refs"))
    return all(n < most for n in accumulate(counts, initial=packed.count(b"\n")))


def has_object(path: str, tips: Mapping[str, str]) -> bool:
    """Return whether these refs are surely so, "" for none, and no symbolic ones.

    False where only git knows.
    """
    found = local_refs(path, tips if len(tips) <= FEW else None, tips)
    return found is not None and all(found.get(r, "") == o for r, o in tips.items())


def points(path: str, names: Iterable[str]) -> dict[str, str]:
    """Return those of these refs that are symbolic, resolved or not, and where to."""
    with contextlib.suppress(OSError, UnicodeError):
        places = ((name, _pointed(f"{_folder(path)}/{name}")) for name in names)
        return {name: place for name, place in places if place}
    return {}


def _pointed(path: str) -> str:
    """Return where a loose ref points, "" if it is none or not symbolic.

    Long ago git made symbolic refs as links, and still takes them for that.
    """
    try:
        link = os.readlink(path) if os.path.islink(path) else ""
        content = "" if link else _content(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    found = content.removeprefix(POINTS)
    return link if link.startswith("refs/") else found if found != content else ""


def local_head(path: str) -> str | None:
    """Name the ref that HEAD points to; None where it names none, or git has to."""
    try:
        pointer = _content(f"{_folder(path)}/HEAD")
    except OSError:
        return None
    name = pointer.removeprefix(POINTS)
    return None if name in (pointer, ELSEWHERE) else name


def is_bare(path: str) -> bool:
    """Tell whether no .git is inside, as there is in a working tree."""
    return not os.path.lexists(f"{path}/.git")


def is_maintained(path: str) -> bool:
    """Return whether git would surely find nothing to maintain there.

    By its own estimate from one folder of 256 (git-config, gc.auto), at half of where
    it would begin; False where the owner has settings for it.
    """
    try:
        gitdir = _gitdir(path)
        own = b"[gc" in _read(f"{gitdir}/config").lower()
        packs = sum(n.endswith(".pack") for n in os.listdir(f"{gitdir}/objects/pack"))
        sample = f"{gitdir}/objects/17"
        loose = len(os.listdir(sample)) if os.path.exists(sample) else 0
    except (_Unusual, OSError):
        return False
    return not own and packs < MANY_PACKS and loose < MANY_LOOSE


def is_self_contained(path: str) -> bool:
    """Return whether a repository surely borrows objects from no other one.

    What it takes in git keeps aside at first, and then asks who it borrows from, the
    repository itself, for refs that it knows (receive-pack's connectivity check).
    """
    try:
        return not os.path.lexists(f"{_gitdir(path)}/objects/info/alternates")
    except (_Unusual, OSError):
        return False


def _folder(path: str) -> str:
    return path if is_bare(path) else f"{path}/.git"


def _gitdir(path: str) -> str:
    gitdir = _folder(path)
    if os.path.lexists(f"{gitdir}/commondir") or os.path.islink(f"{gitdir}/HEAD"):
        raise _Unusual
    if not all(os.path.exists(f"{gitdir}/{p}") for p in ("HEAD", "objects", "refs")):
        raise _Unusual
    if _NOT_PLAIN.search(_read(f"{gitdir}/config")):
        raise _Unusual
    return gitdir


def _all_loose(gitdir: str) -> dict[str, str]:
    found: dict[str, str] = {}
    folders = ["refs"]
    while folders:
        listed = list(_listed(gitdir, folders.pop()))
        folders += [name for name, is_folder in listed if is_folder]
        files = (name for name, is_folder in listed if not is_folder)
        found |= {name: _content(f"{gitdir}/{name}") for name in files}
    return found


def _listed(gitdir: str, folder: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(f"{gitdir}/{folder}") as scanned:
        entries = list(scanned)
    for entry in entries:
        if entry.is_symlink():
            raise _Unusual
        if not entry.name.startswith(".") and not entry.name.endswith(".lock"):
            yield f"{folder}/{entry.name}", entry.is_dir()


def _some_loose(gitdir: str, names: Iterable[str]) -> dict[str, str]:
    contents = ((name, _content_if_any(f"{gitdir}/{name}")) for name in names)
    return {name: content for name, content in contents if content is not None}


def _content_if_any(path: str) -> str | None:
    try:
        return _content(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if os.path.islink(path):
            raise _Unusual from None
        return None


def _content(path: str) -> str:
    return decoded(_read(path, 4096).rstrip())


def _read(path: str, most: int = 0) -> bytes:
    """Return the beginning of a file, or all of it; nothing of a pipe or a device.

    Whoever has put such a thing there would hold us up. Raises OSError.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        content = os.read(file, min(size, most) if most else size)
    finally:
        os.close(file)
    if len(content) < size and not most:
        raise OSError(f"{path}: was read in part")
    return content


def _some_packed(gitdir: str, names: Collection[str]) -> dict[str, str]:
    lines = _packed_file(gitdir)
    found = {}
    for name in names:
        end = lines.find(b" " + name.encode("utf-8", "surrogateescape") + b"\n")
        if end >= 0:
            found[name] = decoded(lines[lines.rfind(b"\n", 0, end) + 1 : end])
    return found


def _packed_file(gitdir: str | Path) -> bytes:
    try:
        return _read(f"{gitdir}/packed-refs")
    except FileNotFoundError:
        return b""


def _whole(
    loose: dict[str, str], packed: dict[str, str], plain: Collection[str]
) -> dict[str, str]:
    """Put the two together, loose ones first; a symbolic ref is what it points to."""
    found = packed | loose
    for name, content in loose.items():
        if content.startswith(POINTS) and name in plain:
            raise _Unusual
        oid = found.get(content.removeprefix(POINTS), content)
        if not _OID.fullmatch(oid) or not oid.strip("0"):
            raise _Unusual
        found[name] = oid
    return found


def read_oid(path: str) -> str | None:
    """Return the id in a loose ref's file, None where there is none."""
    try:
        content = _content(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return content if _OID.fullmatch(content) else None


def all_refs(gitdir: Path, prefix: str) -> dict[str, str]:
    """Return the refs below a prefix, packed and loose, by name."""
    return packed_refs(gitdir, prefix) | loose_refs(gitdir, prefix)


def packed_refs(gitdir: str | Path, prefix: str = "refs/") -> dict[str, str]:
    """Return the refs of a packed-refs file below a prefix."""
    lines = decoded(_packed_file(gitdir)).split("\n")
    pairs = (line.partition(" ") for line in lines)
    return {name: oid for oid, _, name in pairs if name.startswith(prefix)}


def loose_refs(gitdir: Path, prefix: str) -> dict[str, str]:
    """Return the loose refs below a prefix."""
    root = os.fsencode(gitdir)
    walk = os.walk(os.path.join(root, os.fsencode(prefix)))
    paths = (os.path.join(where, name) for where, _, names in walk for name in names)
    oids = {p: read_oid(os.fsdecode(p)) for p in paths if not p.endswith(b".lock")}
    return {os.fsdecode(p[len(root) + 1 :]): oid for p, oid in oids.items() if oid}
