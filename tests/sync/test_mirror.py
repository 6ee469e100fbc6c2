"""The engine against real repositories: many refs, and what may become of them."""

import pytest

from gms_hookd.model import RefResult, RunStatus
from gms_hookd.sync.job import SyncJob
from tests.support.repositories import Repo, task

MIRRORED = ("refs/heads/", "refs/tags/")


def mirrored(repo):
    return {r: o for r, o in repo.refs().items() if r.startswith(MIRRORED)}


def results(outcome):
    return {r.ref: r.result for r in outcome.refs}


def branches(repo, *names):
    for name in names:
        repo.commit(name)


def test_heads_and_tags_are_mirrored_and_nothing_else(source, target, bench):
    branches(source, "feat/one", "fix")
    source.put({"refs/tags/v1": source.tip(), "refs/pull/1/head": source.tip("fix")})
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.SUCCESS
    assert target.refs() == mirrored(source)


def test_an_annotated_tag_arrives_as_the_same_object(source, target, bench):
    text = f"tag v1\nfrom {source.tip()}\ntagger t <t@e.org> 1 +0000\ndata 1\nx\n"
    source.git("fast-import", "--quiet", stdin=text.encode())
    bench.sync(task(source, target))
    assert target.refs() == source.refs()


def test_refspecs_rename_pick_and_leave_out(source, target, bench):
    branches(source, "feat/one", "feat/two", "feat/wip/x", "other")
    it = task(source, target, "refs/heads/feat/*:refs/heads/f/*", "^feat/wip/*")
    bench.sync(it)
    assert target.refs() == {
        "refs/heads/f/one": source.tip("feat/one"),
        "refs/heads/f/two": source.tip("feat/two"),
    }


def test_plus_forces_its_own_refs_only(source, target, bench):
    branches(source, "a", "b")
    it = task(source, target, "+a:a", "b:b")
    bench.sync(it)
    first = target.tip("b")
    target.commit("a", "b")
    branches(source, "a", "b")
    outcome = bench.sync(it)
    assert results(outcome)["refs/heads/a"] is RefResult.FORCED
    assert results(outcome)["refs/heads/b"] is RefResult.REJECTED
    assert target.tip("a") == source.tip("a")
    assert first != target.tip("b") != source.tip("b")


def test_two_sources_for_one_ref_are_refused(source, target, bench):
    branches(source, "a", "b")
    outcome = bench.sync(task(source, target, "a:x", "b:x"))
    assert outcome.status is RunStatus.FAILED
    assert "would both go to refs/heads/x" in outcome.error_message
    assert target.refs() == {}


def test_a_moved_tag_is_a_conflict_until_forced(source, target, bench):
    source.put({"refs/tags/v1": source.tip()})
    old = source.tip()
    bench.sync(task(source, target))
    source.put({"refs/tags/v1": source.commit()})
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.CONFLICT
    assert target.refs()["refs/tags/v1"] == old
    assert target.tip() == source.tip(), "the other refs go on"
    outcome = bench.sync(task(source, target, force=True))
    assert results(outcome)["refs/tags/v1"] is RefResult.FORCED
    assert target.refs() == source.refs()


@pytest.mark.parametrize("prune", [False, True])
def test_a_branch_gone_at_the_source_goes_only_with_prune(source, target, bench, prune):
    branches(source, "a", "b")
    it = task(source, target, prune=prune)
    bench.sync(it)
    source.set(a=None)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS
    assert ("refs/heads/a" in target.refs()) is not prune


def test_prune_spares_what_is_not_selected(source, target, bench):
    branches(source, "rel/1", "rel/2", "main")
    target.commit("rel/own/x", "mine")
    it = task(source, target, "refs/heads/rel/*:refs/heads/rel/*", "^rel/own/*")
    bench.sync(it)
    source.put({"refs/heads/rel/1": None})
    bench.sync(task(source, target, *it.refspecs, prune=True))
    assert set(target.refs()) == {
        "refs/heads/rel/2", "refs/heads/rel/own/x", "refs/heads/mine",
    }  # fmt: skip


def test_prune_keeps_a_branch_that_someone_moved_since_our_push(source, target, bench):
    branches(source, "a", "b")
    it = task(source, target, prune=True)
    bench.sync(it)
    foreign = target.commit("a")
    source.set(a=None)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.CONFLICT
    assert target.tip("a") == foreign


def test_a_folder_of_branches_takes_the_place_of_a_branch(source, target, bench):
    branches(source, "feat")
    it = task(source, target, prune=True)
    bench.sync(it)
    source.set(feat=None)
    branches(source, "feat/one")
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()
    source.put({"refs/heads/feat/one": None})
    branches(source, "feat")
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_a_branch_in_the_way_is_a_conflict_without_prune(source, target, bench):
    branches(source, "feat")
    it = task(source, target)
    bench.sync(it)
    source.set(feat=None)
    branches(source, "feat/one", "other")
    outcome = bench.sync(it)
    assert target.tip("other") == source.tip("other")
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.CONFLICT
    assert "refs/heads/feat of the target stands in its way" in outcome.error_message


def test_tasks_that_share_a_cache_do_not_stand_in_each_others_way(
    source, target, bench, tmp_path
):
    branches(source, "feat")
    bench.sync(task(source, target, "feat:feat"))
    source.set(feat=None)
    branches(source, "feat/one")
    bench.known = {}
    other = Repo(tmp_path / "other.git")
    outcome = bench.sync(task(source, other, "feat/one:feat/one"))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()


def test_the_default_branch_goes_first_into_an_empty_target(source, target, bench):
    branches(source, "a", "zeta")
    source.git("symbolic-ref", "HEAD", "refs/heads/zeta")
    target.hook("update", 'echo "$1" >> order')
    bench.sync(task(source, target))
    assert (target.path / "order").read_text().split()[0] == "refs/heads/zeta"


def test_a_sha256_repository_is_mirrored(tmp_path, bench):
    source = Repo(tmp_path / "s256.git", "--object-format=sha256")
    target = Repo(tmp_path / "t256.git", "--object-format=sha256")
    source.commit()
    it = task(source, target)
    assert bench.sync(it).status is RunStatus.SUCCESS
    source.commit()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()
    assert len(target.tip()) == 64


def test_a_target_of_another_hash_is_a_plain_failure(source, tmp_path, bench):
    target = Repo(tmp_path / "t256.git", "--object-format=sha256")
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient


def test_one_declined_ref_does_not_stop_the_others(source, target, bench):
    branches(source, "a", "b")
    target.hook("update", 'test "$1" != refs/heads/a')
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient
    assert results(outcome)["refs/heads/a"] is RefResult.REJECTED
    assert "refs/heads/a: hook declined" in outcome.error_message
    assert set(target.refs()) == {"refs/heads/main", "refs/heads/b"}


def test_a_ref_that_the_source_lacks_does_not_stop_the_others(source, target, bench):
    branches(source, "a")
    bench.sync(task(source, target, "gone:gone", "a:a"))
    outcome = bench.sync(task(source, target, "gone:gone", "a:a"))
    assert outcome.status is RunStatus.FAILED
    assert "the source has no refs/heads/gone" in outcome.error_message
    assert set(target.refs()) == {"refs/heads/a"}


def test_head_can_be_a_source(source, target, bench):
    it = task(source, target, "HEAD:refs/heads/current")
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == {"refs/heads/current": source.tip()}


def test_a_tag_can_be_picked_by_its_name(source, target, bench):
    source.put({"refs/tags/v1": source.tip()})
    bench.sync(task(source, target, "refs/tags/v1:refs/tags/v1"))
    assert target.refs() == {"refs/tags/v1": source.tip()}


def test_names_outside_ascii_survive(source, target, bench):
    source.put({"refs/heads/fön\u2028x": source.tip()})
    bench.sync(task(source, target))
    assert target.refs() == source.refs()


def test_a_name_that_is_too_long_for_a_file_says_how_to_leave_it_out(
    source, target, bench
):
    source.commit("dev")
    source.git("pack-refs", "--all")
    with (source.path / "packed-refs").open("a") as file:
        file.write(f"{source.tip()} refs/heads/{'n' * 260}\n")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    left_out = outcome.error_message.rpartition("by a refspec more: ")[2]
    specs = ("refs/heads/*:refs/heads/*", left_out)
    assert bench.sync(task(source, target, *specs)).status is RunStatus.SUCCESS
    assert target.refs().keys() == {"refs/heads/dev", "refs/heads/main"}


def test_an_unlisted_mass_of_refs_says_only_what_changed(source, target, bench):
    tip = source.tip()
    source.put({f"refs/heads/b{n}": tip for n in range(250)})
    it = task(source, target)
    assert len(bench.sync(it).refs) == 251
    source.commit()
    assert [r.ref for r in bench.sync(it).refs] == ["refs/heads/main"]
    assert bench.known == target.refs()


def test_plan_names_every_ref_and_changes_nothing(source, target, bench):
    bench.sync(task(source, target, "main:main"))
    branches(source, "a")
    source.commit()
    before = target.refs()
    job = SyncJob(task(source, target), bench.known)
    outcome = bench.engine.plan(job, bench.log, bench.stop)
    assert results(outcome) == {
        "refs/heads/a": RefResult.CREATED, "refs/heads/main": RefResult.UPDATED,
    }  # fmt: skip
    assert target.refs() == before


def test_head_of_a_local_target_follows_the_default_branch(source, target, bench):
    branches(source, "trunk")
    it = task(source, target)
    bench.sync(it)
    assert target.head() == "refs/heads/main"
    source.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    bench.sync(it)
    assert target.head() == "refs/heads/trunk"


def test_a_renamed_default_branch_is_renamed_at_a_local_target(source, target, bench):
    it = task(source, target, prune=True)
    bench.sync(it)
    source.put({"refs/heads/trunk": source.tip()})
    source.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    source.set(main=None)
    outcome = bench.sync(it)
    assert results(outcome)["refs/heads/main"] is RefResult.DELETED
    assert (target.head(), set(target.refs())) == (
        "refs/heads/trunk", {"refs/heads/trunk"},
    )  # fmt: skip


def test_one_branch_does_not_turn_the_head_of_a_target_that_has_one(
    source, target, bench
):
    target.commit("main")
    branches(source, "dev")
    source.git("symbolic-ref", "HEAD", "refs/heads/dev")
    bench.sync(task(source, target, "dev:dev"))
    assert target.head() == "refs/heads/main"


@pytest.mark.parametrize("named", ["", ".git"])
def test_the_branch_of_a_working_tree_is_not_turned(source, tmp_path, bench, named):
    branches(source, "trunk")
    tree = tmp_path / "tree"
    source.git("clone", "-q", str(source), str(tree), at=None)
    Repo(tree / ".git").git("checkout", "-q", "--detach")
    Repo(tree / ".git").git("symbolic-ref", "HEAD", "refs/heads/none")
    (tree / "HEAD").write_text("ref: refs/heads/none\n")
    source.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    outcome = bench.sync(task(source, tree / named))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert Repo(tree / ".git").head() == "refs/heads/none"
    assert (tree / "HEAD").read_text() == "ref: refs/heads/none\n"


def test_one_branch_becomes_the_default_of_an_empty_target(source, target, bench):
    bench.sync(task(source, target, "main:release"))
    assert target.head() == "refs/heads/release"


def test_a_default_branch_that_cannot_be_deleted_is_kept_and_said_so(
    source, target, bench, http_host, opened
):
    branches(source, "a", "trunk")
    it = task(source, http_host.url(target), prune=True)
    bench = opened()
    bench.sync(it)
    source.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    source.set(main=None)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    [kept] = [r for r in outcome.refs if r.ref == "refs/heads/main"]
    assert kept.reason == "kept: it is the target's default branch"


@pytest.mark.parametrize("work_tree", [False, True])
def test_the_head_of_a_source_on_this_machine_is_read_without_git(
    source, target, bench, work_tree
):
    it = task(source, target, "main:main")
    bench.sync(it)
    if work_tree:
        gitdir = source.path.rename(source.path.with_name("moved"))
        source.path.mkdir()
        gitdir.rename(source.path / ".git")
        source = Repo(source.path / ".git")
    source.commit()
    bench.sync(it)
    assert bench.commands() == ["fetch", "push"]
