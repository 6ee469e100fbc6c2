"""What holds of a gms-hookd and its repositories, whatever befell them.

Looked at from outside, by sqlite, git and /proc: nothing of gms_hookd is used. Each
function gives what is violated, a line each.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import offspring
from tests.support.repositories import Repo

FINAL = ("success", "conflict", "failed", "cancelled")
NONE = "0" * 40
PUSHED = re.compile(r"^(\w{40}) (\w{40}) .*\tpush$", re.MULTILINE)


@dataclass
class Pair:
    """A task's two ends, and what was ever there to be synced.

    `tips` are all that the source's refs ever were. A target that is only to move
    `forward` must keep what an outsider has put there, `foreign`, on top of `before`.
    """

    id: int
    source: Repo
    target: Repo
    forward: bool
    tips: set[str] = field(default_factory=set)
    before: str = ""
    foreign: str = ""

    def note(self) -> None:
        self.tips |= set(self.source.refs().values())


def of_store(path: Path, accepted: Iterable[int], *, settled: bool) -> Iterator[str]:
    """The store is whole; each accepted trigger has its run, which, settled, ended."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        said = db.execute("PRAGMA integrity_check").fetchall()
        if said != [("ok",)]:
            yield f"integrity_check: {said[0][0]}"
        many = "SELECT task_id FROM runs WHERE status=? GROUP BY 1 HAVING COUNT(*)>1"
        for status in ("queued", "running"):
            for (task,) in db.execute(many, (status,)):
                yield f"task {task} has several runs {status}"
        known = dict(db.execute("SELECT id,status FROM runs"))
        merged = dict(db.execute("SELECT id,run_id FROM merged"))
        unlinked = """SELECT d.id FROM deliveries d WHERE d.status=200
            AND d.run_id IS NOT NULL AND d.run_id NOT IN (SELECT id FROM runs)
            AND d.run_id NOT IN (SELECT id FROM merged)"""
        for (delivery,) in db.execute(unlinked):
            yield f"delivery {delivery} has no run"
    for run in accepted:
        number = run
        while number in merged:
            number = merged[number]
        if number not in known:
            yield f"run {run} was accepted and is not there"
        elif settled and known[number] not in FINAL:
            yield f"run {run} is {known[number]} for ever"


def of_notices(path: Path, arrived: Callable[[], set[str]]) -> Iterator[str]:
    """What counts as sent has arrived: the store is asked first, as more may come."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        sent = db.execute("SELECT id FROM notices WHERE status='sent'").fetchall()
    for key in sorted({key for (key,) in sent} - arrived()):
        yield f"notice {key} counts as sent, and never came"


def of_targets(pairs: Iterable[Pair], *, settled: bool) -> Iterator[str]:
    """Nothing was pushed that the policy forbids; settled, all is in step."""
    for pair in pairs:
        yield from _pushes(pair)
        here, there = pair.source.refs(), pair.target.refs()
        if pair.foreign:
            if there.get("refs/heads/main") != pair.foreign:
                yield f"task {pair.id}: a stranger's commit was overwritten"
        elif settled and there != here:
            yield f"task {pair.id}: the target is not as the source: {here} {there}"


def _pushes(pair: Pair) -> Iterator[str]:
    for path in (pair.target.path / "logs" / "refs" / "heads").rglob("*"):
        for old, new in PUSHED.findall(path.read_text() if path.is_file() else ""):
            if new != NONE and new not in pair.tips:
                yield f"task {pair.id}: {new} was pushed and was never at the source"
            elif pair.forward and not _is_ancestor(pair.target, old, new):
                yield f"task {pair.id}: {path.name} was moved from {old} to {new}"


def _is_ancestor(repo: Repo, old: str, new: str) -> bool:
    if old == NONE:
        return True
    return repo.git("merge-base", old, new).strip() == old


def of_leftovers(folders: Iterable[Path]) -> Iterator[str]:
    """No lock and no temporary file stays."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.name.endswith(".lock") or path.name.startswith("tmp_"):
                yield f"{path} was left behind"


def of_process(pid: int, most_files: int) -> Iterator[str]:
    """No git stays, nor an open file."""
    for child in offspring(pid):
        if said := command(child):
            yield f"process {child} stays: {said}"
    files = len(os.listdir(f"/proc/{pid}/fd"))
    if files > most_files:
        yield f"{files} files are open, {most_files} are enough"


def command(pid: int) -> str:
    """Return the command line of a process, "" where it has ended."""
    with suppress(OSError):
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
        return said.replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
