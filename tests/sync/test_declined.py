"""Hosts that judge a push as a whole: what one ref does must not stop the others."""

import re

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import Repo, task

PUSHES = "echo >> pushes\n"  # of a hook: counts the pushes that it sees


@pytest.fixture
def bench(opened):
    return opened()


def declining(target, test, words="you are not allowed to push to that branch"):
    """Decline a push if any of its refs ($old $new $ref) fits a test of the shell."""
    target.hook(
        "pre-receive",
        PUSHES + f'while read old new ref; do if {test}; then echo "{words}" >&2;'
        " exit 1; fi; done\n",
    )


def pushes(target):
    """Count the pushes that the target saw since this was asked."""
    file = target.path / "pushes"
    count = len(file.read_text()) if file.exists() else 0
    file.unlink(missing_ok=True)
    return count


def results(outcome):
    return {r.ref.removeprefix("refs/heads/"): r.result for r in outcome.refs}


def test_a_protected_branch_does_not_stop_the_others(http_host, source, target, bench):
    source.commit("dev", "feature", "x", "y")
    it = task(source, http_host.url(target))
    bench.sync(it)
    before = target.refs()
    source.commit("main", "dev", "feature", "x", "y")
    declining(target, "[ $ref = refs/heads/dev ]")
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert results(outcome) == {
        "dev": RefResult.REJECTED, "main": RefResult.UPDATED, "x": RefResult.UPDATED,
        "feature": RefResult.UPDATED, "y": RefResult.UPDATED,
    }  # fmt: skip
    rejected = {"refs/heads/dev": before["refs/heads/dev"]}
    assert target.refs() == source.refs() | rejected
    assert outcome.error_message == (
        "refs/heads/dev: pre-receive hook declined;"
        " the host says: you are not allowed to push to that branch"
    )


def test_one_bad_ref_of_many_is_found_by_a_few_pushes(source, target, bench):
    tip = source.tip()
    source.put({f"refs/heads/b{n:03}": tip for n in range(120)})
    declining(target, "[ $ref = refs/heads/b065 ]")
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.FAILED
    assert source.refs().items() - target.refs().items() == {("refs/heads/b065", tip)}
    assert pushes(target) <= 11
    source.put({"refs/heads/b000": source.commit()})
    assert bench.sync(task(source, target)).status is RunStatus.FAILED
    assert target.tip("b000") == source.tip()
    assert pushes(target) == 2, "what was declined the last time goes last"


@pytest.mark.parametrize("mass", [10, 1000], ids=["by glob", "under leases"])
def test_one_bad_ref_is_found_where_refs_go_in_several_pushes(
    source, target, bench, monkeypatch, mass
):
    monkeypatch.setattr("gms_hookd.git.push.AT_ONCE", 20)
    monkeypatch.setattr("gms_hookd.sync.push.AT_ONCE_HERE", 20)
    monkeypatch.setattr("gms_hookd.sync.push.MASS", mass)
    tip = source.tip()
    source.put({f"refs/heads/b{n:03}": tip for n in range(50)})
    declining(target, "[ $ref = refs/heads/b035 ]")
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.FAILED
    assert source.refs().items() - target.refs().items() == {("refs/heads/b035", tip)}
    assert pushes(target) <= 12


@pytest.mark.parametrize("words", [
    "error: GH013: Repository rule violations found for refs/heads/b7.",
    "You may not push to 'refs/heads/b7', nor to refs/heads/none",
])  # fmt: skip
def test_a_ref_that_the_host_names_is_tried_alone_at_once(source, target, bench, words):
    source.commit(*(f"b{n}" for n in range(40)))
    declining(target, "[ $ref = refs/heads/b7 ]", words)
    bench.sync(task(source, target, "refs/heads/b*:refs/heads/b*"))
    assert len(target.refs()) == 39
    assert pushes(target) <= 4


def test_what_is_declined_no_longer_arrives(source, target, bench):
    source.commit("a", "b", "c")
    it = task(source, target)
    declining(target, "[ $ref = refs/heads/b ]")
    bench.sync(it)
    declining(target, "false")
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert bench.known == target.refs() == source.refs()


def test_many_bad_refs_are_found_among_the_good(source, target, bench):
    source.commit(*(f"b{n}" for n in range(20)))
    declining(target, "case $ref in *[05]) true;; *) false;; esac")
    outcome = bench.sync(task(source, target))
    bad = {f"b{n}" for n in range(0, 20, 5)}
    found = results(outcome)
    assert {n for n, r in found.items() if r is RefResult.REJECTED} == bad
    assert len(target.refs()) == 21 - len(bad)
    bench.sync(task(source, target))
    assert len(target.refs()) == 21 - len(bad)


def test_a_target_that_takes_nothing_is_not_pushed_to_for_each_ref(
    source, target, bench
):
    source.commit(*(f"b{n}" for n in range(40)))
    declining(target, "true", "You have exceeded your quota")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert set(results(outcome).values()) == {RefResult.REJECTED}
    assert pushes(target) <= 14
    assert target.refs() == {}


def test_a_limit_of_refs_in_one_push_is_kept(source, target, bench):
    source.commit(*(f"b{n}" for n in range(17)))
    words = "GH013: pushes can not update more than 5 branches or tags"
    target.hook(
        "pre-receive", f'test "$(wc -l)" -le 5 || {{ echo "{words}"; exit 1; }}'
    )
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


def test_a_branch_that_may_not_be_deleted_does_not_keep_the_others(
    source, target, bench
):
    source.commit("a", "b", "c", "d", "e")
    it = task(source, target, prune=True)
    bench.sync(it)
    source.put({f"refs/heads/{name}": None for name in "abc"})
    declining(target, "[ $ref = refs/heads/b ]")
    outcome = bench.sync(it)
    assert results(outcome)["b"] is RefResult.REJECTED
    assert set(target.refs()) == source.refs().keys() | {"refs/heads/b"}


@pytest.mark.parametrize("words", [
    "GitLab: The default branch of a project cannot be deleted.",
    "error: branch main is the default branch and cannot be deleted",
    "不允许删除默认分支",
])  # fmt: skip
def test_a_default_branch_that_a_hook_protects_is_kept(source, target, bench, words):
    source.commit("a", "b", "c", "trunk")
    it = task(source, target, prune=True)
    bench.sync(it)
    source.put({f"refs/heads/{name}": None for name in ("main", "a", "b")})
    target.git("config", "receive.denyDeleteCurrent", "ignore")
    declining(target, "[ $ref = refs/heads/main ]", words)
    for _ in range(2):
        outcome = bench.sync(it)
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        [kept] = [r for r in outcome.refs if r.ref == "refs/heads/main"]
        assert kept.reason == "kept: it is the target's default branch"
        assert target.refs().keys() == source.refs().keys() | {kept.ref}


def test_a_forced_update_that_is_declined_does_not_keep_the_others(
    source, target, bench
):
    source.commit("a", "b")
    it = task(source, target, force=True)
    bench.sync(it)
    old = target.tip("b")
    source.put(dict.fromkeys(source.refs(), source.commit("x", on=source.tip())))
    declining(target, "[ $ref = refs/heads/b ]")
    outcome = bench.sync(it)
    assert results(outcome)["a"] is RefResult.FORCED
    assert target.tip("b") == old
    assert "refs/heads/b" not in {p[0] for p in outcome.pinned}


def test_objects_that_a_target_does_not_take_keep_none_from_arriving(
    source, target, bench
):
    target.git("config", "receive.fsckObjects", "true")
    tree = source.git("rev-parse", "main^{tree}").strip()
    text = f"tree {tree}\nauthor t <t> 1 +051800\ncommitter t <t@e.org> 1 +0000\n\nx\n"
    write = ("hash-object", "-t", "commit", "-w", "--literally", "--stdin")
    source.put({"refs/heads/odd": source.git(*write, stdin=text.encode()).strip()})
    source.commit("a", "b")
    outcome = bench.sync(task(source, target))
    assert results(outcome)["odd"] is RefResult.REJECTED
    assert source.refs().keys() - target.refs().keys() == {"refs/heads/odd"}


@pytest.mark.parametrize("broken", [True, False])
def test_an_old_tip_that_cannot_be_kept_keeps_no_other_from_moving(
    http_host, source, target, bench, broken
):
    names = [f"b{n}" for n in range(9)]
    source.commit(*names)
    target.commit("main", *names)
    tree = "1" * 40 if broken else target.git("rev-parse", "main^{tree}").strip()
    text = f"tree {tree}\nauthor t <t> 1 +0000\ncommitter t 1 +0000\n\nx\n"
    write = ("hash-object", "-t", "commit", "-w", "--literally", "--stdin")
    odd = target.git(*write, stdin=text.encode()).strip()
    (target.path / "refs/heads/b4").write_text(odd + "\n")
    it = task(source, http_host.url(target), force=True, prune=True)
    found = results(bench.sync(it))
    assert found.pop("b4") is RefResult.REJECTED
    assert set(found.values()) == {RefResult.FORCED}
    assert target.refs() == source.refs() | {"refs/heads/b4": odd}


def test_only_what_is_wanted_goes_along_with_a_mass_of_refs(
    source, target, tmp_path, bench
):
    tip = source.tip()
    source.commit("wip/x")
    bench.sync(
        task(source, tmp_path / "target.git")
    )  # in the cache is refs/heads/wip/x
    other, bench.known = Repo(tmp_path / "other.git"), {}
    other.git("fetch", "-q", str(source), "main:main")
    other.git("symbolic-ref", "refs/heads/master", "refs/heads/main")
    source.commit("master", on=tip)
    source.put({f"refs/heads/b{n:03}": tip for n in range(501)})
    specs = ("refs/heads/*:refs/heads/*", "^refs/heads/wip/*")
    outcome = bench.sync(task(source, other, *specs))
    assert results(outcome)["master"] is RefResult.REJECTED
    assert other.tip() == tip
    assert source.refs().keys() - other.refs().keys() == {"refs/heads/wip/x"}


@pytest.mark.parametrize(("bad", "by_http"), [("a", True), ("b", True), ("b", False)])
def test_a_git_that_dies_of_one_ref_does_not_keep_the_others(
    http_host, source, target, bench, bad, by_http
):
    source.commit("a", "b", "z")
    it = task(source, http_host.url(target) if by_http else target)
    bench.sync(it)
    source.commit("a", "b", "main", "z")
    dies = f'while read o n r; do test $r != refs/heads/{bad} || {{ echo "it is frozen"'
    target.hook("reference-transaction", f"{dies} >&2; exit 1; }}; done\n")
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.FAILED
    rejected = {ref for ref, result in results(outcome).items() if not is_done(result)}
    assert rejected == {bad}, bench.log.text()
    left = source.refs().items() ^ target.refs().items()
    assert {ref for ref, _ in left} == {f"refs/heads/{bad}"}
    if by_http:  # what the hook says goes to the log of the host
        assert outcome.error_message.endswith(
            "ended without a report, its log may tell why"
        )
    else:
        # Git 2.54 and later name the hook.
        why = (
            r"aborted by (the reference-transaction )?hook; the host says: it is frozen"
        )
        assert re.search(why, outcome.error_message)
        assert not outcome.transient


def is_done(result):
    return result in (RefResult.CREATED, RefResult.UPDATED)


def test_a_host_whose_git_dies_of_all_is_tried_a_few_times(source, target, bench):
    source.commit(*(f"b{n}" for n in range(12)))
    target.hook("reference-transaction", f"test $1 = aborted || {PUSHES}exit 1\n")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert pushes(target) <= 10
