"""The command line as its users meet it: what it prints and how it ends."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from gms_hookd import __version__
from gms_hookd.cli import api_client, main, session
from gms_hookd.forges.registry import FORGES
from gms_hookd.service.state_dir import StateDirectory, control_socket
from tests.support.repositories import Repo
from tests.support.seen import CANARY, look

ROOT = Path(__file__).parents[2]
SECRET = f"a secret of more than sixteen letters {CANARY}"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HUNG = """#!/bin/sh
case " $* " in *" fetch "*) exec sleep 600;; *) exec {git} "$@";; esac
"""


def process(*arguments, **options):
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gms_hookd", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(*arguments, **options):
    """Run it to its end; return status, stdout and stderr."""
    running = process(*arguments, **options)
    out, err = running.communicate(timeout=60)
    look(f"output of {arguments}", out + err)
    return running.returncode, out, err


@pytest.fixture
def environ(tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text(f'[webhook]\nsecret = "{SECRET}"\n')
    config.chmod(0o600)
    monkeypatch.setenv("GMS_HOOKD_CONFIG", str(config))
    monkeypatch.setenv("GMS_HOOKD_STATE", str(tmp_path / "state"))
    for name in ("WEBHOOK_SECRET", "CREDENTIALS_DIRECTORY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def run(environ, capsys):
    """Carry out a command in this process; return (status, stdout, stderr)."""

    def carried_out(*arguments):
        status = main.main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        look(f"output of {arguments}", out + err)
        return status, out, err

    return carried_out


@pytest.fixture
def ok(run):
    """Carry out a command that must work; return what it printed."""

    def printed(*arguments):
        status, out, err = run(*arguments)
        assert (status, err) == (0, ""), (out, err)
        return out

    return printed


@pytest.fixture
def no(run):
    """Carry out a command that must fail; return its status and its one line."""

    def complaint(*arguments):
        status, _, err = run(*arguments)
        assert re.fullmatch(r"gms-hookd: [^\n]+\n", err)
        return status, err

    return complaint


GBK = os.fsdecode("\u6d4b\u8bd5".encode("gbk"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "show", GBK),
        ("task", "add", GBK, "--source", "/a", "--target", "/b"),
        ("task", "add", "app", "--source", f"/{GBK}", "--target", "/b"),
        ("task", "add", "app", "--source", "/a", "--target", "/b", "--branch", GBK),
        ("task", "add", "app", "--source", "/a", "--target", "/b", "--refspec", GBK),
        ("task", "set", "app", f"name={GBK}"),
        ("task", "set", "app", f"refspecs={GBK}"),
        ("task", "remove", f"app{GBK}"),
        ("trigger", "1", "--url", f"http://{GBK}/"),
        ("run", "list", "--task", GBK),
        ("delivery", "list", "--hook", GBK),
        ("hook", "secret", GBK),
        ("hook", "test", GBK),
        ("serve", "--listen", f"unix:/{GBK}"),
    ],
)
def test_an_argument_that_is_not_utf_8_is_told(no, arguments):
    status, err = no(*arguments)
    assert status == 2
    assert "is not UTF-8" in err
    assert r"\xb2\xe2" in err


def test_a_file_may_have_a_name_that_is_not_utf_8(ok, tmp_path):
    file = tmp_path / GBK
    file.write_bytes(b"{}")
    assert ok("sign", file).startswith("sha256=")
    ok("backup", file)
    assert file.stat().st_size > 1000


@pytest.fixture
def sides(tmp_path):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit("main")
    return source, target


@pytest.fixture
def task(ok, sides):
    source, target = sides
    added = ok("task", "add", "mirror", "--source", source, "--target", target)
    assert added == "1\n"
    return source, target


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def serving(state, port, **options):
    with process("serve", "--listen", f"127.0.0.1:{port}", **options) as daemon:
        try:
            while not api_client.listens(control_socket(state)):
                assert daemon.poll() is None, daemon.stderr.read()
            yield daemon
        finally:
            daemon.terminate()
            daemon.communicate(timeout=30)


@pytest.fixture
def daemon(environ, tmp_path):
    port = free_port()
    text = environ.read_text() + f'[server]\nlisten = ["127.0.0.1:{port}"]\n'
    environ.write_text(text)
    with serving(tmp_path / "state", port) as running:
        running.url = f"http://127.0.0.1:{port}/api/webhooks/task-sync"
        yield running


def test_the_version_is_printed(ok):
    assert ok("--version") == f"gms-hookd {__version__}\n"


@pytest.mark.parametrize("words", [(), *((n,) for n in main.GROUPS), *main.COMMANDS])
def test_every_command_has_a_help_of_its_own(ok, words):
    said = ok(*words, "--help")
    assert said.startswith(" ".join(("usage: gms-hookd", *words)))
    assert all(option in said for option in ("--config", "--state"))


def test_the_commands_are_those_of_the_contract():
    words = {" ".join(name) for name in main.COMMANDS}
    assert words == {
        "serve", "status", "reload", "manual", "demo", "check", "trigger", "sign",
        "backup", "import gms", "metrics", "install", "uninstall", "completion",
        "task add", "task expand", "task list", "task show", "task set", "task enable",
        "task disable", "task remove", "task sync",
        "run list", "run show", "run log", "run retry", "run cancel",
        "run undo", "notify list", "notify test", "notify resend",
        "delivery list", "delivery show", "hook list", "hook secret", "hook test",
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        (), ("nope",), ("task",), ("task", "add"), ("task", "list", "x"),
        ("task", "list", "--js"), ("task", "add", "x", "--source", "/a"),
        ("run", "show", "x"), ("run", "show", "0"), ("run", "list", "--status", "done"),
        ("run", "list", "--limit", "0"), ("trigger", "1", "--wait", "301"),
        ("task", "set", "1"), ("task", "set", "1", "color=red"),
        ("task", "sync", "1", "--yes", "--dry-run"), ("serve", "--listen"),
        ("backup",), ("delivery", "show", "1e3"), ("hook", "test"), ("hook", "secret"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_2(no, words):
    status, line = no(*words)
    assert status == 2
    assert "--help`" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--source", "ftp://h/x", "--target", "/b"),
        ("--source", "relative", "--target", "/b"),
        ("--source", "/a", "--target", "/b", "--refspec", "a..b"),
        ("--source", "/a", "--target", "/a"),
    ],
)
def test_a_task_that_makes_no_sense_is_status_2(no, arguments):
    assert no("task", "add", "x", *arguments)[0] == 2


@pytest.mark.parametrize("name", ["7", "", "a b\n", "-x", "\x1b[31m"])
def test_a_name_that_cannot_name_a_task_is_refused(no, name):
    assert no("task", "add", "--source=/a", "--target=/b", "--", name)[0] == 2


def test_config_and_state_stand_before_and_after_the_command(ok, tmp_path):
    for number in range(4):
        state = tmp_path / f"s{number}"
        words = ["task", "list"]
        words[number % 3 : number % 3] = ["--state", state]
        assert ok(*words) == "no tasks\n"
        assert (state / "gms-hookd.db").exists()


def test_a_task_goes_through_its_life(ok, no, sides):
    source, target = sides
    where = ("--source", source, "--target", target)
    more = ("--branch", "main:release", "--refspec", "^refs/heads/x", "--branch", "dev")
    policy = ("--force", "--prune", "--timeout", "90", "--disabled")
    assert ok("task", "add", "one", *where, *more, *policy) == "1\n"
    shown = json.loads(ok("task", "show", "one", "--json"))
    assert shown["refspecs"] == [
        "refs/heads/main:refs/heads/release",
        "^refs/heads/x",
        "refs/heads/dev:refs/heads/dev",
    ]
    assert (shown["force"], shown["prune"], shown["enabled"]) == (True, True, False)
    assert (shown["timeout"], shown["last_run"]) == (90, None)
    assert RFC3339.fullmatch(shown["created_at"])
    assert json.loads(ok("task", "list", "--json")) == [shown]
    ok("task", "enable", "1")
    ok("task", "set", "one", "name=two", "force=no", "branch=main", "timeout=default")
    changed = json.loads(ok("task", "show", "1", "--json"))
    assert (changed["name"], changed["force"], changed["enabled"]) == (
        "two",
        False,
        True,
    )
    assert (changed["source_branch"], changed["timeout"]) == ("main", None)
    ok("task", "disable", "two")
    assert "off" in ok("task", "list")
    ok("task", "remove", "two")
    assert ok("task", "list") == "no tasks\n"
    assert no("task", "show", "two") == (1, "gms-hookd: no task with name 'two'\n")


def test_a_schedule_is_set_shown_and_taken_away(ok, no, sides):
    where = ("--source", sides[0], "--target", sides[1])
    ok("task", "add", "plain", *where)
    assert "CRON" not in ok("task", "list")
    ok("task", "add", "nightly", *where, "--cron", "CRON_TZ=UTC 0 2 1 1 *")
    shown = json.loads(ok("task", "show", "nightly", "--json"))
    assert shown["cron"] == "CRON_TZ=UTC 0 2 1 1 *"
    assert shown["next_cron"].endswith("-01-01T02:00:00.000Z")
    assert "next cron:" in ok("task", "show", "nightly")
    head, _, row = ok("task", "list").splitlines()
    year = shown["next_cron"][:4]
    assert row.find(f"{year}-01-01") == head.find("NEXT CRON")
    ok("task", "disable", "nightly")
    assert json.loads(ok("task", "show", "2", "--json"))["next_cron"] is None
    ok("task", "set", "nightly", "enabled=true", "cron=0 0 30 2 *")
    assert "next cron:  never" in ok("task", "show", "nightly")
    ok("task", "set", "nightly", "cron=")
    assert json.loads(ok("task", "show", "2", "--json"))["cron"] is None
    wrong = no("task", "add", "x", *where, "--cron", "61 * * * *")
    assert wrong[0] == 2
    assert "above maximum (59)" in wrong[1]


def test_a_pattern_makes_tasks_of_a_list_and_they_stand_under_it(
    run, ok, no, sides, tmp_path
):
    source, _ = sides
    where = source.path.parent
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    ends = ("--source", f"{where}/*.git", "--target", f"{mirror}/*.git", "--create")
    assert ok("task", "add", "all/*", *ends, "--max", "5") == "1\n"
    ok("task", "add", "zz", "--source", "/a", "--target", "/b")
    names = tmp_path / "names"
    names.write_text(f"# all\n\n{source.path.name}\tprivate\t2026\n../x y\n")
    status, out, err = run("task", "expand", "all/*", names)
    assert (status, err) == (1, "gms-hookd: 1 of 2 names refused\n")
    assert re.search(r"^3 +all/source +created", out, re.M), out
    listed = [line.split()[1] for line in ok("task", "list").split("\n")[1:-1]]
    assert listed == ["all/*", "all/source", "zz"]
    ok("task", "sync", "3")
    assert Repo(mirror / "source.git").refs() == source.refs()
    ok("task", "set", "all/*", "cron=@daily")
    shown = ok("task", "show", "all/*")
    assert "makes up to 5 tasks, and never runs" in shown
    assert "next cron" not in shown
    assert "made by all/*" in ok("task", "show", "3")
    assert no("task", "sync", "all/*")[0] == 1
    names.write_text("# none\n")
    assert "the list has no names" in no("task", "expand", "all/*", names)[1]
    ok("task", "remove", "all/*")
    assert "all/source" in ok("task", "list")


def test_a_name_is_given_once(task, no):
    status, line = no("task", "add", "mirror", "--source", "/a", "--target", "/b")
    assert (status, "mirror" in line) == (1, True)


def test_a_sync_without_a_daemon_shows_git_and_what_became_of_each_ref(task, ok):
    source, target = task
    said = ok("task", "sync", "mirror")
    assert "$ git fetch" in said
    assert "refs/heads/main  created" in said
    assert re.search(r"^run 1: success in .*$", said.rstrip().split("\n")[-1])
    assert target.tip("main") == source.tip("main")
    assert "nothing to do" in ok("task", "sync", "1")
    assert "$ git fetch" in ok("run", "log", "1")
    shown = json.loads(ok("run", "show", "1", "--json"))
    assert (shown["status"], shown["trigger"], shown["attempt"]) == (
        "success",
        "manual",
        1,
    )
    assert "$ git fetch" in shown["details"]
    listed = json.loads(ok("run", "list", "--task", "mirror", "--json"))
    assert [run["id"] for run in listed] == [2, 1]
    assert ok("run", "list", "--status", "failed") == "no runs\n"
    assert len(json.loads(ok("run", "list", "--limit", "1", "--json"))) == 1


def test_an_undo_puts_back_what_a_run_did_and_says_that_the_task_is_disabled(
    task, ok, no
):
    source, target = task
    ok("task", "sync", "mirror")
    old = target.tip("main")
    source.commit()
    ok("task", "sync", "mirror")
    said = ok("run", "undo", "2", "--ref", "main")
    assert said.startswith("run 3 undoes run 2; task mirror is disabled\n")
    assert "until `gms-hookd task enable mirror`" in said
    assert target.tip("main") == old
    assert "1 mirror (off since run 3, an undo:" in ok("task", "show", "mirror")
    target.commit()
    status, line = no("run", "undo", "1")
    assert (status, "conflict" in line) == (1, True)
    status, line = no("run", "undo", "2", "--ref", "dev")
    assert (status, "but refs/heads/main" in line) == (2, True)


def test_a_sync_that_fails_is_status_1_with_its_reason(ok, no, tmp_path):
    ok("task", "add", "x", "--source", tmp_path / "none", "--target", tmp_path / "t")
    status, line = no("task", "sync", "x")
    assert status == 1
    assert "run 1: failed" in line
    assert "does not appear to be a git repository" in line


def test_a_conflict_is_status_1_and_leaves_the_target(task, no):
    source, target = task
    source.git("push", "-q", str(target), "main")
    theirs = target.commit("main")
    source.commit("main")
    status, line = no("task", "sync", "mirror")
    assert (status, "conflict" in line) == (1, True)
    assert target.tip("main") == theirs


def test_yes_lets_go_what_a_guard_holds_and_shows_it_first(task, ok, no):
    source, target = task
    ok("task", "set", "mirror", "prune=yes", "refspecs=refs/heads/*:refs/heads/*")
    names = [f"b{n}" for n in range(9)]
    source.set(**dict.fromkeys(names, source.tip()))
    assert "confirmed" not in ok("task", "sync", "mirror", "--yes")
    source.set(**dict.fromkeys(names[:8]))
    status, line = no("task", "sync", "mirror")
    assert (status, "held back" in line) == (1, True)
    said = ok("task", "sync", "mirror", "--yes")
    assert said.startswith("confirmed to be deleted:\n")
    assert said.index("refs/heads/b7") < said.index("$ git")
    assert set(target.refs()) == {"refs/heads/main", "refs/heads/b8"}


def test_yes_to_a_plan_that_cannot_be_made_confirms_nothing(run, ok, tmp_path):
    ok("task", "add", "x", "--source", tmp_path / "none", "--target", tmp_path / "t")
    status, said, err = run("task", "sync", "x", "--yes")
    assert (status, "nothing is confirmed: no plan: " in said) == (1, True)
    assert "run 1: failed" in err


def test_a_retry_without_a_daemon_waits_for_one(task, ok):
    ok("task", "sync", "mirror")
    assert ok("run", "retry", "1") == "run 2: queued, for when the daemon runs\n"
    assert ok("run", "cancel", "2") == "run 2: cancelled\n"


@pytest.mark.parametrize(
    "words",
    [("run", "show", "9"), ("run", "log", "9"), ("run", "retry", "9"),
     ("run", "cancel", "9"), ("delivery", "show", "9"), ("task", "show", "9"),
     ("task", "sync", "nope"), ("task", "remove", "nope"),
     ("run", "list", "--task", "x"), ("trigger", "nope"), ("sign", "/no/such/file"),
     ("backup", "/no/such/folder/f"), ("backup", "/")],
)  # fmt: skip
def test_what_is_not_there_is_status_1(no, words):
    assert no(*words)[0] == 1


def test_an_empty_state_lists_nothing(ok):
    assert ok("run", "list") == "no runs\n"
    assert ok("delivery", "list") == "no deliveries\n"
    assert ok("delivery", "list", "--json") == "[]\n"


def test_a_held_state_directory_is_status_75(no, tmp_path):
    held = StateDirectory.open(tmp_path / "state")
    try:
        assert no("task", "list")[0] == 75
        assert no("serve")[0] == 75
    finally:
        held.close()


def test_a_broken_configuration_is_status_2(no, environ):
    environ.write_text("[webhook]\nsercet = 1\n")
    status, line = no("task", "list")
    assert status == 2
    assert "webhook.sercet" in line


def test_a_signature_is_what_openssl_makes(ok, tmp_path):
    body = b'{"task_id": 1}\n'
    (tmp_path / "body").write_bytes(body)
    wanted = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert ok("sign", tmp_path / "body") == f"sha256={wanted}\n"
    with (tmp_path / "body").open() as stdin:
        assert finished("sign", stdin=stdin)[:2] == (0, f"sha256={wanted}\n")


def test_signing_without_a_secret_is_status_2(no, environ):
    environ.write_text("")
    status, line = no("sign", os.devnull)
    assert (status, "webhook.secret" in line) == (2, True)


def test_root_signs_with_the_secret_that_the_service_was_handed(tmp_path, monkeypatch):
    folder, state = tmp_path / "credentials", tmp_path / "state"
    folder.mkdir()
    monkeypatch.setattr(session, "SERVICE_CREDENTIALS", folder)
    assert session.with_credentials({}, state) == {}
    monkeypatch.setattr(session, "SERVICE_STATE", state)
    handed = {"CREDENTIALS_DIRECTORY": str(folder)}
    assert session.with_credentials({}, state) == handed
    own = {"CREDENTIALS_DIRECTORY": "/run/credentials/another.service"}
    assert session.with_credentials(own, state) == own


def test_a_password_in_a_url_is_not_repeated(no):
    url = "https://me:hunter2@h.example/x.git"
    status, line = no("task", "add", "x", "--source", url, "--target", "/b")
    assert (status, "hunter2" in line) == (2, False)


def test_a_backup_is_a_store_of_mode_0600_and_replaces_the_last(task, ok, tmp_path):
    file = tmp_path / "copy.db"
    for _ in range(2):
        ok("backup", file)
        assert file.stat().st_mode & 0o777 == 0o600
        copy = sqlite3.connect(file)
        assert copy.execute("SELECT name FROM tasks").fetchall() == [("mirror",)]
        copy.close()
    assert not list((tmp_path / "state").glob("backup-*"))
    assert not list(tmp_path.glob(".copy.db*"))


def test_a_backup_onto_the_store_is_refused(task, no, ok, tmp_path):
    state = tmp_path / "state"
    (tmp_path / "folder").symlink_to(state)
    (tmp_path / "link").symlink_to(state / "gms-hookd.db")
    (tmp_path / "second").hardlink_to(state / "gms-hookd.db")
    inode = (state / "gms-hookd.db").stat().st_ino
    for place in (
        state / "gms-hookd.db", tmp_path / "folder" / "gms-hookd.db", state / "lock",
        tmp_path / "link", tmp_path / "second", state / "gms-hookd.db-wal",
    ):  # fmt: skip
        assert "the store itself" in no("backup", place)[1]
    assert (state / "gms-hookd.db").stat().st_ino == inode
    assert (tmp_path / "link").is_symlink()
    assert "mirror" in ok("task", "list")


def test_the_same_commands_go_to_a_running_daemon(daemon, task, ok, tmp_path):
    assert "mirror" in ok("task", "list")
    assert "refs/heads/main  created" in ok("task", "sync", "mirror")
    assert "$ git fetch" in ok("run", "log", "1")
    ok("backup", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").exists()


def test_a_trigger_is_a_delivery_and_a_run(daemon, task, ok, no):
    source, target = task
    said = ok("trigger", "mirror", "--wait", "60")
    assert said.startswith("run 1: success in ")
    assert target.tip("main") == source.tip("main")
    (delivery,) = json.loads(ok("delivery", "list", "--hook", "task-sync", "--json"))
    assert (delivery["status"], delivery["run_ids"]) == (200, [1])
    assert "200" in ok("delivery", "show", delivery["id"])
    run = json.loads(ok("run", "show", "1", "--json"))
    assert run["trigger"] == "webhook:task-sync"
    answer = json.loads(ok("trigger", "1", "--url", daemon.url, "--json"))
    assert answer == {"message": "Sync triggered successfully", "task_id": 1}
    # It joins run 2 where that has not begun yet.
    said = ok("trigger", "1")
    assert said in [f"Sync triggered successfully: run {n}\n" for n in (2, 3)]


def test_a_refused_trigger_is_status_1_with_the_answer(daemon, task, ok, no):
    ok("task", "disable", "mirror")
    status, line = no("trigger", "mirror")
    assert (status, "409" in line) == (1, True)
    assert no("trigger", "99")[0] == 1
    status, line = no("trigger", "1", "--url", daemon.url + "/nope")
    assert (status, "404" in line) == (1, True)


def test_a_trigger_that_nobody_answers_is_status_1(no):
    url = f"http://127.0.0.1:{free_port()}/"
    status, line = no("trigger", "1", "--url", url)
    assert (status, "Connection refused" in line) == (1, True)


def test_a_second_daemon_is_status_75(daemon):
    status, _, err = finished("serve", "--listen", "127.0.0.1:0")
    assert status == 75
    assert err.count("\n") == 1


def test_an_address_in_use_is_one_line_and_status_1(environ):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = finished("serve", "--listen", f"127.0.0.1:{port}")
    assert (status, out) == (1, "")
    assert re.search(r"gms-hookd: .*Address already in use", err.split("\n")[-2])
    assert "Traceback" not in err


@pytest.fixture
def hanging(task, ok, tmp_path, monkeypatch):
    """Make git hang: the sync of the task begins and does not end."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(HUNG.format(git=shutil.which("git")))
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_a_sync_of_its_own_cancels_the_run(hanging, ok, number):
    running = process("task", "sync", "mirror")
    assert "$ git" in running.stdout.readline()
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert json.loads(ok("run", "show", "1", "--json"))["status"] == "cancelled"


def test_ctrl_c_while_watching_leaves_the_run_to_the_daemon(hanging, daemon, ok):
    running = process("task", "sync", "mirror")
    assert "$ git" in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "")
    assert "run 1 goes on" in out
    assert json.loads(ok("run", "show", "1", "--json"))["status"] == "running"
    assert ok("run", "cancel", "1") == "run 1: cancelled\n"


def test_a_closed_stdout_is_no_error(task):
    command = [sys.executable, "-m", "gms_hookd", "task", "list"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_under_stdout_is_one_line(task):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "gms_hookd", "task", "list"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    said = b"gms-hookd: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_reader_that_goes_away_is_no_traceback(task):
    running = process("task", "list", "--json")
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(30) == 1
    running.stderr.close()


def test_an_unforeseen_error_is_one_line(no):
    status, line = no("task", "list", "--state", "/tmp/\0")
    assert (status, "unexpected ValueError" in line) == (1, True)


WHSEC = "whsec_" + base64.b64encode(f"{CANARY} and more".encode()).decode()


@pytest.fixture
def hooks(environ):
    """Configure a hook of every provider."""
    tables = (f"[hooks.{p}]\nsecret = '{WHSEC}'\ntasks = ['mirror']\n" for p in FORGES)
    environ.write_text(environ.read_text() + "".join(tables))


def test_the_list_of_hooks_says_what_to_enter_where_and_no_secret(hooks, ok):
    listed = json.loads(ok("hook", "list", "--json"))
    assert [hook["name"] for hook in listed] == ["task-sync", *FORGES]
    github = listed[1]
    assert github == {
        "name": "github", "provider": "github", "scheme": "signature",
        "url": None, "secret_place": "Secret",
        "events": "Just the push event", "tasks": ["mirror"], "last_delivery": None,
    }  # fmt: skip
    text = ok("hook", "list")
    assert "no delivery yet" in text
    assert "?key=SECRET" in text
    assert WHSEC not in text + json.dumps(listed)
    assert SECRET not in text + json.dumps(listed)


def test_a_hook_gets_a_long_random_secret_of_the_form_it_needs(hooks, ok):
    first, second = ok("hook", "secret", "github"), ok("hook", "secret", "github")
    assert first != second
    assert re.fullmatch(r"[\w-]{43}\n", first)
    assert re.fullmatch(r"whsec_[\w/+]{43}=\n", ok("hook", "secret", "svix"))
    assert re.fullmatch(r"[\w-]{43}\n", ok("hook", "secret", "not-configured-yet"))


def test_a_test_delivery_of_every_hook_passes_the_real_socket(hooks, daemon, ok, task):
    url = daemon.url.removesuffix("task-sync")
    for provider in FORGES:
        told = ok("hook", "test", provider, "--url", url + provider)
        assert told.startswith("delivery ")
        told = json.loads(ok("hook", "test", provider, "--task", "mirror", "--json"))
        assert told["task_ids"] == [1], provider
    listed = json.loads(ok("hook", "list", "--json"))
    assert all(hook["last_delivery"]["task_ids"] == [1] for hook in listed[1:])


class Echo(http.server.BaseHTTPRequestHandler):
    """A server in front of nothing: it says which address was not found."""

    def do_POST(self):
        said = f"The requested URL {self.path} was not found. {dict(self.headers)}"
        self.send_error(404, explain=said)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("provider", ["dockerhub", "gitlab", "argo-events", "msr"])
def test_an_answer_that_repeats_the_secret_is_printed_without_it(hooks, no, provider):
    with http.server.HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{'p' * 90}/{provider}"
        _, said = no("hook", "test", provider, "--url", url)
        thread.join()
    assert "answered 404" in said
    assert not any(WHSEC[n : n + 12] in said for n in range(len(WHSEC) - 11))


def test_a_test_delivery_that_is_refused_is_status_1(hooks, daemon, no, environ):
    text = environ.read_text().replace(WHSEC, WHSEC[:-4] + "AAAA")
    environ.write_text(text)
    status, said = no("hook", "test", "github")
    assert (status, "answered 401: missing or wrong signature" in said) == (1, True)
    assert "no hook 'nope'" in no("hook", "test", "nope")[1]
