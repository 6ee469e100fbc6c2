"""How long a start takes, beside what Python itself takes for the like.

    python3 tests/bench/start.py [--rounds N] [ARCHIVE ...]

The daemon, from its exec to the first answer of /healthz, beside a Python that imports
what no such daemon can do without; `task list`, which asks that daemon, beside a bare
question over the same socket. Rounds are interleaved; medians of each round's ratio are
shown, of processor time and of time. Other archives may be compared: built before.
"""

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOOR = "import http.server, sqlite3, subprocess, json"
QUESTION = """
import socket, sys
with socket.socket(socket.AF_UNIX) as daemon:
    daemon.connect(sys.argv[1])
    daemon.sendall(b"GET /api/v1/sync/tasks HTTP/1.0\\r\\n\\r\\n")
    while daemon.recv(65536):
        pass
"""
GOALS = {"start": 2.8, "task list": 1.6}


def carried_out(*command):
    """Return seconds and processor seconds of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


@contextmanager
def started(archive):
    """Start a daemon; gives what it took, and its state directory."""
    with tempfile.TemporaryDirectory() as home:
        state, listener = f"{home}/state", f"unix:{home}/web.sock"
        command = (archive, "serve", "--listen", listener, "--state", state)
        begun = time.perf_counter()
        with open(f"{home}/log", "w") as log:
            environ = {**os.environ, "HOME": home}
            daemon = subprocess.Popen(
                [sys.executable, *command], stderr=log, env=environ
            )
        try:
            await_answer(daemon, f"{state}/control.sock")
            yield (time.perf_counter() - begun, processor_time(daemon.pid)), state
        finally:
            daemon.terminate()
            daemon.wait()


def await_answer(daemon, path):
    """Ask until the daemon answers."""
    connection = http.client.HTTPConnection("localhost")
    while daemon.poll() is None:
        with suppress(OSError):
            connection.sock = connected(path)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            return
        time.sleep(0.001)
    raise SystemExit("the daemon does not start")


def connected(path):
    """Return a connection to a unix socket."""
    made = socket.socket(socket.AF_UNIX)
    made.connect(path)
    return made


def processor_time(process):
    """Return the seconds that all threads of a process have used."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main():
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("archives", nargs="*", metavar="ARCHIVE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = f"{folder}/gms-hookd.pyz"
        build = (sys.executable, "-m", "gms_hookd.pyz", own)
        subprocess.run(build, cwd=ROOT, check=True)
        archives = [*args.archives, own]
        rounds = [one_round(archives) for _ in range(args.rounds)]
    for what, goal in GOALS.items():
        for archive in archives:
            spent = [each[what, archive] for each in rounds]
            beside, used = (
                statistics.median(column) for column in zip(*spent, strict=True)
            )
            print(
                f"{what:10} {used:.2f}x processor time, {beside:.2f}x time"
                f" (goal {goal}x) {Path(archive).name}"
            )


def one_round(archives):
    """Return the ratios, of time and of processor time, of each thing measured."""
    ratios = {}
    floor = carried_out(sys.executable, "-c", FLOOR)
    for archive in archives:
        with started(archive) as (spent, state):
            ratios["start", archive] = beside(spent, floor)
            question = carried_out(
                sys.executable, "-c", QUESTION, f"{state}/control.sock"
            )
            listed = (archive, "task", "list", "--state", state)
            asked = carried_out(sys.executable, *listed)
            ratios["task list", archive] = beside(asked, question)
    return ratios


def beside(ours, floor):
    """Return how many times as much it is."""
    return tuple(own / least for own, least in zip(ours, floor, strict=True))


if __name__ == "__main__":
    main()
