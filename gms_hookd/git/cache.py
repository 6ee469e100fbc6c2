"""The bare repository that belongs to one source.

Under refs/src/ is what the source served last; under refs/backup/ are the tips that
runs have overwritten or deleted at their targets.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from gms_hookd.files import flush_to_disk
from gms_hookd.git import recovery
from gms_hookd.git.cache_lock import Hold
from gms_hookd.git.command import Git, GitCommand
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.refs import all_refs, packed_refs, read_oid
from gms_hookd.git.refspec import CACHED, stored


class Ancestry(Enum):
    """How an object at the target relates to the one that should replace it."""

    AHEAD = "fast-forward"
    BEHIND = "behind"
    DIVERGED = "diverged"
    UNSEEN = "unseen"


BACKUPS = "refs/backup/"
LISTING = "listing"
NOTED_FOR = 7 * 86400.0  # seconds
FLUSHED_AFTER = 300.0  # seconds in which the system surely writes out what it holds
MARK = "tidied"  # its age is the time since all was put together
LOOSE = 200  # refs
PARTS = ("HEAD", "config", "objects", "refs")
VIEWS = "view-"
OWN = (VIEWS, "lfs-refused-")  # what only a run under way has in its cache


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache, in the hands of a run; without a hold of one that is alone there."""

    git: Git
    hold: Hold | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.git.gitdir

    def missing(self) -> bool:
        """Whether it is not there, or not whole."""
        return not all(os.path.exists(f"{self.path}/{part}") for part in PARTS)

    def prepare(self) -> None:
        """Make it if it is not there, and clear away what a killed run left."""
        if self.missing():
            self.remake("sha1")
        self.sweep(fetching=True)

    def remake(self, object_format: str) -> None:
        """Replace it by an empty one, but for the backups, which are carried over."""
        with self.hold.alone() if self.hold else contextlib.nullcontext():
            self._remake(object_format)

    def _remake(self, object_format: str) -> None:
        fresh = self._new(object_format)
        old = self.path.with_name(self.path.name + ".old")
        if self.path.exists():
            shutil.rmtree(old, ignore_errors=True)
            self.path.rename(old)
        fresh.rename(self.path)
        self._carry_over(old)
        shutil.rmtree(old, ignore_errors=True)

    def _new(self, object_format: str) -> Path:
        """Make an empty repository beside this one; return where."""
        fresh = self.path.with_name(self.path.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        options = ("-q", "--bare", "--template=", f"--object-format={object_format}")
        self.git.ask("init", *options, "--", str(fresh))
        (fresh / MARK).touch()
        return fresh

    def _carry_over(self, old: Path) -> None:
        if not all_refs(old, BACKUPS):
            return
        spec = f"{BACKUPS}*:{BACKUPS}*"
        done = self.git.run(
            GitCommand(("fetch", "-q", "--no-tags", "--", str(old), spec))
        )
        if done.status:
            kept = old.with_name(f"{self.path.name}.broken-{int(time.time())}")
            old.rename(kept)
            self.git.limits.log.line(f"old tips could not be carried over: see {kept}")

    def object_format(self) -> str:
        """Name the hash that its objects have."""
        text = ""
        with contextlib.suppress(FileNotFoundError):  # a fetch tells if it is not sha1
            text = (self.path / "config").read_text(errors="replace").lower()
        return "sha256" if "objectformat = sha256" in text else "sha1"

    def healthy(self) -> bool:
        """Whether every object that its refs need is there."""
        check = ("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        done = self.git.run(GitCommand(check, quiet=True))
        if done.ended:
            raise done.failure("fsck")
        return done.status == 0

    def sweep(self, *, fetching: bool = False) -> bool:
        """Remove locks and half-written files that nobody else can have made.

        With fetching, that is what only a fetch from the source makes.
        """
        if not self.path.is_dir():
            return False
        with self.at_once() as alone:
            return self._sweep(alone=alone, fetching=fetching)

    def loading(self) -> contextlib.AbstractContextManager[None]:
        """Be the one that brings large files here."""
        return self.hold.loading() if self.hold else contextlib.nullcontext()

    def at_once(self) -> contextlib.AbstractContextManager[bool]:
        """Be alone here, if nobody else is."""
        return self.hold.at_once() if self.hold else contextlib.nullcontext(True)

    def _sweep(self, *, alone: bool, fetching: bool) -> bool:
        stale: list[Path] = []
        if alone:
            stale = [*recovery.of_a_git(self.path), *recovery.entries(self.path, OWN)]
            stale += recovery.entries(self.path / "lfs" / "tmp")
        elif fetching:
            stale = list(recovery.of_a_fetch(self.path, stored("")))
        for path in stale:
            recovery.remove(path)
        if stale:
            self.git.limits.log.line(f"removed {len(stale)} files of a killed git")
        return bool(stale)

    def drop_source(self) -> bool:
        """Forget what the source served; its objects stay."""
        names = list(self.source_refs())
        self.drop(names)
        return bool(names)

    def drop(self, names: Sequence[str]) -> None:
        """Forget refs of the source, by its own names."""
        lines = b"".join(b"delete " + os.fsencode(stored(n)) + b"\n" for n in names)
        if names:
            self.git.ask("update-ref", "--stdin", stdin=lines)

    def pack_refs(self) -> None:
        """Put all refs into one file, if many have files of their own."""
        if sum(len(names) for _, _, names in os.walk(self.path / "refs")) > LOOSE:
            self.git.ask("pack-refs", "--all")

    @contextlib.contextmanager
    def view(self, refs: Mapping[str, str]) -> Iterator["Cache"]:
        """Give a repository with the same objects and these refs, until the end.

        For a push by glob, while a fetch may change the refs that are here.
        """
        root = Path(tempfile.mkdtemp(prefix=VIEWS, dir=self.path))
        try:
            self._write_view(root, refs)
            yield replace(self, git=replace(self.git, gitdir=root))
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _write_view(self, root: Path, refs: Mapping[str, str]) -> None:
        for folder in ("refs", "objects/info"):
            (root / folder).mkdir(parents=True)
        shutil.copy(self.path / "config", root)
        (root / "HEAD").write_text("ref: refs/heads/none\n")
        (root / "objects/info/alternates").write_text(f"{self.path}/objects\n")
        named = sorted((os.fsencode(ref), oid) for ref, oid in refs.items())
        lines = (oid.encode() + b" " + ref + b"\n" for ref, oid in named)
        (root / "packed-refs").write_bytes(b"".join(lines))

    def pin(self, tips: Mapping[str, str]) -> None:
        """Keep objects that are here: name below refs/backup/ -> object id."""
        lines = "".join(f"update {ref} {oid}\n" for ref, oid in tips.items())
        self.git.ask("update-ref", "--stdin", stdin=os.fsencode(lines))
        self.harden(tips)

    def harden(self, refs: Iterable[str]) -> None:
        """Let refs, and the objects fetched for them lately, survive a power cut."""
        packs = self.path / "objects" / "pack"
        fresh = [p for p in packs.iterdir() if recovery.age(p) < FLUSHED_AFTER]
        for path in (*fresh, packs, *(self.path / ref for ref in refs)):
            with contextlib.suppress(FileNotFoundError):
                flush_to_disk(path)

    def listing(self) -> str | None:
        """Return what was noted lately of how the source lists its refs, or None."""
        noted = self.path / LISTING
        with contextlib.suppress(OSError, UnicodeError):
            if recovery.age(noted) < NOTED_FOR:
                return noted.read_text() or None
        return None

    def note_listing(self, how: str) -> None:
        """Remember how the source lists its refs."""
        (self.path / LISTING).write_text(how)

    def backups(self) -> list[str]:
        """Name the refs that keep overwritten tips."""
        return list(all_refs(self.path, BACKUPS))

    def keeps(self, oids: Iterable[str]) -> set[str]:
        """Tell which of these objects some ref here keeps, a backup or another."""
        wanted = set(oids)
        kept = wanted.intersection(all_refs(self.path, "refs/").values())
        rest = wanted - kept
        rest -= self.lacks(rest) if rest else set()
        if not rest:
            return kept
        asked = "".join(f"{oid}\n" for oid in rest).encode()
        out = self.git.ask("rev-list", "--stdin", "--not", "--all", stdin=asked)
        return kept | (rest - set(out.decode().split()))

    def lacks(self, oids: Iterable[str]) -> set[str]:
        """Tell which of these objects are not here."""
        asked = "".join(f"{oid}\n" for oid in oids).encode()
        out = self.git.ask("cat-file", "--batch-check", stdin=asked)
        lines = (line.split(b" ") for line in out.split(b"\n"))
        return {f[0].decode() for f in lines if f[-1] == b"missing"}

    def ref(self, name: str) -> str | None:
        """Read one ref of its own."""
        oid = read_oid(os.path.join(self.path, name))
        return oid or packed_refs(self.path, name).get(name)

    def source_refs(self) -> dict[str, str]:
        """Give what the source served last, by its own names."""
        found = all_refs(self.path, CACHED)
        return {_source_name(name): oid for name, oid in found.items()}

    def source_ref(self, name: str) -> str | None:
        """Give one ref of the source."""
        return self.ref(stored(name))

    def kin(
        self, pairs: Iterable[tuple[str, str]], ahead: Collection[tuple[str, str]] = ()
    ) -> dict[tuple[str, str], Ancestry]:
        """Tell for each (old, new) how old relates to new; ahead are known already."""
        return {
            pair: Ancestry.AHEAD if pair in ahead else self._kin(*pair)
            for pair in pairs
        }

    def _kin(self, old: str, new: str) -> Ancestry:
        forward = self._contains(new, old)
        if forward is None and self.lacks([new]):
            raise GitError(ErrorKind.CORRUPT, f"the cache lacks the object {new}")
        if forward is None:
            return Ancestry.UNSEEN
        if forward:
            return Ancestry.AHEAD
        return Ancestry.BEHIND if self._contains(old, new) else Ancestry.DIVERGED

    def _contains(self, tip: str, oid: str) -> bool | None:
        asked = GitCommand(("merge-base", "--is-ancestor", oid, tip), quiet=True)
        done = self.git.run(asked)
        if done.ended or done.status < 0:
            raise done.failure("merge-base")
        return None if done.status > 1 else done.status == 0


def _source_name(stored: str) -> str:
    name = stored.removeprefix(CACHED)
    return name if name == "HEAD" else "refs/" + name
