"""Refs that a task does not select, however many, are not asked for."""

import os
import threading
import time

import pytest

from gms_hookd.git.errors import ErrorKind
from gms_hookd.git.process import Limits, Stop, execute
from gms_hookd.git.refspec import select
from gms_hookd.model import RefResult, RunStatus
from gms_hookd.runlog import RunLog
from gms_hookd.sync.job import SyncJob
from tests.support.repositories import task

MANY = 30_000
CHANGES = "refs/changes/{}/{}/1"


def crowd(repo, pattern=CHANGES, count=MANY):
    """Give a repository very many refs more, all on one commit."""
    tip = next(iter(repo.refs().values()))
    names = sorted(pattern.format(n % 100, n) for n in range(count))
    lines = "".join(f"{tip} {name}\n" for name in names)
    head = "# pack-refs with: peeled fully-peeled sorted \n"
    (repo.path / "packed-refs").write_text(head + lines)


@pytest.fixture
def bench(opened):
    return opened()


@pytest.fixture
def sent(http_host):
    """Tell how many bytes the host has answered since this was asked."""
    seen = [0]

    def count():
        before, seen[0] = seen[0], http_host.answered
        return seen[0] - before

    return count


def noted(bench):
    """Name the file where a cache notes how its source is best asked."""
    [cache] = bench.caches.glob("*[0-9a-f]")
    return cache / "listing"


def test_one_branch_beside_very_many_refs_costs_what_one_branch_costs(
    http_host, source, target, bench, sent
):
    crowd(source)
    it = task(http_host.url(source), target, "main:main")
    for _ in range(2):
        outcome = bench.sync(it, verify=True)
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        assert target.refs() == {"refs/heads/main": source.tip()}
        source.commit()
    bench.engine.probe(SyncJob(it), bench.log, bench.stop)
    assert "ls-remote" in bench.commands()
    assert sent() < 50_000


def test_a_host_that_lists_its_refs_quickly_is_let(http_host, source, target, bench):
    it = task(http_host.url(source), target, "main:main")
    for _ in range(2):
        bench.sync(it)
        source.commit()
    assert float(noted(bench).read_text()) < 30
    noted(bench).write_text("30.0")
    for _ in range(2):
        before = len(http_host.requests)
        assert bench.sync(it).status is RunStatus.SUCCESS
        asked = http_host.requests[before:]
        assert not any("Git-Protocol" in headers for _, _, headers in asked)
        assert noted(bench).read_text() == "listed"
        source.commit()


def test_a_host_that_lists_its_refs_slowly_is_asked_for_some(
    http_host, source, target, bench
):
    it = task(http_host.url(source), target, "main:main")
    bench.sync(it)
    noted(bench).write_text("1.0")  # enough for a busy machine to ask
    over, listed = threading.Event(), []

    def slow(request):
        by_v0 = "Git-Protocol" not in request.headers
        listed.append(by_v0)
        return by_v0 and over.wait(30)

    http_host.faults.append(slow)
    for _ in range(2):
        source.commit()
        assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
        assert target.refs() == source.refs()
    over.set()
    assert listed.count(True) == 1
    assert noted(bench).read_text() == "asked"


@pytest.mark.parametrize("specs", [
    ("main:main",), (), ("refs/tags/*:refs/tags/*", "main:main"),
])  # fmt: skip
def test_a_target_with_very_many_refs_is_asked_for_the_selected_ones(
    http_host, source, target, bench, sent, specs
):
    target.commit("own")
    crowd(target)
    outcome = bench.engine.plan(
        SyncJob(task(source, http_host.url(target), *specs)), bench.log, bench.stop
    )
    assert [r.result for r in outcome.refs] == [RefResult.CREATED]
    assert sent() < 50_000


def test_an_empty_source_is_told_from_one_without_the_branch(source, target, bench):
    crowd(source, "refs/heads/{1}", 3)
    it = task(source, target, "gone:gone")
    outcome = bench.sync(it)
    assert outcome.error_message == "refs/heads/gone: the source has no refs/heads/gone"
    source.put(dict.fromkeys(source.refs()))
    assert "none of the selected refs" in bench.sync(it).error_message


def test_a_list_of_refs_is_cut_to_what_was_asked_for_before_it_is_counted(tmp_path):
    line = "1" * 40 + r"\trefs/changes/00/000000/1"
    script = f"printf '2%.0s' 1 2; yes '{line}' | head -c 30000000"
    limits = Limits(time.monotonic() + 30, Stop(), RunLog())
    done = execute(("sh", "-c", script), os.environ, limits)
    assert done.ended is ErrorKind.SIZE
    lines = select(["main:main"], force=False).at_source.lines
    script += "; printf '%040d\\trefs/heads/main\\n' 3"
    done = execute(("sh", "-c", script), os.environ, limits, lines=lines)
    assert (done.ended, done.out.split()[1]) == (None, b"refs/heads/main")


SOURCE = {
    "main:x": {"refs/heads/main"},
    "refs/heads/a*z:refs/heads/b*z": {"refs/heads/az", "refs/heads/a/b/z"},
    "refs/notes/*:refs/notes/*": {"refs/notes/commits"},
    "refs/*:refs/*": {
        "refs/heads/main", "refs/heads/az", "refs/heads/a/b/z", "refs/notes/commits",
        "refs/heads/main/x", "refs/tags/v1", "refs/heads/fön",
    },
    "fön:fön": {"refs/heads/fön"},
}  # fmt: skip
EVERY = [*SOURCE["refs/*:refs/*"], "refs/changes/1/1", "refs/pull/1/head"]


@pytest.mark.parametrize("spec", SOURCE)
def test_a_scope_keeps_what_is_selected(spec):
    scope = select([spec], force=False).at_source
    assert kept(scope, EVERY) == SOURCE[spec]


def test_a_scope_of_a_target_keeps_what_may_stand_in_the_way():
    scope = select(["x:a/b/c"], force=False).at_target()
    near = {"refs/heads/a", "refs/heads/a/b", "refs/heads/a/b/c", "refs/heads/a/b/c/d"}
    assert (
        kept(scope, [*near, "refs/heads/a/bc", "refs/heads/b", "refs/tags/a"]) == near
    )
    assert scope.options == ("--heads",)


def test_whole_kinds_are_asked_for_by_option_alone():
    scope = select([], force=False).at_source
    assert (scope.options, scope.lines) == (("--heads", "--tags"), None)
    assert select(["refs/notes/*:refs/notes/*"], force=False).at_target().options == ()


def kept(scope, refs):
    lines = "".join(f"{'1' * 40}\t{ref}\n" for ref in refs).encode()
    found = scope.lines.findall(lines) if scope.lines else lines.splitlines()
    return {line.split(b"\t")[1].decode() for line in found}
