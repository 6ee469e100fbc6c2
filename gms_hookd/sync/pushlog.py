"""What a run pushes, in a file beside its cache, for its own later attempts.

Who is killed while a push goes on cannot say what became of it. So each ref is written
down before the push, and again when its fate is known; what is open after a crash is
looked up at the target. The file is to outlive a process, not a machine, and is not
flushed.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gms_hookd.model import UNKNOWN, Ref, RefResult, over_attempts
from gms_hookd.sync.aliases import by_ends, ends
from gms_hookd.sync.job import SyncJob
from gms_hookd.sync.plan import Move

TAKEN_BACK = "taken back"


class PushLog:
    """The refs that one run pushed, over all its attempts, and those under way.

    `record` is what is known to be done, `open` what may have been.
    """

    def __init__(self, path: Path, job: SyncJob) -> None:
        self._path = path
        self._run = job.run
        self._head = json.dumps([job.run, job.task.target])
        self._kept = bool(job.run)
        self._begun = False
        self.open: dict[str, Ref] = {}
        self.record = {row.ref: row for row in job.before}
        if self._kept and job.attempt > 1:
            self._recall()

    def begin(self, rows: Iterable[Ref]) -> None:
        """Note what is about to be pushed; raises OSError where it cannot be noted."""
        given = list(rows)
        self.open.update((row.ref, row) for row in given)
        self._write(given, known=False)

    def end(self, rows: Iterable[Ref]) -> None:
        """Note what became of refs; what was not done may be tried again."""
        given = list(rows)
        _settle(given, self.open, self.record)
        self._write(given, known=True)

    def take_back(self, refs: Collection[str]) -> None:
        """Note that refs are again what they were before this attempt."""
        rows = [row for ref, row in self.record.items() if ref in refs]
        self.end(
            replace(r, result=RefResult.UNCHANGED, reason=TAKEN_BACK) for r in rows
        )

    def compare(self, target: Mapping[str, str], symrefs: Mapping[str, str]) -> None:
        """Take for done what is open, and is at the target as it was to be.

        What was created and is a symbolic ref now was one before, that led nowhere.

        What is there as it was stays open: a host that is slow may carry it out yet.
        Where somebody else has been since nobody knows.
        """
        left = list(self.open.values())
        done = [row for row in left if target.get(row.ref) == row.new]
        moved = (r for r in left if target.get(r.ref) not in (r.old, r.new))
        known = [*self._by_ends(done, symrefs), *map(_in_doubt, moved)]
        if known:
            self.end(known)

    def _by_ends(self, rows: Iterable[Ref], symrefs: Mapping[str, str]) -> list[Ref]:
        moves = [Move(r.ref, r.result, r.old, r.new, r.reason) for r in rows]
        made = {m.ref for m in moves if m.result is RefResult.CREATED}
        reals = {ref: real for ref, real in ends(symrefs).items() if ref in made}
        judged = by_ends(moves, reals, self._run)
        return [Ref(m.ref, m.result, m.old, m.new, m.reason) for m in judged]

    def _recall(self) -> None:
        done: dict[str, Ref] = {}
        for known, row in self._lines():
            if known:
                _settle([row], self.open, done)
            else:
                self.open[row.ref] = row
        self.record |= done

    def _lines(self) -> Iterator[tuple[bool, Ref]]:
        """Read what earlier attempts wrote; a line may be torn."""
        try:
            head, *lines = self._path.read_text("utf-8", "replace").split("\n")
        except OSError:
            return
        self._begun = head == self._head
        for line in lines if self._begun else ():
            with suppress(ValueError):
                known, ref, result, *others = json.loads(line)
                yield known, Ref(ref, RefResult(result), *others)

    def _write(self, rows: Iterable[Ref], known: bool) -> None:
        if not self._kept:
            return
        lines = "".join("\n" + json.dumps([known, *row.values]) for row in rows)
        if not self._begun:
            # Removed and made anew: for a file that was truncated ext4 starts to write
            # to the disk when it is closed (auto_da_alloc in ext4(5)), and we wait.
            self._path.unlink(missing_ok=True)
        with self._path.open("a") as file:
            file.write(lines if self._begun else self._head + lines)
        self._begun = True


def _settle(rows: Iterable[Ref], open_: dict[str, Ref], record: dict[str, Ref]) -> None:
    for row in rows:
        open_.pop(row.ref, None)
        if row.acted or row.in_doubt:
            record[row.ref] = over_attempts(record.get(row.ref), row)
        elif row.reason == TAKEN_BACK:
            record.pop(row.ref, None)


def _in_doubt(row: Ref) -> Ref:
    why = f"an earlier attempt was cut off; {UNKNOWN}"
    lost = f"; if it did, {row.reason}" if row.reason else ""
    return replace(row, result=RefResult.REJECTED, reason=why + lost)
