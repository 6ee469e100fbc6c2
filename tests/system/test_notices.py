"""Notices of a daemon in a process of its own: killed at any moment, none is lost."""

import json
import os
import random
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.support.process import Daemon
from tests.support.repositories import Repo
from tests.support.vendor import Vendor

KILLS = int(os.environ.get("NOTICE_KILLS", "2"))
NOTICES = int(os.environ.get("NOTICE_COUNT", "8"))


@pytest.fixture
def vendor():
    made = Vendor()
    yield made
    made.stop()


@pytest.fixture
def daemon(tmp_path):
    made = Daemon(tmp_path)
    yield made
    made.close()


def configured(daemon, vendor, kind):
    (daemon.home / "url").write_text(vendor.url + "\n")
    (daemon.home / "url").chmod(0o600)
    daemon.configure(f"[notify.ops]\nkind = '{kind}'\nurl_file = 'url'\n")


def command(daemon, *words):
    place = "--config", daemon.config, "--state", daemon.state
    return subprocess.run(
        [sys.executable, "-m", "gms_hookd", *words, *place],
        env=daemon.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sync_that_fails_is_told_and_its_recovery_too(daemon, vendor, tmp_path):
    configured(daemon, vendor, "webhook")
    daemon.start()
    source = tmp_path / "source.git"
    task = daemon.add_task("app", source, Repo(tmp_path / "target.git").path)
    assert daemon.ended(daemon.api("POST", "run", task_id=task)["id"])
    daemon.until(lambda: len(vendor.got) == 1)
    assert json.loads(vendor.got[0].body)["type"] == "sync.failed"
    Repo(source).commit()
    assert daemon.ended(daemon.api("POST", "run", task_id=task)["id"])
    daemon.until(lambda: len(vendor.got) == 2)
    told = json.loads(vendor.got[1].body)
    assert (told["type"], told["data"]["failures"]) == ("sync.recovered", 1)
    listed = command(daemon, "notify", "list")
    assert listed.stdout.count(" sent ") == 2, listed.stderr
    (first, second) = daemon.api("GET", "notices?target=ops&status=sent")
    assert (first["event"], second["event"]) == ("recovered", "failed")
    assert second["task_id"] == task
    tried = command(daemon, "notify", "test", "ops")
    assert (tried.returncode, tried.stdout) == (0, "ops: sent: status 200: ok\n")
    vendor.answer = 404, b"no_service"
    assert command(daemon, "notify", "test", "ops").returncode == 1
    unknown = command(daemon, "notify", "test", "x")
    assert (unknown.returncode, "ops" in unknown.stderr) == (1, True)
    vendor.answer = 200, b"ok"
    sent_again = command(daemon, "notify", "resend", second["id"])
    assert "waiting" in sent_again.stdout, sent_again.stderr
    daemon.until(lambda: len(vendor.got) == 5)
    vendor.answer = 410, b"gone: /hook/T0K3N-of-vendor"
    daemon.api("POST", "notice/resend", id=first["id"])
    daemon.until(lambda: daemon.api("GET", "notices?status=dead"))
    status = daemon.api("GET", "status")
    (tally,) = status["notices"]
    assert (tally["target"], tally["waiting"]) == ("ops", 0)
    assert "1 notice for ops not delivered" in " ".join(status["needs_hands"])
    (found,) = (f for f in daemon.api("GET", "check") if f["subject"] == "notify ops")
    assert found["finding"].startswith("1 notice not delivered: status 410: gone")
    page = command(daemon, "notify", "list", "--before", first["id"], "--json")
    assert [each["id"] for each in json.loads(page.stdout)] == [second["id"]]
    assert "T0K3N" not in json.dumps(status)
    assert "T0K3N" not in daemon.log()
    for path in daemon.state.glob("gms-hookd.db*"):
        assert b"T0K3N" not in path.read_bytes()


def test_each_notice_arrives_however_often_the_daemon_is_killed(
    daemon, vendor, tmp_path
):
    configured(daemon, vendor, "webhook")
    daemon.start()
    tasks = [
        daemon.add_task(f"t{n}", tmp_path / f"none-{n}.git", tmp_path / f"to-{n}.git")
        for n in range(NOTICES)
    ]
    for task in tasks:
        daemon.api("POST", "run", task_id=task)
    chance = random.Random(NOTICES)
    for _ in range(KILLS):
        known = len(vendor.got)
        wanted = known + chance.randint(0, 2)
        daemon.until(lambda wanted=wanted: min(wanted, NOTICES) <= len(vendor.got))
        daemon.kill()
        daemon.start()

    def keys():
        found = defaultdict(set)
        for got in vendor.got:
            task = json.loads(got.body)["data"]["task"]["name"]
            found[task].add(got.headers["webhook-id"])
        return found

    daemon.until(lambda: len(keys()) == NOTICES)
    daemon.until(lambda: not daemon.api("GET", "notices?status=waiting"))
    assert all(len(ids) == 1 for ids in keys().values())
