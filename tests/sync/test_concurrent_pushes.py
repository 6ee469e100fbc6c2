"""Somebody else pushes to the target while we do: no commit of theirs is ever lost."""

import os
from dataclasses import replace

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import Bench, Repo, task

ROUNDS = int(os.environ.get("RACE_ROUNDS", "1"))

OUTSIDER = """
outsider() {{
    test "$(wc -l < {place}/due)" -gt 0 || return 0
    sed -i 1d {place}/due
    set -- env -i "PATH=$PATH" HOME={place} git --git-dir={target}
    old=$("$@" rev-parse -q --verify refs/heads/main)
    base=$("$@" rev-parse -q --verify refs/heads/main || "$@" rev-parse other)
    new=$("$@" -c user.name=s -c user.email=s commit-tree -m s -p $base $base^{{tree}})
    {act} && echo $new >> {place}/theirs
}}
"""
COMMITS = '"$@" update-ref refs/heads/main $new $old'
DELETES = '"$@" update-ref -d refs/heads/main'
BEFORE = """#!/bin/sh
{outsider}
case " $* " in *" push "*|*" fetch "*"{url} "*) (outsider "$@") ;; esac
exec git "$@"
"""
WITHIN = "{outsider}\ncat >/dev/null\noutsider\n"


class Outsider:
    """Gets at the target so many times in a round, when our git is about to."""

    def __init__(self, place, target):
        self._place = place
        self._target = target
        self._due = place / "due"
        self._theirs = place / "theirs"
        self._due.touch()

    def strikes(self, moment, url, act):
        """Wait before each git of ours that talks to the URL, or within its push.

        Within, the refs have been compared already. Gives the git that we are to use.
        """
        said = OUTSIDER.format(place=self._place, target=self._target, act=act)
        if moment == "within":
            self._target.hook("pre-receive", WITHIN.format(outsider=said))
            return "git"
        binary = self._place / "git-with-a-rival"
        binary.write_text(BEFORE.format(outsider=said, url=url))
        binary.chmod(0o755)
        return str(binary)

    def will(self, times):
        self._due.write_text("x\n" * times)

    @property
    def waits(self):
        return bool(self._due.read_text())

    @property
    def commits(self):
        return self._theirs.read_text().split()


@pytest.fixture
def outsider(tmp_path, target):
    (tmp_path / "outsider").mkdir()
    return Outsider(tmp_path / "outsider", target)


@pytest.fixture
def rivals(tmp_path, source, target, http_host, outsider):
    """Make a bench and a task, on a host and at a moment of the test's choice."""

    def make(host, moment, act=COMMITS, **policy):
        url = http_host.url(target) if host == "http" else str(target)
        it = task(source, url, "main:main", **policy)
        binary = outsider.strikes(moment, url, act)
        bench = Bench(tmp_path, allow_protocols=("file", "http"), binary=binary)
        assert bench.sync(it).status is RunStatus.SUCCESS
        return bench, it

    return make


def lost(repo, commits):
    """Name those that no ref of a repository leads to any longer."""
    reached = set(repo.git("rev-list", "--all").split())
    return [oid for oid in commits if oid not in reached]


def cache_of(bench):
    (path,) = (p for p in bench.caches.iterdir() if p.is_dir())
    return Repo(path)


HOSTS = pytest.mark.parametrize("host", ["local", "http"])
MOMENTS = pytest.mark.parametrize("moment", ["before", "within"])


@HOSTS
@MOMENTS
def test_a_fast_forward_never_loses_a_commit_pushed_between_our_read_and_our_push(
    source, target, rivals, outsider, host, moment
):
    bench, it = rivals(host, moment)
    for _ in range(ROUNDS):
        source.commit()
        outsider.will(1)
        outcome = bench.sync(it)
        assert outcome.status is RunStatus.CONFLICT, bench.log.text()
        assert target.tip() == outsider.commits[-1]
        source.git("fetch", "-q", str(target), "+main:main")
        source.commit()
        assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
        assert target.tip() == source.tip()
    assert len(outsider.commits) == ROUNDS
    assert lost(target, outsider.commits) == []
    target.fsck()


@HOSTS
@pytest.mark.parametrize(
    ("moment", "times"),
    [("before", 1), ("before", 2), ("within", 1)],
    ids=["before the push", "and while the old tip is kept", "within the push"],
)
def test_force_keeps_every_commit_pushed_between_our_read_and_our_push(
    source, target, rivals, outsider, tmp_path, host, moment, times
):
    bench, it = rivals(host, moment, force=True)
    for _ in range(ROUNDS):
        source.commit()
        outsider.will(times)
        outcome = bench.sync(it)
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        assert not outsider.waits
        assert target.tip() == source.tip()
        assert outsider.commits[-1] in [oid for _, oid, _ in outcome.pinned]
    assert len(outsider.commits) == ROUNDS * times
    cache = cache_of(bench)
    assert lost(cache, outsider.commits) == []
    cache.fsck()
    target.fsck()


@pytest.mark.parametrize("force", [False, True])
def test_a_target_that_never_rests_is_left_alone_until_later(
    source, target, rivals, outsider, force
):
    bench, it = rivals("local", "before", force=force)
    source.commit()
    outsider.will(100)
    outcome = bench.sync(it)
    assert outsider.waits
    assert target.tip() == outsider.commits[-1]
    if force:
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    else:
        assert outcome.status is RunStatus.CONFLICT


@HOSTS
@MOMENTS
def test_a_branch_that_an_outsider_makes_first_is_not_overwritten(
    source, target, rivals, outsider, host, moment
):
    """They make the very branch that we have just seen missing."""
    bench, it = rivals(host, moment)
    target.put({"refs/heads/main": None, "refs/heads/other": source.tip()})
    source.commit()
    outsider.will(1)
    assert bench.sync(it, known={}).status is RunStatus.CONFLICT, bench.log.text()
    assert target.tip() == outsider.commits[-1]


@pytest.mark.parametrize("times", [1, 2])
def test_a_branch_that_an_outsider_deletes_meanwhile_is_made_again(
    source, target, rivals, outsider, times
):
    bench, it = rivals("local", "before", DELETES, force=True)
    target.commit("other")
    for _ in range(times - 1):  # which we first see as they delete it
        target.commit()
    source.commit()
    outsider.will(1)
    assert bench.sync(it, verify=True).status is RunStatus.SUCCESS, bench.log.text()
    assert target.tip() == source.tip()


def test_a_branch_that_an_outsider_deletes_before_we_do_is_deleted(
    source, target, rivals, outsider
):
    bench, it = rivals("local", "before", DELETES)
    source.put({"refs/heads/other": source.tip(), "refs/heads/main": None})
    target.put({"refs/heads/other": source.tip("other")})
    outsider.will(1)
    both = replace(it, refspecs=("refs/heads/*:refs/heads/*",), prune=True)
    assert bench.sync(both).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


def test_a_host_that_fails_to_update_without_a_word_is_looked_at(
    http_host, source, target, opened
):
    """What it was to do it may have done at the first of two requests."""
    bench, it = opened(), task(source, http_host.url(target))
    bench.sync(it)
    bench.commands()
    source.commit()

    def done_and_failed(request):
        if request.command == "POST" and "receive-pack" in request.path:
            request.carry_out()
            report = b"000eunpack ok\n002cng refs/heads/main failed to update ref\n0000"
            framed = b"%04x\1%s0000" % (len(report) + 5, report)
            kind = {"Content-Type": "application/x-git-receive-pack-result"}
            request.answer(200, kind, framed)
            return True
        return False

    http_host.faults.append(done_and_failed)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert [r.result for r in outcome.refs] == [RefResult.UPDATED]
    assert bench.commands() == ["fetch", "push", "ls-remote"]
