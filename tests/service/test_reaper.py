"""Process 1 of a container without an init buries what loses its parent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gms_hookd.service import reaper

NAMESPACE = ("unshare", "-pf", "--mount-proc", "--kill-child")


def able():
    if os.geteuid() or not shutil.which("unshare"):
        return False
    return not subprocess.run((*NAMESPACE, "true"), check=False).returncode


def as_process_1(script):
    begin = "import os, signal, sys, time\nfrom gms_hookd.service import reaper\n"
    argv = (*NAMESPACE, sys.executable, "-c", begin + script)
    environ = {"PATH": os.environ["PATH"], "LISTEN_PID": "1", "OTHER": "1"}
    environ["PYTHONPATH"] = str(Path(reaper.__file__).parents[2])
    return subprocess.run(
        argv, capture_output=True, text=True, env=environ, check=False
    )


in_a_namespace = pytest.mark.skipif("not able()", reason="needs unshare as root")


@in_a_namespace
def test_what_loses_its_parent_is_buried():
    done = as_process_1("""
reaper.stand_in(os.environ)
for _ in range(20):
    os.system("sh -c 'exec sleep 0' & ")
    os.system("setsid -f sleep 0")
def left():  # as zombies, too; 1 is who buries, 2 are we
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 2]
until = time.monotonic() + 30
while left() and time.monotonic() < until:
    time.sleep(0.01)
print(os.getpid(), left())
sys.exit(7)
""")
    assert done.stdout == "2 []\n", done
    assert done.returncode == 7


@in_a_namespace
@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getppid(), signal.SIGTERM); time.sleep(30)", 143),
        ("os._exit(0)", 0),
        ("raise SystemExit(75)", 75),
    ],
)
def test_process_1_passes_signals_on_and_ends_as_its_child_does(end, status):
    done = as_process_1(f"reaper.stand_in(os.environ)\n{end}\n")
    assert done.returncode == status, done


@in_a_namespace
def test_what_was_lent_to_process_1_is_the_childs():
    done = as_process_1("print(reaper.stand_in(os.environ))")
    assert "'LISTEN_PID': '2'" in done.stdout
    assert "'OTHER': '1'" in done.stdout


def test_any_other_process_stays_what_it_is():
    environ = {"LISTEN_PID": "1"}
    assert reaper.stand_in(environ) is environ
