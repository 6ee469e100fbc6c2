"""Large files go along with git-lfs, and are missed aloud without it."""

import hashlib
import shutil

import pytest

from gms_hookd.model import RunStatus
from tests.support.repositories import Bench, task

CONTENT = b"large " * 1000
OID = hashlib.sha256(CONTENT).hexdigest()
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{OID}\nsize {len(CONTENT)}\n"
)


def lfs_object(repo):
    return repo.path / "lfs" / "objects" / OID[:2] / OID[2:4] / OID


@pytest.fixture
def large(source):
    path = lfs_object(source)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    source.commit(files={".gitattributes": attributes, "a.bin": POINTER})
    return source


@pytest.fixture
def without_lfs(tmp_path):
    """Give a PATH with git, and no git-lfs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh"):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_large_files_go_before_the_refs(large, target, bench):
    seen = f"test -e {lfs_object(target)} || exit 1"
    target.hook("pre-receive", seen)
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert lfs_object(target).read_bytes() == CONTENT
    assert target.refs() == large.refs()


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_a_large_file_that_the_source_lacks_fails_before_the_refs(large, target, bench):
    lfs_object(large).unlink()
    assert bench.sync(task(large, target)).status is RunStatus.FAILED
    assert target.refs() == {}


def test_pointers_are_counted_where_git_lfs_is_missing(
    large, target, tmp_path, without_lfs
):
    bench = Bench(tmp_path, {"PATH": without_lfs})
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert "warning: 1 LFS pointers were pushed without" in bench.log.text()
    assert target.refs() == large.refs()


def test_a_repository_without_large_files_hears_nothing_of_them(source, target, bench):
    bench.sync(task(source, target))
    assert "lfs" not in bench.log.text().lower()


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_a_repository_cannot_say_where_its_large_files_go(
    large, target, bench, http_host
):
    elsewhere = f"[lfs]\n\turl = {http_host.base}/\n\tpushurl = {http_host.base}/\n"
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    large.commit(files={".lfsconfig": elsewhere, ".gitattributes": attributes})
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert http_host.requests == []
    assert lfs_object(target).read_bytes() == CONTENT
