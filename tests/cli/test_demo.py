"""The demo as the README's first command runs it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WEBHOOK_SECRET", "not for the demo, which has its own")

    def started(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "gms_hookd", "demo", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def test_a_signed_trigger_moves_the_branch_and_nothing_remains(demo, tmp_path):
    running = demo("--once")
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    before, _, after = out.partition("A CI job signs")
    assert "the second commit" not in before.partition("The target before:")[2]
    assert '{"message": "Sync triggered successfully", "task_id": 1}' in after
    assert "the second commit" in after.partition("The target after:")[2]
    assert re.search(r"refs/heads/release +updated", after)
    assert list(tmp_path.iterdir()) == []


def test_it_serves_until_ctrl_c_and_nothing_remains(demo, tmp_path):
    running = demo()
    for line in running.stdout:
        if "goes on serving" in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_without_git_it_says_so_in_one_line(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    running = demo("--once")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert re.fullmatch(r"gms-hookd: git [^\n]+\n", err)
    assert list(tmp_path.iterdir()) == []
