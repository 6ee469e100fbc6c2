"""A repository whose owner could have his hooks run as us is refused."""

import itertools
import os
import subprocess

import pytest

from gms_hookd.git.access import SafeDirectories
from gms_hookd.git.ownership import untrusted
from gms_hookd.model import RunStatus
from tests.support.repositories import Repo, task

OTHER = 54321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chown")


@pytest.fixture
def repo(tmp_path):
    repo = Repo(tmp_path / "repo.git")
    repo.commit()
    repo.hook("post-receive", "exit 0")
    return repo.path


@pytest.fixture
def checkout(tmp_path):
    """Make a repository with files, and a linked worktree of it."""
    path = tmp_path / "checkout"
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run([*git, "init", "-q", path], check=True)
    empty = ("commit", "-q", "--allow-empty", "-m", "one")
    subprocess.run([*git, "-C", path, *empty], check=True)
    add = ("worktree", "add", "-q", tmp_path / "linked")
    subprocess.run([*git, "-C", path, *add], check=True)
    return path


def own(path, user=OTHER):
    os.chown(path, user, user)


def test_our_own_repository_is_trusted(repo, checkout, tmp_path):
    for path in (repo, f"{repo}/", checkout, tmp_path / "linked", tmp_path / "none"):
        assert untrusted(str(path)) == ""


@pytest.mark.parametrize("part", ["", "config", "hooks", "hooks/post-receive"])
def test_what_belongs_to_another_user_is_named_with_the_setting(repo, part):
    own(repo / part)
    why = untrusted(str(repo))
    assert why.startswith(
        f"{repo / part} belongs to user id {OTHER}".replace("/ ", " ")
    )
    assert why.endswith(f"set sync.trust_owners = [{OTHER}]")
    assert untrusted(str(repo), [OTHER]) == ""
    assert untrusted(str(repo), [OTHER + 1]) == why


@pytest.mark.parametrize(
    ("setting", "theirs"),
    [
        ("[core]\n\thooksPath = ELSE/hooks\n", "hooks"),
        ('[core] HOOKSPATH="ELSE/hooks"\n', "hooks/update"),
        ("[core]\nhookspath=../else/hooks", "hooks/update"),
        ("[include]\n\tpath = ELSE/one", "one"),
        ("[include]\n\tpath = ELSE/one", "two"),
        ('[includeIf "gitdir:/"]\n\tpath = ../else/two\n', "two"),
    ],
)
def test_what_settings_name_elsewhere_counts_as_well(repo, tmp_path, setting, theirs):
    other = tmp_path / "else"
    (other / "hooks").mkdir(parents=True)
    (other / "hooks" / "update").touch()
    (other / "one").write_text("[include]\npath=two\n")
    (other / "two").write_text("[include]\npath=one\n")
    with (repo / "config").open("a") as config:
        config.write(setting.replace("ELSE", str(other)))
    assert untrusted(str(repo)) == ""
    own(other / theirs)
    why = untrusted(str(repo))
    assert f"{theirs} belongs to user id {OTHER}" in why
    assert untrusted(str(repo), [OTHER]) == ""


def test_odd_settings_are_looked_through(repo, tmp_path):
    links = [tmp_path / f"link{n}" for n in range(1200)]
    for one, next_one in itertools.pairwise(links):
        one.write_text(f"[include]\npath={next_one}\n")
    links[-1].write_bytes(b"[core]\nhooksPath = no\0where\n")
    with (repo / "config").open("a") as settings:
        settings.write(f"[include]\npath={links[0]}\n")
    assert untrusted(str(repo)) == ""


def test_a_user_with_a_name_is_called_by_it(repo):
    own(repo, 1)  # daemon, everywhere
    assert "belongs to daemon (user id 1)" in untrusted(str(repo))
    assert untrusted(str(repo)).endswith('set sync.trust_owners = ["daemon"]')


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ("", "checkout"),
        (".git", "checkout"),
        (".git/config", "checkout"),
        (".git/hooks", "checkout"),
        (".git/hooks", "linked"),
        (".git", "linked"),
        (".git/worktrees/linked", "linked"),
    ],
)
def test_a_repository_with_files_and_its_worktrees_count_as_well(
    checkout, tmp_path, part, path
):
    own(checkout / part)
    assert "belongs to user id" in untrusted(str(tmp_path / path))


def test_git_finds_it_under_other_names_and_so_do_we(repo, tmp_path):
    own(repo)
    assert untrusted(str(repo.with_suffix("")))
    (tmp_path / "link").symlink_to(repo)
    assert untrusted(str(tmp_path / "link"))


@pytest.mark.parametrize(
    "content", [b"gitdir: \0x", b"", b"\xff\n", b"gitdir: " * 9999]
)
def test_a_strange_pointer_leads_nowhere(tmp_path, content):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / ".git").write_bytes(content)
    assert untrusted(str(tmp_path / "repo")) == ""


def test_a_pipe_in_the_place_of_a_pointer_holds_up_nobody(tmp_path):
    os.mkfifo(tmp_path / ".git")
    assert untrusted(str(tmp_path)) == ""


@pytest.mark.parametrize("side", ["source", "target"])
def test_every_run_refuses_it_and_no_hook_runs(source, target, opened, tmp_path, side):
    ran = tmp_path / "ran"
    for repo in (source, target):
        repo.hook("post-receive", f"echo > {ran}")
        repo.hook("pre-receive", f"echo > {ran}")
    bench = opened()
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    ran.unlink()
    own({"source": source, "target": target}[side].path)
    for each in (task(source, target), task(source, f"file://{target}")):
        for verify in (True, False):
            outcome = bench.sync(each, verify=verify)
            assert outcome.status is RunStatus.FAILED
            assert not outcome.transient
            assert outcome.error_message.startswith(f"{side}: ")
            assert "sync.trust_owners" in outcome.error_message
    source.commit()
    bench.sync(task(source, target))
    assert not ran.exists()
    trusting = opened(trust_owners=(OTHER,))
    assert trusting.sync(task(source, target)).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_what_could_not_be_named_as_trusted_is_named_the_next_time(tmp_path):
    home = tmp_path / "home"
    trust = SafeDirectories(home / "gitconfig")
    with pytest.raises(OSError, match="No such file"):
        trust.add("/srv/one.git")
    home.mkdir()
    trust.add("/srv/one.git")
    assert 'directory = "/srv/one.git"\n' in (home / "gitconfig").read_text()
    trust.close()
    assert not [*home.iterdir()]
    home.rmdir()
    trust.close()
