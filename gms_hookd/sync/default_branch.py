"""Default branches: which one a source has, and that a local target has the same."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from gms_hookd.git.cache import Cache
from gms_hookd.git.command import Git
from gms_hookd.git.refs import is_bare, local_head
from gms_hookd.git.refspec import Selection, WantedRef
from gms_hookd.git.remote import Remote
from gms_hookd.model import RefResult
from gms_hookd.sync.plan import Move


class DefaultBranch:
    """The default branch of one task's source and target, asked for when needed."""

    def __init__(self, selection: Selection, source: Remote, target: Remote) -> None:
        self._selection = selection
        self._source = source
        self._target = target
        self._asked = False
        self._name: str | None = None

    def at_target(self, wanted: Mapping[str, WantedRef]) -> str | None:
        """Name the target's ref that the source's default branch goes to."""
        if not self._asked:
            self._asked = True
            url = self._source.access.url
            near = local_head(url.path) if url.local else None
            self._name = near or self._source.head()
        found = (ref for ref, w in wanted.items() if w.source == self._name)
        return next(found, None)

    def follow(
        self, moves: Iterable[Move], wanted: Mapping[str, WantedRef], *, ask: bool
    ) -> bool:
        """Let a local bare target's HEAD follow the source's; True if it was changed.

        Where the source is not local it is asked only if there is reason to.
        """
        there = _local_head(self._target)
        if there is None or not (ask or self._source.access.url.local or _moved(moves)):
            return False
        git = replace(self._target.git, gitdir=Path(self._target.access.url.path))
        name = self._due(wanted, unborn=Cache(git).ref(there) is None)
        missing = name in (None, there) or Cache(git).ref(name or "") is None
        if missing or not _bare(git):
            return False
        git.ask("symbolic-ref", "HEAD", name or "", quiet=False)
        return True

    def _due(self, wanted: Mapping[str, WantedRef], *, unborn: bool) -> str | None:
        """Return what HEAD should be, None where the task has no say in that.

        It has if it speaks for the whole target, or nobody has spoken yet. The source
        is asked only if more than one branch can be meant, for it then lists all refs.
        """
        single = self._selection.single
        if not unborn and not any(spec.glob for spec in self._selection.specs):
            return None
        if single and single.dst.startswith("refs/heads/"):
            return single.dst
        name = self.at_target(wanted)
        whole = name and self._selection.origin_by_glob(name)
        return name if whole or unborn else None


def _moved(moves: Iterable[Move]) -> bool:
    return any(m.result in (RefResult.CREATED, RefResult.DELETED) for m in moves)


def _bare(git: Git) -> bool:
    return git.ask("rev-parse", "--is-bare-repository").strip() == b"true"


def _local_head(remote: Remote) -> str | None:
    """Read HEAD of a bare repository on this machine."""
    url = remote.access.url
    return local_head(url.path) if url.local and is_bare(url.path) else None
