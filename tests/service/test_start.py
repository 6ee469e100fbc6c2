"""What a start loads, and that nothing has to be loaded after it."""

import os
import signal
import sys

import pytest

from gms_hookd import pyz
from gms_hookd.forges.registry import PROVIDERS
from tests.support.process import Daemon, run_number
from tests.support.repositories import Repo

# What other commands need.
NOT_AT_START = {
    "backup", "check", "delivery", "demo", "hook", "render", "run", "task", "trigger",
}  # fmt: skip
TIMED = (sys.executable, "-X", "importtime")


@pytest.fixture
def daemon(tmp_path):
    (tmp_path / "home").mkdir()
    pyz.build(tmp_path / "gms-hookd.pyz")
    command = (*TIMED, str(tmp_path / "gms-hookd.pyz"))
    made = Daemon(tmp_path / "home", command)
    yield made
    made.close()


def loaded(log):
    lines = (line for line in log.split("\n") if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def test_a_start_loads_no_other_command(daemon):
    daemon.start()
    daemon.until(lambda: "serving listeners=" in daemon.log())
    found = loaded(daemon.log().partition("serving listeners=")[0])
    assert "gms_hookd.service.daemon" in found
    assert not found & {f"gms_hookd.cli.{name}" for name in NOT_AT_START}


def test_an_archive_that_is_replaced_under_the_daemon_is_not_missed(daemon, tmp_path):
    daemon.start()
    daemon.until(lambda: "serving listeners=" in daemon.log())
    (tmp_path / "upgrade").write_bytes(b"")
    os.replace(tmp_path / "upgrade", tmp_path / "gms-hookd.pyz")
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit()
    task = daemon.add_task("app", source, target)
    _, headers, _ = daemon.trigger(task)
    assert daemon.ended(run_number(headers))["status"] == "success"
    hooks = "".join(f"[hooks.{provider}]\n" for provider in PROVIDERS)
    secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LSE="
    daemon.configure(hooks, secret=secret)
    daemon.signal(signal.SIGHUP)
    daemon.until(lambda: "configuration reloaded" in daemon.log())
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
