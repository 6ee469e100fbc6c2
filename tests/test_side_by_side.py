"""Whether test files that run side by side are reported as pytest reports them."""

import os
import subprocess
import sys

import pytest

from tests.support.process import ROOT

MEET = """
import os, pathlib, threading
def test_meets_the_other():
    here, other = (pathlib.Path(name) for name in {0!r})
    here.touch()
    for _ in range(600):
        if other.exists():
            break
        threading.Event().wait(0.05)
    assert other.exists()
"""
FAIL = """
def test_fails():
    print("what it printed")
    assert 1 == 2
def test_passes():
    pass
"""


@pytest.fixture
def run(tmp_path):
    def run(*options, **files):
        for name, text in files.items():
            (tmp_path / f"test_{name}.py").write_text(text)
        plugins = ("-p", "tests.support.side_by_side", "-p", "no:cacheprovider")
        argv = (sys.executable, "-m", "pytest", "--rootdir=.", *plugins, *options)
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        given = {"cwd": tmp_path, "env": environ, "capture_output": True, "text": True}
        done = subprocess.run(argv, check=False, **given)
        return done.returncode, done.stdout

    return run


def test_files_run_at_the_same_time_and_failures_are_shown(run):
    files = {"a": MEET.format("ab"), "b": MEET.format("ba"), "c": FAIL}
    status, shown = run("--processes=2", "-rA", **files)
    assert status == 1
    for line in ("PASSED test_a.py::", "PASSED test_b.py::", "FAILED test_c.py::"):
        assert line in shown
    assert "what it printed" in shown
    assert "assert 1 == 2" in shown
    assert "1 failed, 3 passed" in shown


def test_a_process_that_ends_early_is_a_failure(run):
    files = {"a": "import os\ndef test_a(): os._exit(0)", "b": "def test_b(): pass"}
    status, shown = run("--processes=2", **files)
    assert status == 1
    assert "a process ended before its tests" in shown


def test_the_first_failure_ends_all_where_that_is_wished(run):
    many = "import pytest\n@pytest.mark.parametrize('n', range(999))\n"
    slow = many + "def test_slow(n):\n    import time; time.sleep(0.05)"
    status, shown = run("--processes=2", "-x", a=slow, b=FAIL)
    assert status == 1
    assert "stopping after 1 failures" in shown
    assert "999 passed" not in shown
