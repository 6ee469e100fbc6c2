"""Runs that have nothing to do, and the glance at repositories that tells so."""

import os
from contextlib import ExitStack

import pytest

from gms_hookd.git.refs import has_few, has_object, local_head, local_refs, points
from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import Repo, task

BRANCH, MIRROR = ("main:main",), ()


@pytest.mark.parametrize("refspecs", [BRANCH, MIRROR])
@pytest.mark.parametrize("packed", [False, True])
def test_no_change_between_two_paths_costs_no_git(
    source, target, bench, refspecs, packed
):
    it = task(source, target, *refspecs)
    bench.sync(it)
    for repo in (source, target) if packed else ():
        repo.git("pack-refs", "--all")
    outcome = bench.sync(it)
    assert (outcome.status, outcome.commit_range) == (RunStatus.SUCCESS, "")
    assert [r.result for r in outcome.refs] == [RefResult.UNCHANGED]
    assert bench.commands() == []


def test_no_change_of_very_many_refs_costs_no_git(source, target, bench):
    tip = source.tip()
    source.put({f"refs/heads/r{n}": tip for n in range(300)})
    it = task(source, target, *MIRROR)
    bench.sync(it)
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert bench.commands() == []


def test_a_commit_that_was_packed_at_once_is_found(source, target, bench):
    it = task(source, target, *MIRROR)
    bench.sync(it)
    new = source.commit()
    source.git("pack-refs", "--all")
    bench.sync(it)
    assert target.tip() == new


def test_an_unchanged_source_is_looked_at_beside_its_unchanged_refs(
    source, target, bench
):
    """A pruned branch that came back at the target goes again."""
    it = task(source, target, *MIRROR, prune=True)
    bench.sync(it)
    target.commit("left")
    outcome = bench.sync(it)
    assert [r.ref for r in outcome.refs if r.result is RefResult.DELETED] == [
        "refs/heads/left"
    ]


def test_a_branch_that_the_source_lost_is_still_said_to_be_missing(
    source, target, bench
):
    it = task(source, target, "main:main", "dev:dev")
    source.commit("dev")
    bench.sync(it)
    source.set(dev=None)
    outcome = bench.sync(it)
    assert "the source has no refs/heads/dev" in outcome.error_message


def test_an_unchanged_source_without_a_readable_target_is_a_failure(
    source, target, bench
):
    it = task(source, target, *BRANCH)
    bench.sync(it)
    (target.path / "HEAD").unlink()
    assert bench.sync(it).status is RunStatus.FAILED


def test_no_change_from_a_path_to_a_host_costs_no_git(
    http_host, source, target, opened
):
    bench = opened(allow_protocols=("http", "file"))
    it = task(source, http_host.url(target), *BRANCH)
    bench.sync(it)
    http_host.requests.clear()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert (bench.commands(), http_host.requests) == ([], [])


def test_what_is_read_of_files_is_what_git_lists(source):
    source.commit("a/b", "dev")
    by = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    source.git(*by, "tag", "-a", "-m", "x", "v1", "main")
    source.git("pack-refs", "--all")
    source.commit("dev", "späť")
    source.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/dev")
    source.set(**{"a/b": None})
    (source.path / "refs/heads/new.lock").touch()
    every = source.refs()
    assert len(every) == 5
    assert local_refs(str(source)) == every
    assert local_refs(str(source), ["refs/tags/v1", "refs/heads/dev", "refs/x"]) == {
        ref: every[ref] for ref in ("refs/tags/v1", "refs/heads/dev")
    }
    assert local_head(str(source)) == "refs/heads/main"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("ref: refs/heads/dev\n", "refs/heads/dev"),
        ("ref: refs/heads/späť", "refs/heads/späť"),
        ("1" * 40 + "\n", None),
        ("ref: refs/heads/.invalid\n", None),
        ("", None),
        (None, None),
    ],
)
def test_head_is_what_its_file_says_whatever_is_configured(source, content, named):
    with_hidden_refs(source)
    head = source.path / "HEAD"
    head.unlink() if content is None else head.write_text(content)
    assert local_head(str(source)) == named


def test_head_is_none_where_a_file_leads_elsewhere(source):
    behind_a_file(source)
    assert local_head(str(source)) is None


def as_worktree(repo: Repo):
    (repo.path / "commondir").write_text("..")


def with_a_link(repo: Repo):
    (repo.path / "refs/heads/link").symlink_to("main")


def with_a_broken_ref(repo: Repo):
    (repo.path / "refs/heads/broken").write_text("\0" * 41)


def with_a_dead_end(repo: Repo):
    repo.git("symbolic-ref", "refs/heads/alias", "refs/heads/none")


def with_a_null_id(repo: Repo):
    (repo.path / "refs/heads/null").write_text("0" * 40 + "\n")


def with_hidden_refs(repo: Repo):
    repo.git("config", "transfer.hideRefs", "refs/heads/secret")


def with_another_format(repo: Repo):
    (repo.path / "config").write_text("[extensions]\n\trefStorage = reftable\n")


def with_another_file(repo: Repo):
    repo.git("config", "include.path", "more")


def without_objects(repo: Repo):
    (repo.path / "objects").rename(repo.path / "elsewhere")


def behind_a_file(repo: Repo):
    (repo.path / ".git").write_text("gitdir: elsewhere\n")


@pytest.mark.parametrize(
    "change",
    [
        as_worktree, with_a_link, with_a_broken_ref, with_a_dead_end, with_a_null_id,
        with_hidden_refs, with_another_format, with_another_file, without_objects,
        behind_a_file,
    ],
)  # fmt: skip
def test_a_repository_that_is_not_plain_is_left_to_git(source, change):
    change(source)
    assert local_refs(str(source)) is None


def test_the_repository_of_a_working_tree_is_looked_at(source, tmp_path):
    tree = tmp_path / "tree"
    source.git("clone", "-q", str(source), str(tree), at=None)
    assert local_refs(str(tree)) == Repo(tree / ".git").refs()


def test_a_local_target_of_many_packs_is_still_tidied_by_its_git(source, target, bench):
    target.git("config", "maintenance.strategy", "gc")  # not so from git 2.54 on
    target.git("config", "fastimport.unpackLimit", "1")
    target.commit("old")
    target.copy_a_pack(52)
    target.hook("pre-auto-gc", "touch asked; exit 1\n")
    bench.sync(task(source, target, *BRANCH))
    assert (target.path / "asked").exists()


def test_a_local_target_is_tidied_when_its_owner_says(source, target, bench):
    target.git("config", "maintenance.strategy", "gc")  # not so from git 2.54 on
    target.git("config", "gc.autoPackLimit", "1")
    target.git("config", "receive.unpackLimit", "1")
    target.hook("pre-auto-gc", "touch asked; exit 1\n")
    it = task(source, target, *BRANCH)
    for _ in range(2):
        source.commit()
        bench.sync(it)
    assert (target.path / "asked").exists()


@pytest.mark.parametrize("borrows", [False, True])
def test_a_local_target_looks_for_refs_of_others_only_where_it_borrows_of_them(
    source, target, bench, tmp_path, borrows
):
    asked = tmp_path / "asked"
    target.git("config", "core.alternateRefsCommand", f"touch {asked}; exit 0 #")
    if borrows:
        lender = tmp_path / "lender.git"
        target.git("init", "-q", "--bare", str(lender), at=None)
        (target.path / "objects/info/alternates").write_text(f"{lender}/objects\n")
    outcome = bench.sync(task(source, target, *BRANCH))
    assert outcome.status is RunStatus.SUCCESS
    assert asked.exists() is borrows


@pytest.mark.parametrize("writer", [False, True])
@pytest.mark.parametrize("name", ["packed-refs", "refs/heads/main", "HEAD", "config"])
def test_a_pipe_in_a_repository_holds_up_nobody(source, name, writer):
    """Whoever owns a local one may put it there; git itself has a deadline."""
    path = source.path / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with ExitStack() as stack:
        if writer:  # one that says nothing
            stack.callback(os.close, os.open(path, os.O_RDWR))
        local_refs(str(source), ["refs/heads/main"])
        local_refs(str(source))
        local_head(str(source))
        assert has_few(str(source), 10)
        assert points(str(source), ["refs/heads/main"]) == {}
        if name in ("refs/heads/main", "packed-refs"):
            assert has_object(str(source), {"refs/heads/main": 40 * "1"}) is False


@pytest.mark.parametrize("name", ["packed-refs", "refs/heads/main"])
def test_a_device_in_a_repository_fills_no_memory(source, name):
    (source.path / name).unlink(missing_ok=True)
    (source.path / name).symlink_to("/dev/zero")
    assert not has_object(str(source), {"refs/heads/main": 40 * "1"})
