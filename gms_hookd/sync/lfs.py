"""Large files: where a repository keeps only pointers to them, they go along.

With git-lfs at hand the objects are brought before the refs are pushed; without it a
run's log says how many pointers lead nowhere. That a repository uses LFS is told by the
.gitattributes at the root of what is pushed.
"""

import shutil
from collections.abc import Sequence

from gms_hookd.git.command import Git
from gms_hookd.git.remote import Remote
from gms_hookd.sync.plan import Move

LOOKED_AT = 1000  # tips whose attributes are read in one run
COUNTED = 20  # tips whose pointers are counted
POINTER = "^version https://git-lfs.github.com/spec/v1"


def at_hand(git: Git) -> bool:
    """Whether git-lfs is on the PATH that git has."""
    return shutil.which("git-lfs", path=git.environ["PATH"]) is not None


def bring(git: Git, source: Remote, target: Remote, moves: Sequence[Move]) -> None:
    """Carry the objects that the moves need, where there is something to carry."""
    tips = _with_lfs(git, moves)
    if tips:
        source.lfs("fetch", tips)
        target.lfs("push", tips)


def warn(git: Git, moves: Sequence[Move]) -> None:
    """Say in the log how many pointers arrived without what they point to."""
    tips = _with_lfs(git, moves)
    if not tips:
        return
    done = git.run("grep", "-lIz", "-e", POINTER, *tips[:COUNTED], quiet=True)
    paths = {name.partition(b":")[2] for name in done.out.split(b"\0") if name}
    git.limits.log.line(
        f"warning: {len(paths)} LFS pointers were pushed without their objects:"
        " install git-lfs"
    )


def _with_lfs(git: Git, moves: Sequence[Move]) -> list[str]:
    new = dict.fromkeys(m.new for m in moves if m.acts and m.new)
    tips = [oid for oid in new if oid][:LOOKED_AT]
    if not tips:
        return []
    asked = "".join(f"{oid}:.gitattributes\n" for oid in tips).encode()
    found = git.ask("cat-file", "--batch", stdin=asked)
    return tips if b"filter=lfs" in found else []
