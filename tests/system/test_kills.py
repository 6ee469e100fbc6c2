"""kill -9 of the daemon, or of a git, at any moment of a mirror run.

The next run finishes, both sides are whole, and no lock stays behind.
"""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from tests.support.process import PAUSE, run_number
from tests.support.processes import offspring
from tests.support.repositories import Bench, Repo, task

ROUNDS = int(os.environ.get("KILL_ROUNDS", "3"))


def happen(source, number):
    """New branches and commits, a rewind, a deletion, a moved tag, a D/F swap."""
    first = source.refs()["refs/heads/root"]
    source.commit("main", *(f"b{n}" for n in range(number, number + 5)))
    gone, here = ("swap", "swap/in")[:: 1 if number % 2 else -1]
    gone = dict.fromkeys((f"refs/heads/b{number}", f"refs/heads/{gone}"))
    source.put(gone | {"refs/heads/back": first})
    source.commit("back", here, files={f"f{n}": os.urandom(99).hex() for n in range(9)})
    source.put({"refs/tags/moving": source.tip()})


def whole(repo):
    """Check a repository: all its objects, and that nobody's leftovers are there."""
    repo.fsck()
    left = [p.name for p in repo.path.rglob("*") if p.name.startswith("tmp_")]
    left += [p.name for p in repo.path.rglob("*.lock")]
    assert left == []


@pytest.fixture
def mirror(source, target):
    """A source with some history, and the task that mirrors it."""
    source.put({"refs/heads/root": source.tip()})
    happen(source, 0)
    return task(source, target, force=True, prune=True)


def timed(act):
    began = time.monotonic()
    act()
    return time.monotonic() - began


def test_a_daemon_killed_at_any_moment_of_a_mirror_run_ends_it_after_its_restart(
    source, target, mirror, daemon
):
    moments = random.Random(ROUNDS)
    daemon.start()
    number = daemon.add_task("m", source, target, force=True, prune=True)
    run = run_number(daemon.trigger(number)[1])
    took = timed(lambda: daemon.ended(run))
    for count in range(1, ROUNDS + 1):
        happen(source, count)
        run = run_number(daemon.trigger(number)[1])
        PAUSE.wait(moments.uniform(0, took))  # the moment, not a wait for anything
        daemon.kill()
        daemon.start()
        assert daemon.ended(run)["status"] == "success", daemon.run(run)["details"]
        assert target.refs() == source.refs()
        whole(target)
        whole(Repo(daemon.state / "caches" / cache_key(str(source))))


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made:
        yield made


def test_a_git_killed_at_any_moment_of_a_mirror_run_costs_that_run_at_most(
    source, target, mirror, tmp_path, pool
):
    moments = random.Random(ROUNDS)
    bench = Bench(tmp_path)
    took = timed(lambda: bench.sync(mirror))
    hit = 0
    for count in range(1, ROUNDS + 1):
        happen(source, count)
        run = pool.submit(bench.sync, mirror)
        PAUSE.wait(moments.uniform(0, took) if hit else 0)
        struck = False
        while not run.done() and not (struck := killed(moments)):
            PAUSE.wait(0.001)
        hit += struck
        outcome = run.result()
        assert outcome.status is RunStatus.SUCCESS or outcome.transient, outcome
        outcome = bench.sync(mirror)
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        assert target.refs() == source.refs()
        whole(target)
        whole(Repo(bench.caches / cache_key(str(source))))
    assert hit


def killed(chance):
    """Kill one git at work for this process, whichever."""
    gits = [pid for pid in offspring(os.getpid()) if is_git(pid)]
    with suppress(ProcessLookupError):
        if gits:
            os.kill(chance.choice(gits), signal.SIGKILL)
    return len(gits) > 0


def is_git(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("git")
    return False


def test_a_killed_daemon_leaves_nothing_in_the_temporary_folder(
    source, target, daemon, sshd, tmp_path
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pins = f'ssh_key_file = "{sshd.key}"\nssh_known_hosts = "{sshd.known_hosts}"'
    daemon.configure(f"[sync]\n{pins}")
    daemon.start(TMPDIR=str(scratch))
    number = daemon.add_task("m", sshd.url(source), target)
    run = run_number(daemon.trigger(number)[1])
    assert daemon.ended(run)["status"] == "success", daemon.run(run)["details"]
    daemon.kill()
    assert list(scratch.iterdir()) == []
    daemon.start()
    source.commit()
    run = run_number(daemon.trigger(number)[1])
    assert daemon.ended(run)["status"] == "success", daemon.run(run)["details"]
    assert len(list((daemon.state / "home").glob("ssh-*"))) == 1
