"""git that hangs, dies, floods or is not there; caches that are broken; full disks."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RefResult, RunStatus
from gms_hookd.runlog import HEAD, TAIL
from gms_hookd.sync import engine as sync_engine
from gms_hookd.sync.job import UNCERTAIN
from tests.support.processes import of_each_process
from tests.support.repositories import Bench, Repo, leftovers, task


@pytest.fixture
def fake(tmp_path):
    """Make an engine whose git is a script; "$0.marks" is where it leaves marks."""

    def make(script, **settings):
        path = tmp_path / "fake-git"
        path.write_text("#!/bin/sh\n" + own(textwrap.dedent(script)))
        path.chmod(0o755)
        return Bench(tmp_path, binary=str(path), **{"grace": 0.3} | settings)

    return make


ONLY_FETCH = 'case " $* " in *" fetch "*) ;; *) exec git "$@";; esac\n'
ONLY_PUSH = 'case " $* " in *" push "*) ;; *) exec git "$@";; esac\n'


def own(text):
    """Make the naps of this process's tests unlike those of others at the same time."""
    return text.replace("1000.", f"{os.getpid():07}000.")


def processes_with(text):
    text = own(text).encode()
    return [pid for pid, said in of_each_process("cmdline") if text in said]


def all_gone(text):
    """Wait for processes that are killed to be gone: dying takes them a moment."""
    deadline = time.monotonic() + 20
    while processes_with(text) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not processes_with(text)


def cache_of(bench, repo):
    return bench.caches / cache_key(str(repo))


def test_a_hanging_git_that_ignores_term_is_killed_with_its_children(
    fake, source, target, tmp_path
):
    bench = fake(
        ONLY_FETCH + 'trap "" TERM\nsh -c "trap \'\' TERM; sleep 1000.25" &\n'
        "sleep 1000.25\nsleep 1000.25\n"
    )
    began = time.monotonic()
    outcome = bench.sync(task(source, target, timeout=0.5))
    assert time.monotonic() - began < 6
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "timeout" in outcome.error_message
    assert not processes_with("1000.25")


def test_a_grandchild_in_another_session_that_holds_the_pipe_does_not_hold_the_run(
    fake, source, target
):
    bench = fake(ONLY_FETCH + 'setsid sleep 1000.75 &\nexec git "$@"\n')
    try:
        began = time.monotonic()
        assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
        assert time.monotonic() - began < 10
    finally:
        for pid in processes_with("1000.75"):
            os.kill(pid, signal.SIGKILL)


def test_a_cancelled_run_ends_its_git_at_once(fake, source, target, tmp_path):
    bench = fake(ONLY_FETCH + f"touch {tmp_path}/began\nsleep 1000.5\n")

    def cancel():
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        bench.stop.set("cancelled")

    thread = threading.Thread(target=cancel)
    thread.start()
    outcome = bench.sync(task(source, target))
    thread.join()
    assert outcome.status is RunStatus.CANCELLED
    assert not processes_with("1000.5")


@pytest.mark.parametrize(("death", "said"), [
    ("kill -SEGV $$", "git fetch was killed by signal 11"),
    ("kill -KILL $$", "git fetch was killed by signal 9: out of memory?"),
    ("echo error: index-pack died of signal 9 >&2; exit 128",
     "git fetch: error: index-pack died of signal 9: out of memory?"),
])  # fmt: skip
def test_a_git_that_dies_of_a_signal_is_transient_and_says_so(
    fake, source, target, death, said
):
    outcome = fake(f"{ONLY_FETCH}{death}\n").sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert outcome.error_message == said


def test_an_unknown_failure_is_not_tried_again(fake, source, target):
    outcome = fake(ONLY_FETCH + "echo fatal: odd >&2; exit 128\n").sync(
        task(source, target)
    )
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "fatal: odd" in outcome.error_message


@pytest.mark.parametrize("said", ["", "echo 'Receiving objects: 100% (3/3)' >&2;"])
def test_a_failure_that_nobody_explains_is_tried_again(fake, source, target, said):
    bench = fake(f"{ONLY_FETCH}{said} exit 1\n")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "git at the host ended with an error" in outcome.error_message


PASSING = (errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOSPC, errno.EDQUOT)
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOENT)


@pytest.mark.parametrize("number", [*PASSING, *SHORT])
def test_a_disk_that_fails_is_waited_for(number):
    failure = sync_engine.as_git_error(OSError(number, os.strerror(number)))
    assert failure.transient
    assert os.strerror(number) in str(failure)


@pytest.mark.parametrize("how", ["missing", "not executable"])
def test_a_git_that_cannot_be_run_is_named_and_transient(tmp_path, source, target, how):
    path = tmp_path / "no-git"
    if how != "missing":
        path.write_text("")
    bench = Bench(tmp_path, binary=str(path))
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert f"{path} cannot be run" in outcome.error_message


def test_a_flood_on_stderr_is_capped_and_does_not_block(fake, source, target):
    flood = "head -c 20000000 /dev/zero | tr '\\0' 'x' | fold -w 1000 >&2\n"
    bench = fake(ONLY_FETCH + flood + 'exec git "$@"\n')
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    assert len(bench.log.text()) < HEAD + 2 * TAIL + 100
    assert bench.log.text().count("[the rest is left out]") == 1


def test_a_flood_on_stdout_ends_the_command(fake, source, target):
    flood = 'case " $* " in *" ls-remote "*) exec cat /dev/zero;; esac\n'
    bench = fake(flood + 'exec git "$@"\n')
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.FAILED
    assert "too large" in outcome.error_message


MANY_LINES = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from tests.support.processes import of_each_process
from tests.support.repositories import Bench, task
root, source, target = map(Path, sys.argv[1:])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
Bench(root).sync(task(source, target))
before = peak()
print(Bench(root, binary=str(root / "fake-git")).sync(task(source, target)).status)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("flood", "status"),
    [
        ("exec yes", "failed"),
        ("exec head -c 1G /dev/zero", "failed"),
        ('yes | head -c 256M >&2; exec git "$@"', "success"),
        ('head -c 256M /dev/zero >&2; exec git "$@"', "success"),
    ],
)
def test_a_flood_takes_no_more_than_a_few_mib_of_memory(
    fake, source, target, tmp_path, flood, status
):
    fake(f'case " $* " in *" ls-remote "*) {flood} ;; esac\nexec git "$@"\n')
    tests = Path(__file__).parents[2]
    code = MANY_LINES.format(path=[str(tests), str(tests.parent)])
    argv = (sys.executable, "-c", code, str(tmp_path), str(source), str(target))
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    ended, grown = done.stdout.split()
    assert ended == status
    assert int(grown) < 32


def test_a_file_over_the_size_cap_ends_the_run(tmp_path, source, target):
    source.commit(files={"big": os.urandom(400_000).hex()})
    bench = Bench(tmp_path, file_size=100_000)
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "too large" in outcome.error_message
    assert leftovers(cache_of(bench, source)) == []


def test_a_push_cut_off_after_it_arrived_is_recorded_as_done(fake, source, target):
    bench = fake(ONLY_PUSH + 'git "$@" >/dev/null 2>&1; sleep 1000.125\n')
    outcome = bench.sync(task(source, target, "main:main", timeout=1.5))
    assert outcome.status is RunStatus.SUCCESS, outcome
    assert [r.result for r in outcome.refs] == [RefResult.CREATED]
    assert bench.known == target.refs() == source.refs()


def test_a_push_cut_off_before_it_arrived_is_transient(fake, source, target):
    bench = fake(ONLY_PUSH + "sleep 1000.0625\n")
    outcome = bench.sync(task(source, target, "main:main", timeout=1.0))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert target.refs() == {}
    assert bench.known == {"refs/heads/main": UNCERTAIN}


def test_a_broken_transport_is_seen_by_what_arrived_not_by_the_exit(
    fake, source, target
):
    bench = fake(
        ONLY_PUSH + 'git "$@" >/dev/null; echo fatal: early EOF >&2; exit 128\n'
    )
    outcome = bench.sync(task(source, target, "main:main"))
    assert outcome.status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


LOCKS = (
    "refs/src/heads/main.lock", "packed-refs.lock", "packed-refs.new", "HEAD.lock",
    "config.lock", "shallow.lock", "objects/pack/tmp_pack_x", "objects/tmp_objdir-in/x",
    "objects/info/commit-graphs/commit-graph-chain.lock", "index.lock",
    "FETCH_HEAD.lock", "refs/src/heads/old.lock",
)  # fmt: skip


def test_stale_locks_do_not_stop_the_next_run(bench, source, target):
    it = task(source, target, prune=True)
    source.commit("old")
    bench.sync(it)
    cache = cache_of(bench, source)
    subprocess.run(("git", f"--git-dir={cache}", "pack-refs", "--all"), check=True)
    for path in (cache / lock for lock in LOCKS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    source.set(old=None)
    source.commit()
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    assert [lock for lock in LOCKS if (cache / lock).exists()] == []


@pytest.fixture
def hasty(monkeypatch):
    """Wait less before a lock that nobody has open is taken for one left behind."""
    monkeypatch.setattr("gms_hookd.git.recovery.DEAD_AFTER", 0.2)


DIES_ONCE = "test -e {0}/died || {{ touch {0}/died; {1}; kill -9 $PPID; }}\n"


@pytest.mark.usefixtures("hasty")
def test_what_a_receiver_killed_in_a_push_left_is_removed_by_that_run(
    bench, source, target, tmp_path
):
    lock = f"touch {target}/refs/heads/main.lock"
    target.hook("pre-receive", DIES_ONCE.format(tmp_path, lock))
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert leftovers(target.path) == []
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    target.fsck()


@pytest.mark.usefixtures("hasty")
def test_it_is_removed_though_the_clock_was_set_back_meanwhile(
    bench, source, target, tmp_path
):
    lock = f"{target}/refs/heads/main.lock"
    tomorrow = f"touch {lock}; touch -d tomorrow {lock}"
    target.hook("pre-receive", DIES_ONCE.format(tmp_path, tomorrow))
    assert bench.sync(task(source, target)).transient
    assert leftovers(target.path) == []


@pytest.mark.usefixtures("hasty")
def test_a_push_of_somebody_else_into_the_same_target_is_left_alone(
    bench, source, target, tmp_path
):
    theirs = target.path / "objects/tmp_objdir-incoming-theirs"
    target.hook("pre-receive", DIES_ONCE.format(tmp_path, f"mkdir {theirs}"))
    with subprocess.Popen(("cat",), env={"GIT_QUARANTINE_PATH": str(theirs)},
                          stdin=subprocess.PIPE):  # fmt: skip
        assert bench.sync(task(source, target)).transient
        assert leftovers(target.path) == [theirs.name]


def test_a_ref_that_somebody_else_holds_locked_is_tried_again_later(
    bench, source, target
):
    lock = target.path / "refs/heads/main.lock"
    lock.touch()
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert lock.exists()
    lock.unlink()
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS


def test_an_empty_ref_file_after_a_power_cut_is_mended(bench, source, target):
    it = task(source, target)
    bench.sync(it)
    (cache_of(bench, source) / "refs/src/heads/main").write_bytes(b"")
    source.commit()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def wreck_nothing_left(cache):
    subprocess.run(("rm", "-rf", str(cache)), check=True)


def wreck_no_cache_left(cache):
    wreck_nothing_left(cache.parent)


def wreck_half_made(cache):
    wreck_nothing_left(cache)
    (cache / "objects").mkdir(parents=True)


def wreck_objects(cache):
    for pack in (cache / "objects/pack").iterdir():
        pack.unlink()


def wreck_pack(cache):
    for pack in (cache / "objects/pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:-40] + b"x" * 40)


def wreck_head(cache):
    (cache / "HEAD").write_bytes(b"\0" * 30)


def wreck_config(cache):
    (cache / "config").write_text("[core\n")


WRECKS = (
    wreck_nothing_left, wreck_no_cache_left, wreck_half_made, wreck_objects, wreck_pack,
    wreck_head, wreck_config,
)  # fmt: skip


@pytest.mark.parametrize("changes", [(True, True), (False, True, True)])
@pytest.mark.parametrize("wreck", WRECKS)
def test_a_broken_cache_heals_within_one_run(bench, source, target, wreck, changes):
    it = task(source, target)
    source.commit(files={f"f{n}": os.urandom(50).hex() for n in range(20)})
    bench.sync(it)
    wreck(cache_of(bench, source))
    said = ""
    for change in changes:
        if change:
            source.commit()
        assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
        assert target.refs() == source.refs()
        said += bench.log.text()
    assert said.count("making it anew") <= 1
    target.fsck()


@pytest.mark.parametrize("moment", ["fetch", "push"])
@pytest.mark.parametrize("lost", ["", "/objects/pack"])
def test_a_cache_that_is_lost_while_it_is_used_is_made_again_once(
    fake, source, target, tmp_path, moment, lost
):
    Bench(tmp_path).sync(task(source, target))
    source.commit(files={f"f{n}": os.urandom(50).hex() for n in range(20)})
    lose = f"touch {tmp_path}/lost; rm -rf {tmp_path}/caches/*[0-9a-f]{lost}"
    bench = fake(
        f'case " $* " in *" {moment} "*) test -e {tmp_path}/lost || {{ {lose}; }} ;;'
        ' esac\nexec git "$@"\n'
    )
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert bench.log.text().count("making it anew") <= 1
    assert target.refs() == source.refs()
    target.fsck()


def test_a_corrupt_source_does_not_cost_the_cache(bench, source, target):
    it = task(source, target)
    bench.sync(it)
    before = cache_of(bench, source).stat().st_ino
    oid = source.commit()
    for path in (source.path / "objects").rglob("*"):
        if path.is_file() and path.stat().st_mtime_ns and "pack" not in str(path):
            path.unlink()
    subprocess.run(("rm", "-rf", f"{source}/objects/{oid[:2]}"), check=True)
    outcome = bench.sync(it)
    assert outcome.status is not RunStatus.CANCELLED
    assert cache_of(bench, source).stat().st_ino == before


@pytest.fixture
def die_at_work(tmp_path, source, target, fake):
    """Let a daemon that syncs be killed as soon as its git has started a nap."""

    def make(script, nap):
        fake(ONLY_FETCH + script)
        tests = str(Path(__file__).parents[2])
        code = f"""
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from tests.support.processes import of_each_process
from tests.support.repositories import Bench, task
bench = Bench(Path({str(tmp_path)!r}), binary={str(tmp_path / "fake-git")!r})
bench.sync(task({str(source)!r}, {str(target)!r}))
"""
        child = subprocess.Popen((sys.executable, "-c", code), start_new_session=True)
        deadline = time.monotonic() + 60
        while not processes_with(nap) and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
        child.wait()
        assert processes_with(nap)

    yield make
    for pid in processes_with("1000."):
        os.kill(pid, signal.SIGKILL)


# The group is known by its leader, by its number alone, by its command line alone.
ALONE = {
    "at work": "sleep 1000.375; true\n",
    "without its leader": """
        sleep 1000.375 &
        until grep -q '"git": '$$, "${0%/*}"/caches/*.lock; do :; done
        kill -9 $PPID $$
    """,
    "not yet noted": "sleep 1000.375; true\n",
}


@pytest.mark.parametrize("which", ALONE)
def test_a_git_that_outlived_its_daemon_is_ended(
    bench, source, target, die_at_work, which
):
    die_at_work(ALONE[which], "1000.375")
    if which == "not yet noted":
        lock = cache_of(bench, source).with_suffix(".lock")
        entry = json.loads(lock.read_bytes())
        lock.write_text(json.dumps(entry | {"git": 0}))
    outcome = bench.sync(task(source, target, timeout=30.0))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert not processes_with("1000.375")


def test_what_a_hook_put_into_a_session_of_its_own_outlives_the_next_run(
    bench, source, target, die_at_work
):
    die_at_work("setsid sleep 1000.375 &\nsleep 1000.4375\n", "1000.4375")
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    assert processes_with("1000.375")
    assert not processes_with("1000.4375")


def test_the_tidier_leaves_a_cache_to_a_git_that_outlived_its_daemon(
    bench, source, target, die_at_work
):
    die_at_work(ALONE["at work"], "1000.375")
    bench.engine.maintain([])
    assert cache_of(bench, source).exists()
    assert all_gone("1000.375")
    bench.engine.maintain([])
    assert not cache_of(bench, source).exists()


def descriptors(listing):
    """Read from `ls -l /proc/self/fd` what a hook had open beside its own listing."""
    parts = (line.partition(" -> ") for line in listing.read_text().splitlines())
    found = [(left.split()[-1], where) for left, arrow, where in parts if arrow]
    return [w for n, w in found if int(n) > 2 and not w.startswith("/proc/")]


HOOKS = (
    "pre-receive", "update", "reference-transaction", "post-receive", "post-update",
)  # fmt: skip


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_of_a_target_has_no_descriptor_of_ours(bench, source, target, hook):
    for name, push in (
        ("git's", partial(source.git, "push", "-q", str(target), "main")),
        ("ours", lambda: bench.sync(task(source, target))),
    ):
        source.commit()
        target.hook(hook, f'exec ls -l /proc/self/fd >>"{target}/{name}"\n')
        push()
    # From git 2.54 on there is a pipe of its own.
    of_git = [where for where in descriptors(target.path / "git's") if "pipe" in where]
    ours = descriptors(target.path / "ours")
    assert len(ours) <= len(of_git), ours
    assert all("pipe" in where for where in ours), ours


def test_what_a_hook_leaves_behind_holds_up_no_later_run(
    tmp_path, bench, source, target
):
    # What has no session of its own yet when git ends is ended with it.
    leave = "setsid sh -c 'touch apart; exec sleep 1000.375' >/dev/null 2>&1 &\n"
    target.hook("post-receive", own(leave + "until [ -e apart ]; do :; done\n"))
    try:
        for _ in range(2):
            assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
            source.commit()
        other = task(source, Repo(tmp_path / "other.git"))
        assert bench.sync(other, known={}).status is RunStatus.SUCCESS
        assert processes_with("1000.375")
    finally:
        for pid in processes_with("1000.375"):
            os.kill(pid, signal.SIGKILL)


def test_two_runs_of_one_cache_wait_for_each_other(tmp_path, source, bench):
    targets = [Repo(tmp_path / f"t{n}.git") for n in range(4)]
    source.commit("a", "b")
    found = []

    def run(target):
        one = Bench(tmp_path, engine=bench.engine)
        found.append(one.sync(task(source, target)).status)

    threads = [threading.Thread(target=run, args=(t,)) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [RunStatus.SUCCESS] * 4
    assert all(t.refs() == source.refs() for t in targets)


def test_a_run_that_cannot_get_its_cache_is_transient(tmp_path, source, target, fake):
    holder = fake(ONLY_FETCH + f"touch {tmp_path}/began; sleep 30\n")
    thread = threading.Thread(target=holder.sync, args=(task(source, target),))
    thread.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.01)
    outcome = Bench(tmp_path).sync(task(source, target, timeout=0.3))
    holder.stop.set("shutdown")
    thread.join()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "in use" in outcome.error_message


def test_the_sha_last_synced_costs_no_git_at_all(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    outcome = bench.sync(it, hint=source.tip())
    assert (outcome.status, outcome.commit_range) == (RunStatus.SUCCESS, "")
    assert bench.commands() == []


def test_a_sha_that_the_source_does_not_serve_is_not_synced(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    other = source.commit("other", on=source.tip())
    outcome = bench.sync(it, hint=other)
    assert outcome.commit_range == ""
    assert target.tip() == source.tip() != other
