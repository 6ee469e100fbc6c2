"""A run's record is what it did to its target: cut off, killed, retried, held back."""

import re
import shutil
import threading

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import Ref, RefResult, RunStatus, over_attempts
from gms_hookd.store import runs
from gms_hookd.sync.job import SyncJob
from tests.support.place import Place, wait_for
from tests.support.process import run_number
from tests.support.repositories import Bench, Repo, task

A, B, C = "a" * 40, "b" * 40, "c" * 40


def row(result, old, new, reason=None):
    return Ref("refs/heads/main", RefResult(result), old, new, reason)


FORCED = row("forced", A, C, "x")
DELETED = row("deleted", B, None, "x")


@pytest.mark.parametrize(
    ("first", "then", "both"),
    [
        (row("rejected", A, B, "locked"), row("updated", A, B), row("updated", A, B)),
        (row("updated", A, B), row("unchanged", B, B), row("updated", A, B)),
        (row("created", None, A), row("updated", A, B), row("created", None, B)),
        (row("updated", A, B), row("forced", B, C, "x"), row("forced", A, C, "x")),
        (row("forced", A, B, "x"), row("updated", B, C), row("forced", A, C, "x")),
        (
            row("forced", A, B, "x"),
            row("forced", B, C, "y"),
            row("forced", A, C, "x; y"),
        ),
        (
            row("deleted", A, None, "x"),
            row("created", None, C),
            row("forced", A, C, "x"),
        ),
        (
            row("forced", A, B, "x"),
            row("deleted", B, None),
            row("deleted", B, None, "x"),
        ),
        (row("forced", A, B, "x"), row("forced", A, B, "x"), row("forced", A, B, "x")),
        (
            row("deleted", A, None, "x"),
            row("rejected", C, None, "moved"),
            row("deleted", A, None, "x; a later attempt: rejected: moved"),
        ),
    ],
)
def test_a_ref_is_what_became_of_it_over_two_attempts(first, then, both):
    assert over_attempts(first, then) == both


@pytest.fixture(params=["with git-lfs", "without"])
def path(tmp_path, request):
    """Give a PATH with git, and with git-lfs or without it."""
    names = ["git", "sh", "sleep", "touch"]
    if request.param == "with git-lfs":
        names.append("git-lfs")
        if not shutil.which("git-lfs"):
            pytest.skip("needs git-lfs")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


@pytest.fixture
def fake(tmp_path):
    """Make an engine whose git is a script at each push; "$1" and on is for git."""

    def make(text, environ=None):
        script = tmp_path / "fake-git"
        script.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}" + 'exec git "$@"\n')
        script.chmod(0o755)
        return Bench(tmp_path, environ, binary=str(script), grace=0.2)

    return make


def at(verb, text):
    return f'case " $* " in *" {verb} "*) {text} ;; esac\n'


ARRIVES = 'git "$@" >/dev/null 2>&1; touch arrived; '
BOTH = {"refs/heads/main": "forced", "refs/heads/gone": "deleted"}
MAIN = {"refs/heads/main": "forced"}


@pytest.fixture
def lost(target):
    """Let the target have a branch that is to go, and a main that has diverged."""
    return {f"refs/heads/{name}": target.commit(name) for name in ("main", "gone")}


def restored(refs, target):
    """Push back what the record says is kept of what was lost; give what is there."""
    for one in refs:
        for kept in kept_at(one)[:1]:
            (cache,) = caches_with(target.path.parent, kept)
            lease = f"--force-with-lease={one.ref}:{one.new or ''}"
            cache.git("push", "-q", lease, str(target), f"{kept}:{one.ref}")
    return target.refs()


def kept_at(row):
    """Name the refs of the cache that keep what a ref has lost."""
    return re.findall(r"old tip kept at (\S+);", row.reason or "")


def caches_with(root, ref):
    found = [Repo(path) for path in root.rglob("caches/*") if path.suffix == ""]
    return [cache for cache in found if (cache.path / ref).is_file()]


def done(refs):
    return {one.ref: one.result for one in refs if one.result != "unchanged"}


def test_a_push_that_arrived_and_was_cut_off_is_recorded_with_what_it_lost(
    source, target, lost, fake, path
):
    bench = fake(at("push", ARRIVES + "exec sleep 60"), {"PATH": path})
    outcome = bench.sync(task(source, target, force=True, timeout=1.5))
    assert target.tip() == source.tip()
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert done(outcome.refs) == MAIN
    assert outcome.commit_range == f"{lost['refs/heads/main']}..{source.tip()}"
    assert restored(outcome.refs, target) == lost


@pytest.mark.parametrize("times", [1, 2])
def test_a_push_whose_answer_was_lost_is_recorded_although_it_was_sent_again(
    source, target, lost, opened, http_host, times
):
    """libcurl does that by itself, and the second time the target declines it."""
    cuts = iter(range(times))

    def cut(handler):
        if handler.command != "POST" or "upload-pack" in handler.path:
            return False
        if next(cuts, None) is None:
            return False
        handler.carry_out()
        handler.cut()
        return True

    http_host.faults.append(cut)
    bench = opened()
    it = task(source, http_host.url(target), force=True, prune=True)
    outcome = bench.sync(it)
    assert next(cuts, None) is None
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert done(outcome.refs) == BOTH
    assert restored(outcome.refs, target) == lost


@pytest.mark.parametrize("why", ["cancelled", "shutdown"])
def test_a_push_that_arrived_before_the_run_was_stopped_is_recorded(
    source, target, lost, fake, tmp_path, why
):
    bench = fake(at("push", ARRIVES + "exec sleep 60"))

    def stop():
        wait_for(tmp_path / "arrived")
        bench.stop.set(why)

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = bench.sync(task(source, target, force=True))
    thread.join()
    assert outcome.status is RunStatus.CANCELLED
    assert done(outcome.refs) == MAIN
    assert restored(outcome.refs, target) == lost


SECOND = "test -e one && {{ echo '{}' >&2; exit 128; }}; touch one"
FAILURES = (
    "fatal: Authentication failed", "fatal: /x does not exist",
    "Host key verification failed.", "fatal: the remote end hung up unexpectedly",
)  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_what_was_pushed_before_a_failure_is_recorded(
    source, target, lost, fake, failure
):
    bench = fake(at("push", SECOND.format(failure)))
    outcome = bench.sync(task(source, target, force=True, prune=True))
    assert outcome.status is RunStatus.FAILED
    assert [one.ref for one in outcome.refs if one.acted] == ["refs/heads/gone"]
    assert "refs/heads/gone" not in bench.known
    assert restored(outcome.refs, target) == lost


def test_a_failure_after_the_push_does_not_take_its_record(source, target, lost, fake):
    target.git("symbolic-ref", "HEAD", "refs/heads/none")
    bench = fake(at("symbolic-ref", "exit 1"))
    outcome = bench.sync(task(source, target, force=True))
    assert (outcome.status, done(outcome.refs)) == (RunStatus.FAILED, MAIN)
    assert bench.known == source.refs()
    assert restored(outcome.refs, target) == lost


def test_a_cache_that_breaks_between_two_pushes_does_not_take_the_first(
    source, target, lost, fake
):
    breaks = "rm -rf caches/*[0-9a-f]/objects/pack"
    second = f"test -e one && ! test -e two && {{ touch two; {breaks}; }}; touch one"
    bench = fake(at("push", second))
    outcome = bench.sync(task(source, target, force=True, prune=True))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert "the cache is broken" in bench.log.text()
    assert done(outcome.refs) == BOTH


def test_a_push_of_unknown_fate_says_so_and_is_looked_up_by_the_next_attempt(
    source, target, lost, fake, tmp_path
):
    cut = ARRIVES + "echo fatal: early EOF >&2; exit 128"
    bench = fake(at("push", cut) + at("ls-remote", "test -e arrived && exit 128"))
    it = task(source, target, force=True)
    outcome = bench.sync(it, run=7)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    (main,) = outcome.refs
    assert main.result is RefResult.REJECTED
    assert "not known whether it arrived; if it did, old tip kept at" in main.reason
    assert "; to restore: gms-hookd run undo 7 --ref refs/heads/main" in main.reason
    again = Bench(tmp_path).sync(it, run=7, attempt=2, before=outcome.refs)
    assert (again.status, done(again.refs)) == (RunStatus.SUCCESS, MAIN)
    assert again.commit_range == f"{main.old}..{main.new}"
    assert restored(again.refs, target) == lost


def test_a_push_of_unknown_fate_stays_listed_when_somebody_has_been_there_since(
    source, target, lost, fake, tmp_path
):
    cut = ARRIVES + "echo fatal: early EOF >&2; exit 128"
    bench = fake(at("push", cut) + at("ls-remote", "test -e arrived && exit 128"))
    it = task(source, target, "main:main", force=True)
    first = bench.sync(it, run=7)
    theirs = target.commit("main", on=lost["refs/heads/gone"])
    again = Bench(tmp_path).sync(it, run=7, attempt=2, before=first.refs)
    (main,) = again.refs
    assert (main.result, main.old, main.new) == ("forced", theirs, source.tip())
    assert "it is not known whether it arrived; if it did, old tip " in main.reason
    cache = Repo(tmp_path / "caches" / cache_key(str(source)))
    assert {cache.tip(ref) for ref in kept_at(main)} == {
        lost["refs/heads/main"],
        theirs,
    }


def test_what_one_run_has_open_is_not_taken_for_the_work_of_another(
    source, target, lost, fake, tmp_path
):
    cut = ARRIVES + "echo fatal: early EOF >&2; exit 128"
    bench = fake(at("push", cut) + at("ls-remote", "test -e arrived && exit 128"))
    it = task(source, target, force=True)
    bench.sync(it, run=7)
    elsewhere = task(source, Repo(tmp_path / "elsewhere.git"), force=True)
    for order in ({"run": 8}, {"run": 8, "attempt": 2}):
        assert done(Bench(tmp_path).sync(it, **order).refs) == {}
    outcome = Bench(tmp_path).sync(elsewhere, run=7, attempt=2)
    assert done(outcome.refs) == {"refs/heads/main": "created"}


def test_a_run_that_is_held_back_did_nothing_and_says_so(source, target, bench):
    names = [f"b{n}" for n in range(8)]
    source.commit(*names)
    it = task(source, target, prune=True)
    bench.sync(it)
    source.set(new=source.tip(), **dict.fromkeys(names))
    outcome = bench.sync(it)
    held = ["refs/heads/new", *(f"refs/heads/{name}" for name in names)]
    assert outcome.status is RunStatus.CONFLICT
    assert done(outcome.refs) == dict.fromkeys(held, "rejected")
    reasons = {one.ref: one.reason for one in outcome.refs}
    assert reasons["refs/heads/b0"] == "held back: it would have been deleted"
    assert reasons["refs/heads/new"] == "held back: it would have been created"
    assert outcome.commit_range == ""
    plan = bench.engine.plan(SyncJob(it, bench.known), bench.log, bench.stop)
    assert done(plan.refs) == {
        "refs/heads/new": "created",
        **dict.fromkeys(held[1:], "deleted"),
    }


@pytest.fixture
def place(context, tmp_path):
    """A task whose target has lost its way; one of its branches is locked."""
    place = Place(context, tmp_path, force=True, refspecs=())
    place.source.commit("two")
    place.lost = place.target.commit("main")
    place.lock = place.target.path / "refs/heads/two.lock"
    place.lock.touch()
    return place


def attempt(place, clock, status):
    place.worker.run_one()
    (run,) = place.do(runs.history, None, None, 5)
    assert run.status is status, place.run(run.id).details
    clock.forward(2000)
    return run


FORCED_AND = {"refs/heads/main": "forced", "refs/heads/two": "rejected"}


def test_a_retry_keeps_what_earlier_attempts_did(place, clock):
    place.trigger()
    run = attempt(place, clock, RunStatus.QUEUED)
    assert done(run.refs) == FORCED_AND
    assert run.commit_range == f"{place.lost}..{place.tip}"
    place.lock.unlink()
    run = attempt(place, clock, RunStatus.SUCCESS)
    assert (run.attempt, done(run.refs)) == (
        2,
        {"refs/heads/main": "forced", "refs/heads/two": "created"},
    )
    assert run.commit_range.startswith(f"{place.lost}..{place.tip} ")
    assert restored(run.refs, place.target)["refs/heads/main"] == place.lost


def test_a_last_attempt_that_fails_keeps_what_earlier_ones_did(place, clock):
    place.trigger()
    attempt(place, clock, RunStatus.QUEUED)
    place.source.path.rename(place.root / "away")
    run = attempt(place, clock, RunStatus.FAILED)
    assert done(run.refs) == FORCED_AND
    assert run.commit_range == f"{place.lost}..{place.tip}"


def test_a_retry_that_overwrites_once_more_names_both_losses(place, clock):
    place.trigger()
    attempt(place, clock, RunStatus.QUEUED)
    second = place.target.commit("main", on=place.target.tip("main"))
    place.lock.unlink()
    run = attempt(place, clock, RunStatus.SUCCESS)
    main = next(one for one in run.refs if one.ref == "refs/heads/main")
    assert (main.old, main.new) == (place.lost, place.tip)
    for kept, tip in zip(kept_at(main), (place.lost, second), strict=True):
        cache = Repo(place.root / "caches" / cache_key(str(place.source)))
        assert cache.tip(kept) == tip


def test_a_defect_of_ours_does_not_take_the_record(place, clock, monkeypatch):
    place.trigger()
    attempt(place, clock, RunStatus.QUEUED)
    monkeypatch.setattr("gms_hookd.sync.plan.decide", None)
    run = attempt(place, clock, RunStatus.FAILED)
    assert "internal error" in run.error_message
    assert done(run.refs) == FORCED_AND


@pytest.mark.parametrize("hook", ["pre-receive", "post-receive"])
def test_a_daemon_killed_in_a_push_records_after_its_restart_what_that_did(
    source, target, lost, daemon, hook
):
    once = f"test -e {target}/busy && exit 0; touch {target}/busy; exec sleep 60\n"
    target.hook(hook, once)
    daemon.start()
    number = daemon.add_task("m", source, target, force=True)
    run = run_number(daemon.trigger(number)[1])
    wait_for(target.path / "busy")
    daemon.kill()
    daemon.start()
    ended = daemon.ended(run)
    assert (ended["status"], ended["attempt"]) == ("success", 2), ended["details"]
    refs = [Ref(**one) for one in ended["refs"]]
    assert done(refs) == MAIN, ended
    assert ended["commit_range"] == f"{lost['refs/heads/main']}..{source.tip()}"
    assert restored(refs, target) == lost
