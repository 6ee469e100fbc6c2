"""One screen for three in the morning: `status`, and the line that systemd shows."""

import json
import signal
import socket

import pytest

from gms_hookd import __version__
from gms_hookd.cli import main
from tests.support.repositories import Repo


@pytest.fixture
def asked(daemon, capsys):
    """Ask for the daemon's status; return (exit status, stdout, stderr)."""

    def ask(*more):
        where = ["--config", str(daemon.config), "--state", str(daemon.state)]
        status = main.main(["status", *more, *where])
        return status, *capsys.readouterr()

    return ask


def test_a_daemon_that_is_well_is_status_0(daemon, asked):
    daemon.start()
    status, out, err = asked()
    assert (status, err) == (0, "")
    assert __version__ in out
    assert str(daemon.socket) in out
    assert "queue:      empty" in out
    assert out.endswith("all is well\n")
    told = json.loads(asked("--json")[1])
    assert (told["ready"], told["needs_hands"], told["notices"]) == (True, [], [])
    assert told["queue"]["queued"] == 0
    assert told["disk"]["free"] > 0


def test_a_failing_task_needs_hands_and_says_why(daemon, asked, tmp_path):
    daemon.start()
    task = daemon.add_task("dead", tmp_path / "none.git", tmp_path / "target.git")
    daemon.ended(daemon.api("POST", "run", task_id=task)["id"])
    daemon.trigger(task, secret="wrong")
    status, out, err = asked()
    assert status == 1
    assert err.startswith("gms-hookd: needs hands: 1 task failing")
    assert "`gms-hookd run show 1` says why" in err
    assert err.count("\n") == 1
    told = json.loads(asked("--json")[1])
    assert [run["task_name"] for run in told["failing"]] == ["dead"]
    assert "none.git" in told["failing"][0]["error_message"]
    assert "none.git" in out
    assert [each["status"] for each in told["refused"]] == [401]
    assert "missing or wrong signature" in out
    # Whom somebody has switched off needs no more hands.
    daemon.api("POST", "task/update", id=task, enabled=False)
    assert asked()[0] == 0


def test_what_is_tried_again_says_when(daemon, asked, tmp_path):
    daemon.start()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    Repo(tmp_path / "target.git")
    url = f"https://127.0.0.1:{port}/x.git"
    task = daemon.add_task("late", url, tmp_path / "target.git")
    daemon.api("POST", "run", task_id=task)
    daemon.until(lambda: daemon.api("GET", "status")["retried"])
    status, out, _ = asked()
    told = json.loads(asked("--json")[1])
    assert status == 0
    assert told["retried"][0]["task_name"] == "late"
    assert told["retried"][0]["next_try"]
    assert "tried again: 1" in out


def test_what_is_scheduled_next_is_shown(daemon, asked, tmp_path):
    daemon.start()
    task = daemon.add_task("nightly", tmp_path / "a.git", tmp_path / "b.git")
    daemon.add_task("never", tmp_path / "a.git", tmp_path / "b.git")
    daemon.api("POST", "task/update", id=task, cron="CRON_TZ=UTC 30 2 29 2 *")
    told = json.loads(asked("--json")[1])
    (scheduled,) = told["scheduled"]
    assert scheduled["next_cron"].endswith("-02-29T02:30:00.000Z")
    assert (scheduled["task_id"], scheduled["task_name"]) == (task, "nightly")
    assert "CRON_TZ=UTC 30 2 29 2 *" in asked()[1]


def test_a_stopped_daemon_needs_hands(daemon, asked):
    daemon.start()
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    status, out, err = asked()
    assert status == 1
    assert "serving:    no: not running" in out
    assert "the daemon is not running: systemctl start gms-hookd" in err


@pytest.mark.parametrize("command", ["status", "check", "reload"])
def test_who_is_not_the_service_is_not_told_that_it_stands(command, tmp_path, capsys):
    """Of a service that runs, another user sees nothing."""
    (tmp_path / "c.toml").write_text("[webhook]\nsercet = 1\n")
    state = tmp_path / "home/.local/state/gms-hookd"
    words = ["--config", str(tmp_path / "c.toml"), "--state", str(state)]
    assert main.main([command, *words]) in (1, 2)
    said = "".join(capsys.readouterr())
    assert "systemctl start" not in said
    assert "the daemon does not run" not in said
    assert command == "status" or "run this as root" in said


def test_a_daemon_that_hangs_is_named(daemon, asked, monkeypatch):
    monkeypatch.setattr("gms_hookd.cli.status.QUICK", 0.5)
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    try:
        status, _, err = asked()
    finally:
        daemon.signal(signal.SIGCONT)
    assert status == 1
    assert "the daemon does not answer for 5 s" in err


@pytest.mark.parametrize("what", ["store", "reload"])
def test_what_befell_the_daemon_is_in_status_and_status_line(daemon, asked, what):
    daemon.start()
    if what == "store":
        (daemon.state / "gms-hookd.db").unlink()
        word = "store"
    else:
        daemon.config.write_text("[server]\nlissen = 1\n")
        daemon.signal(signal.SIGHUP)
        word = "server.lissen"
    found = False
    while not found:
        message = daemon.told("STATUS=")
        found = any(word in line for line in message if line.startswith("STATUS="))
    told = daemon.api("GET", "status")
    assert any(word in each for each in told["needs_hands"]), told


def test_no_daemon_and_a_broken_configuration_is_one_line_with_both(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("[webhook]\nsercet = 1\n")
    words = ["--config", str(tmp_path / "c.toml"), "--state", str(tmp_path / "state")]
    assert main.main(["status", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gms-hookd: the daemon does not run, and would not start")
    assert "systemctl start gms-hookd): webhook.sercet: unknown key" in said
    assert said.count("\n") == 1
