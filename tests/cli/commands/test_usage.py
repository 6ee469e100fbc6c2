"""How a command line is read, and how a command ends."""

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from gms_hookd import __version__
from gms_hookd.cli import main
from gms_hookd.service.state_dir import StateDirectory
from tests.support.command_line import process
from tests.support.process import ROOT

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
    ("words", "helped"),
    [
        ("--bogus", ""), ("--bogus task list", ""), ("task list --bogus", " task list"),
        ("task list x", " task list"), ("task --bogus list", " task"),
        ("run list --limits 3", " run list"), ("reload now", " reload"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_answered_with_the_help_of_its_command(no, words, helped):
    assert no(*words.split())[1].endswith(f"(see `gms-hookd{helped} --help`)\n")


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


def test_a_held_state_directory_is_status_75(no, tmp_path, monkeypatch):
    monkeypatch.setattr("gms_hookd.cli.in_process.MOMENT", 0)
    held = StateDirectory.open(tmp_path / "state")
    try:
        assert no("task", "list")[0] == 75
        assert no("serve")[0] == 75
    finally:
        held.close()


def test_a_state_directory_that_a_command_has_for_a_moment_is_waited_for(ok, tmp_path):
    held = StateDirectory.open(tmp_path / "state")
    threading.Timer(0.3, held.close).start()
    assert ok("task", "list") == "no tasks\n"


def test_a_broken_configuration_is_status_2(no, environ):
    environ.write_text("[webhook]\nsercet = 1\n")
    status, line = no("task", "list")
    assert status == 2
    assert "webhook.sercet" in line


def test_a_password_in_a_url_is_not_repeated(no):
    url = "https://me:hunter2@h.example/x.git"
    status, line = no("task", "add", "x", "--source", url, "--target", "/b")
    assert (status, "hunter2" in line) == (2, False)


def test_a_closed_stdout_is_no_error(task):
    command = [sys.executable, "-m", "gms_hookd", "task", "list"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [("task", "list"), ("--help",), ("--version",)])
def test_a_full_disk_under_stdout_is_one_line(task, words):
    with open("/dev/full", "w") as full:
        done = ended(*words, stdout=full, stderr=subprocess.PIPE)
    said = b"gms-hookd: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(("words", "status"), [("nope", 2), ("run show 9", 1)])
def test_a_full_disk_under_stderr_leaves_the_exit_status(environ, words, status):
    with open("/dev/full", "w") as full:
        assert ended(*words.split(), stderr=full).returncode == status


def test_a_stdout_that_does_not_block_gets_all(environ):
    whole = ended("manual", "tasks", stdout=subprocess.PIPE).stdout
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    command = [sys.executable, "-m", "gms_hookd", "manual", "tasks"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=writing),
        open(reading, "rb") as got,
    ):
        os.close(writing)
        assert got.read() == whole


def ended(*words, **streams):
    """Return the process that has carried out a command line."""
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "gms_hookd", *words]
    return subprocess.run(command, cwd=ROOT, env=environ, check=False, **streams)


def test_a_reader_that_goes_away_is_no_traceback(task):
    running = process("task", "list", "--json")
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(30) == 1
    running.stderr.close()


def test_an_unforeseen_error_is_one_line(no):
    status, line = no("task", "list", "--state", "/tmp/\0")
    assert (status, "unexpected ValueError" in line) == (1, True)
