"""The whole way: a signed trigger over a socket moves a branch of a real target."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gms_hookd.auth.signature import sign
from tests.support.hosts import free_port
from tests.support.pair import git
from tests.support.seen import CANARY, look

SECRET = f"correct horse battery staple {CANARY}"
ROOT = Path(__file__).parents[2]


def hookd(*args, state, **more):
    """Run a command of the product to its end."""
    command = [sys.executable, "-m", "gms_hookd", *args, "--state", str(state)]
    found = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == more.get("status", 0), found.stderr
    look(f"output of {args}", found.stdout + found.stderr)
    return found.stdout


def environ():
    return {"PATH": os.environ["PATH"], "WEBHOOK_SECRET": SECRET, "HOME": "/nowhere"}


class Daemon:
    """A real daemon in a process of its own."""

    def __init__(self, state):
        self.state = state
        self.port = free_port()
        self.process = None

    def __enter__(self):
        listen = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "gms_hookd", "serve", "--listen", listen]
        self.process = subprocess.Popen(
            [*command, "--state", str(self.state)],
            cwd=ROOT,
            env=environ(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stderr:
            if "serving" in line:
                break
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, logged = self.process.communicate(timeout=60)
        look("log of the daemon", logged)

    def post(self, body, query="", signature=None):
        url = f"http://127.0.0.1:{self.port}/api/webhooks/task-sync{query}"
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": signature or sign(SECRET, body),
        }
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def repositories(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target.git"
    git("init", "-q", "-b", "main", str(source))
    git("commit", "-q", "--allow-empty", "-m", "one", cwd=source)
    git("init", "-q", "--bare", str(target))
    return source, target


def test_a_signed_trigger_becomes_a_finished_sync(tmp_path, repositories):
    source, target = repositories
    state = tmp_path / "state"
    add = ("task", "add", "app", "--source", str(source), "--target", str(target))
    assert hookd(*add, "--branch", "main:release", state=state).strip() == "1"
    with Daemon(state) as daemon:
        assert daemon.post(b'{"task_id": 1}') == (
            200,
            {"message": "Sync triggered successfully", "task_id": 1},
        )
        git("commit", "-q", "--allow-empty", "-m", "two", cwd=source)
        status, answer = daemon.post(b'{"task_id": 1}', "?wait=60")
        assert (status, answer["run"]["status"]) == (200, "success")
        tip = git("rev-parse", "HEAD", cwd=source)
        assert git("rev-parse", "refs/heads/release", cwd=target) == tip
        assert daemon.post(b'{"task_id": 1}', signature="sha256=0")[0] == 401
        listed = json.loads(hookd("delivery", "list", "--json", state=state))
        assert [d["status"] for d in listed] == [401, 200, 200]
        assert hookd("run", "list", state=state).count("success") >= 1


def test_a_restart_keeps_everything(tmp_path, repositories):
    source, target = repositories
    state = tmp_path / "state"
    add = ("task", "add", "app", "--source", str(source), "--target", str(target))
    hookd(*add, "--branch", "main", state=state)
    with Daemon(state) as daemon:
        assert daemon.post(b'{"task_id": 1}')[0] == 200
        daemon.process.kill()
        daemon.process.wait()
    with Daemon(state) as daemon:
        status, answer = daemon.post(b'{"task_id": 1}', "?wait=60")
        assert (status, answer["run"]["status"]) == (200, "success")
    tip = git("rev-parse", "HEAD", cwd=source)
    assert git("rev-parse", "refs/heads/main", cwd=target) == tip
