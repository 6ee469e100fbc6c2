"""Runs with random faults and kills: their records, and what the target went through.

The target is looked at before and after each attempt. Whatever changed in between is
the run's work, and stands in its record; what was lost can be restored by it.
"""

import os
import random
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import Bench, Repo, full, task

ROUNDS = int(os.environ.get("HISTORY_ROUNDS", "1"))
NAMES = ("main", "one", "two", "three")
GIT = """#!/bin/sh
case " $* " in *" push "*) ;; *) exec git "$@" ;; esac
read -r left fault <{root}/fault
if [ "$left" != 0 ]; then echo "$((left - 1)) $fault" >{root}/fault; exec git "$@"; fi
echo "0 nothing" >{root}/fault
case $fault in *-after) git "$@" >/dev/null 2>&1 ;; esac
case $fault in
cut-*) echo "fatal: the remote end hung up unexpectedly" >&2; exit 128 ;;
denied-*) echo "fatal: Authentication failed" >&2; exit 128 ;;
kill-*) kill -9 $PPID $$ ;;
stop-*) touch {root}/stop; exec sleep 60 ;;
esac
exec git "$@"
"""
FAULTS = (
    "nothing", "nothing", "cut-before", "cut-after", "denied-before", "kill-before",
    "kill-after", "stop-before", "stop-after",
)  # fmt: skip
ATTEMPT = """
import sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from tests.support.repositories import Bench, task
bench = Bench(Path({place!r}), binary={binary!r}, grace=0.2)
it = task({source!r}, {target!r}, force=True, prune=True)
bench.sync(it, run={run}, attempt={attempt}, known={known!r})
"""


class History:
    """A source, a target and a run after the other, by one seed."""

    def __init__(self, root, seed):
        self.chance = random.Random(seed)
        self.root = root
        self.source, self.target = Repo(root / "s.git"), Repo(root / "t.git")
        self.source.commit(*NAMES)
        binary = root / "git"
        binary.write_text(GIT.format(root=root))
        binary.chmod(0o755)
        self.binary = str(binary)
        self.task = task(self.source, self.target, force=True, prune=True)
        self.known = {}

    def happen(self):
        """Move, rewind and delete branches of the source, and some of the target."""
        refs = self.source.refs()
        kept = [name for name in NAMES if full(name) in refs]
        for name in self.chance.sample(NAMES, 2):
            self.source.commit(name, on=refs.get(full(self.chance.choice(kept))))
        if len(kept) > 2 and self.chance.random() < 0.5:
            self.source.set(**{self.chance.choice(kept[1:]): None})
        self.outsiders()

    def outsiders(self):
        if self.chance.random() < 0.4:
            self.target.commit(self.chance.choice(NAMES))

    def attempt(self, number, attempt, before):
        """Make one attempt; give its outcome, None where its process was killed."""
        fault = self.chance.choice(FAULTS) if attempt < 4 else "nothing"
        (self.root / "fault").write_text(f"{self.chance.randrange(2)} {fault}\n")
        (self.root / "stop").unlink(missing_ok=True)
        if fault.startswith("kill"):
            return self.in_a_process(number, attempt)
        bench = Bench(self.root, binary=self.binary, grace=0.2)
        given = {"run": number, "attempt": attempt, "before": before}
        with stopping(bench, self.root / "stop"):
            return bench.sync(self.task, **given, known=self.known)

    def in_a_process(self, number, attempt):
        code = ATTEMPT.format(
            root=str(Path(__file__).parents[2]),
            place=str(self.root),
            binary=self.binary,
            source=str(self.source),
            target=str(self.target),
            run=number,
            attempt=attempt,
            known=self.known,
        )
        subprocess.run((sys.executable, "-c", code), check=False, capture_output=True)
        if (self.root / "fault").read_text() != "0 nothing\n":
            return
        return

    def run(self, number):
        """Carry out a run to its end; check its record."""
        before, steps = (), []
        for attempt in range(1, 6):
            old = self.target.refs()
            outcome = self.attempt(number, attempt, before)
            steps.append((old, self.target.refs()))
            if outcome:
                before = outcome.refs
            if outcome and outcome.status is RunStatus.SUCCESS:
                break
            self.outsiders()
        assert outcome.status is RunStatus.SUCCESS, outcome
        self.check(steps, outcome)
        self.known = dict(outcome.known)

    def check(self, steps, outcome):
        rows = {row.ref: row for row in outcome.refs}
        cache = Repo(self.root / "caches" / cache_key(str(self.source)))
        for ref in {ref for old, new in steps for ref in (*old, *new)}:
            moves = [(old.get(ref), new.get(ref)) for old, new in steps]
            ours = [(old, new) for old, new in moves if old != new]
            row = rows.get(ref)
            if not ours:
                assert row is None or not row.acted, (ref, row)
                continue
            assert row, ref
            assert row.acted, (row, ours)
            assert row.new == ours[-1][1], (row, ours)
            assert (row.result is RefResult.DELETED) == (ours[-1][1] is None)
            lost = {old for old, new in ours if old and lost_by(self.target, old, new)}
            assert lost <= kept_by(row, cache), (row, ours)


def lost_by(target, old, new):
    if new is None:
        return True
    ancestor = ("git", f"--git-dir={target}", "merge-base", "--is-ancestor", old, new)
    return subprocess.run(ancestor, check=False, capture_output=True).returncode != 0


def kept_by(row, cache):
    """Name the tips that the cache keeps for a row."""
    refs = cache.refs()
    return {refs[n] for n in re.findall(r"old tip kept at (\S+);", row.reason or "")}


class stopping:  # noqa: N801 - a context manager
    """Stop a run when a file appears."""

    def __init__(self, bench, path):
        self.bench, self.path, self.over = bench, path, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.02):
            if self.path.exists():
                self.bench.stop.set("shutdown")

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_record_is_what_the_target_went_through(tmp_path, seed):
    history = History(tmp_path, seed)
    for number in range(1, 4):
        history.happen()
        history.run(number)
