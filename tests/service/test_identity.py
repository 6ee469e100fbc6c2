"""Commands of root's act as the service's user where they touch state or repositories.

Run as root; each command is a process of its own, since it gives root's rights up.
"""

import io
import os
import sqlite3
import sys
from contextlib import closing

import pytest

from gms_hookd.cli.main import main
from gms_hookd.service.identity import acting, service_user
from tests.support.repositories import Repo

SERVICE = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place(open_place):
    """Give a folder with the state of the service."""
    (open_place / "state").mkdir(mode=0o700)
    (open_place / "config.toml").write_text("")
    give(open_place / "state")
    return open_place


def give(folder):
    for path in (folder, *folder.rglob("*")):
        os.chown(path, SERVICE, SERVICE)


def run(place, *words):
    """Carry out a command line in a child; returns its status and output."""
    out, into = os.pipe()
    if not (child := os.fork()):
        sys.stdout = sys.stderr = io.TextIOWrapper(os.fdopen(into, "wb"))
        where = ("--config", str(place / "config.toml"), "--state", place / "state")
        status = main([*words, *map(str, where)])
        sys.stdout.flush()
        os._exit(status)
    os.close(into)
    with open(out) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def owners(folder):
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_a_sync_of_root_s_leaves_nothing_that_the_service_cannot_write(place):
    source, target = Repo(place / "source.git"), Repo(place / "target.git")
    source.commit()
    give(place / "target.git")
    give(place / "source.git")
    sides = ("--source", str(source), "--target", str(target))
    assert run(place, "task", "add", "app", *sides) == (0, "1\n")
    status, said = run(place, "task", "sync", "app")
    assert (status, "success" in said) == (0, True), said
    assert owners(place / "target.git") == owners(place / "state") == {SERVICE}


def test_a_backup_is_root_s_and_the_store_the_service_s(place):
    (place / "root").mkdir(mode=0o700)
    run(place, "task", "list")
    assert run(place, "backup", str(place / "root" / "copy.db")) == (0, "")
    assert owners(place / "root") == {0}
    assert owners(place / "state") == {SERVICE}


def test_a_secret_that_only_root_can_read_is_not_read_by_root_either(place):
    (place / "secret").write_text("a-secret-of-the-test\n")
    (place / "secret").chmod(0o600)
    (place / "config.toml").write_text("[webhook]\nsecret_file = 'secret'\n")
    status, said = run(place, "task", "list")
    assert status == 2
    assert "may not read it" in said


def test_sign_reads_its_file_as_root(place):
    (place / "body").write_text("{}")
    (place / "body").chmod(0o600)
    (place / "config.toml").write_text("[webhook]\nsecret = 'a-secret-of-the-test'\n")
    status, said = run(place, "sign", str(place / "body"))
    assert (status, said[:7]) == (0, "sha256=")


def test_a_database_of_gms_that_only_root_can_read_is_imported(place):
    folder = place / "gms"
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(folder / "git_sync.db")) as db:
        for name in ("sync_tasks", "repos"):
            db.execute(f"CREATE TABLE {name}(id INTEGER PRIMARY KEY, key, path)")
        db.execute("INSERT INTO sync_tasks VALUES(1,'a','')")
        db.commit()
    status, said = run(place, "import", "gms", str(folder / "git_sync.db"))
    assert status == 1
    assert "task 1: skipped: source: GMS has no repository" in said
    assert owners(place / "state") == {SERVICE}


def test_a_store_that_root_has_copied_there_is_named_with_the_remedy(place):
    run(place, "task", "list")
    store = place / "state" / "gms-hookd.db"
    os.chown(store, 0, 0)
    remedy = f"chown -R nobody: {place / 'state'}"
    for command in ("task list", "status", "serve"):
        status, said = run(place, *command.split())
        assert (status, said.count("\n")) == (1, 1)
        assert f"gms-hookd.db): {remedy}" in said
    assert f"-> {remedy}" in run(place, "check")[1]
    os.system(remedy)
    assert run(place, "task", "list") == (0, "no tasks\n")


def test_a_cache_that_root_has_touched_is_named_with_the_remedy(place):
    source, target = Repo(place / "source.git"), Repo(place / "target.git")
    source.commit()
    give(place / "target.git")
    give(place / "source.git")
    run(place, "task", "add", "t", "--source", str(source), "--target", str(target))
    assert run(place, "task", "sync", "t")[0] == 0
    for path in (place / "state" / "caches").rglob("*"):
        os.chown(path, 0, 0)
    source.commit()
    give(place / "source.git")
    status, said = run(place, "task", "sync", "t")
    assert (status, said.count("[Errno")) == (1, 0)
    remedy = f"chown -R nobody: {place / 'state'}"
    assert f": {remedy}/caches" in said
    found = run(place, "check")[1]
    assert f"may not be written\n        -> {remedy}\n" in found
    os.system(remedy)
    assert run(place, "task", "sync", "t")[0] == 0


def test_rights_that_were_lent_come_back(place):
    before = os.getgroups()
    with acting(place / "state"):
        assert (os.geteuid(), os.getegid()) == (SERVICE, SERVICE)
        assert service_user(place / "state") is None
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, before)


def test_a_state_of_root_s_is_root_s(tmp_path):
    assert service_user(tmp_path) is None
    assert service_user(tmp_path / "none") is None
