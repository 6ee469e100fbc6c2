"""What commands do with a running daemon, and what ends a sync."""

import json
import os
import re
import shutil
import signal
import socket

import pytest

from tests.support.command_line import finished, process
from tests.support.hosts import free_port

HUNG = """#!/bin/sh
case " $* " in *" fetch "*) exec sleep 600;; *) exec {git} "$@";; esac
"""


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
    assert line.endswith("task 1 is disabled: gms-hookd task enable 1\n")
    assert no("trigger", "99")[0] == 1
    status, line = no("trigger", "1", "--url", daemon.url + "/nope")
    assert (status, "404" in line) == (1, True)


def test_a_trigger_that_nobody_answers_is_status_1(no):
    url = f"http://127.0.0.1:{free_port()}/"
    status, line = no("trigger", "1", "--url", url)
    assert (status, "Connection refused" in line) == (1, True)
    assert "systemctl" not in line
    for words in (("trigger", "1"), ("hook", "test", "task-sync")):
        assert "Connection refused: systemctl start gms-hookd" in no(*words)[1]


def test_a_second_daemon_is_status_75(daemon):
    status, _, err = finished("serve", "--listen", "127.0.0.1:0")
    assert status == 75
    assert err.count("\n") == 1


def test_a_daemon_that_starts_meanwhile_is_asked(daemon, ok, monkeypatch):
    """A command that has found none loses the state directory to it."""
    answers = iter((False,))
    monkeypatch.setattr("gms_hookd.cli.session.listens", lambda *a: next(answers, True))
    assert ok("task", "list") == "no tasks\n"


def test_an_address_in_use_is_one_line_and_status_1(environ):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = finished("serve", "--listen", f"127.0.0.1:{port}")
    assert (status, out) == (1, "")
    assert re.search(r"gms-hookd: .*Address already in use$", err.split("\n")[-2])
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
