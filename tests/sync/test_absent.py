"""A target that does not exist yet: made here, by its host, or told how to make."""

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.sync.job import SyncJob
from tests.support.repositories import Repo, task


def made(target):
    """Name what was made where a target was to be."""
    return sorted(path.name for path in target.parent.iterdir())


def test_a_target_on_this_machine_is_made_where_the_task_says_so(
    source, tmp_path, bench
):
    source.commit("dev")
    source.git("symbolic-ref", "HEAD", "refs/heads/dev")
    path = tmp_path / "mirror" / "app.git"
    path.parent.mkdir()
    it = task(source, path, create=True)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    target = Repo(path)
    assert (target.refs(), target.head()) == (source.refs(), "refs/heads/dev")
    assert made(path) == ["app.git"]


def test_a_target_is_made_with_the_hash_of_its_source(tmp_path, bench):
    source = Repo(tmp_path / "source.git", "--object-format=sha256")
    source.commit()
    outcome = bench.sync(task(source, tmp_path / "app.git", create=True))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert Repo(tmp_path / "app.git").refs() == source.refs()


def test_a_target_that_is_not_there_is_a_failure_with_the_command_that_makes_it(
    source, tmp_path, bench
):
    path = tmp_path / "app.git"
    outcome = bench.sync(task(source, path))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    remedy = f"`git init --bare {path}` as the service's user, or `gms-hookd task set n"
    assert remedy in outcome.error_message
    assert not path.exists()


def test_nothing_is_made_where_a_target_was_before(source, tmp_path, bench):
    path = tmp_path / "app.git"
    it = task(source, path, create=True)
    bench.sync(it)
    path.rename(tmp_path / "unmounted")
    source.commit()
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.FAILED
    assert "it was there before: if its disk is mounted" in outcome.error_message
    assert not path.exists()


def test_nothing_is_made_in_a_folder_that_is_not_there(source, tmp_path, bench):
    path = tmp_path / "mirror" / "app.git"
    outcome = bench.sync(task(source, path, create=True))
    assert outcome.status is RunStatus.FAILED
    assert f"since {path.parent} does not exist" in outcome.error_message
    assert not path.parent.exists()


def test_no_plan_and_no_source_that_fails_makes_anything(source, tmp_path, bench):
    path = tmp_path / "app.git"
    it = task(source, path, create=True)
    outcome = bench.sync(task(tmp_path / "nothing.git", path, create=True))
    assert (outcome.status, path.exists()) == (RunStatus.FAILED, False)
    plan = bench.engine.plan(SyncJob(it), bench.log, bench.stop)
    assert [row.result for row in plan.refs] == ["created"]
    assert not path.exists()


@pytest.fixture
def makes_on_push(http_host):
    """Let the host make a repository when one asks to push to it, as GitLab does."""

    def make(request):
        path, _, query = request.path.partition("?")
        repository = http_host.root / path.removeprefix("/").partition("/info/")[0]
        if query == "service=git-receive-pack" and not repository.exists():
            Repo(repository)
        return False

    http_host.faults.append(make)


def test_a_host_that_makes_repositories_on_push_gets_the_push_of_a_patterns_task(
    source, tmp_path, http_host, makes_on_push, opened
):
    bench = opened()
    path = tmp_path / "mirror" / "app.git"
    it = task(source, http_host.url(path), pattern_id=2, pattern="m/*")
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert Repo(path).refs() == source.refs()
    assert bench.sync(it).commit_range == ""


@pytest.mark.parametrize("pattern", [None, 2])
def test_a_host_that_makes_none_is_a_failure_with_a_remedy(
    source, tmp_path, http_host, opened, pattern
):
    bench = opened()
    it = task(source, http_host.url(tmp_path / "app.git"), pattern_id=pattern)
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "; make the repository at its host, or" in outcome.error_message
    asked = any("receive-pack" in path for _, path, _ in http_host.requests)
    assert asked is (pattern is not None)
