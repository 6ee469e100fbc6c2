"""A spare that takes over by Litestream, as the manual says word by word.

LITESTREAM names its binary (npm package @flydotio/litestream-linux-x64); without it
this is skipped. `LITESTREAM=... SPARE_SECONDS=10 pytest -s` prints the figures.
"""

import os
import shlex
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, suppress
from itertools import chain, cycle

import pytest

from tests.support.process import PATIENCE, PAUSE, Daemon
from tests.support.recipes import placed, recipe
from tests.support.repositories import Repo

LITESTREAM = os.environ.get("LITESTREAM", "")
SECONDS = float(os.environ.get("SPARE_SECONDS", "5"))
TASKS = 20
SENDERS = 7
PACE = 0.03  # seconds that each waits between two triggers
OURS = "/var/lib/gms-hookd"
pytestmark = pytest.mark.skipif(not LITESTREAM, reason="needs LITESTREAM=/its/binary")


class Machine:
    """A daemon, and a Litestream beside it."""

    def __init__(self, home, copy):
        home.mkdir()
        self.home, self.litestream = home, None
        self.daemon = Daemon(home)
        self.config = home / "litestream.yml"
        store = "url: s3://hookd.example.org/gms-hookd"
        places = {OURS: self.daemon.state, store: f"path: {copy}"}
        self.config.write_text(placed(recipe("yaml litestream"), places))

    def replicate(self):
        with (self.home / "litestream-said").open("ab") as said:
            command = (LITESTREAM, "replicate", "-config", self.config)
            self.litestream = subprocess.Popen(command, stdout=said, stderr=said)

    def die(self):
        """Lose all at once."""
        self.litestream.kill()
        self.daemon.kill()
        self.litestream.wait()

    def take_over(self):
        """Do what the manual says; its last line starts both services."""
        *lines, last = recipe("sh on the spare").strip().split("\n")
        assert last == "systemctl start gms-hookd litestream"
        self.daemon.state.mkdir(mode=0o700, exist_ok=True)
        for line in lines:
            here = line.replace(OURS, shlex.quote(str(self.daemon.state)))
            here = here.replace("/etc/litestream.yml", shlex.quote(str(self.config)))
            here = here.replace("sudo -u gms-hookd litestream", shlex.quote(LITESTREAM))
            done = subprocess.run(("sh", "-ec", here), capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
        self.daemon.start()
        self.replicate()

    def close(self):
        if self.litestream:
            self.litestream.kill()
            self.litestream.wait()
        self.daemon.close()


@pytest.fixture
def machines(tmp_path):
    made = [Machine(tmp_path / name, tmp_path / "copy") for name in ("one", "spare")]
    yield made
    for machine in made:
        machine.close()


def deliveries(machine):
    """Count the triggers that a store knows as accepted."""
    with closing(sqlite3.connect(machine.daemon.state / "gms-hookd.db")) as db:
        query = "SELECT count(*) FROM deliveries WHERE status=200"
        return db.execute(query).fetchone()[0]


class Triggers(threading.Thread):
    """Triggers the tasks in turn, for as long as there is a daemon."""

    def __init__(self, daemon, tasks, commits=False):
        super().__init__()
        self.daemon_process, self.tasks, self.commits = daemon, tasks, commits
        self.accepted, self.refused = [], []

    def run(self):
        with suppress(OSError, EOFError):
            for task, source in cycle(self.tasks):
                if self.commits:
                    source.commit()
                self.post(task)
                PAUSE.wait(PACE)

    def post(self, task):
        status, _, answer = self.daemon_process.trigger(task)
        if status == 200:
            self.accepted.append(time.monotonic())
        else:
            self.refused.append(answer)


def test_a_spare_takes_over_and_finds_what_the_copy_lacked(machines, tmp_path, capsys):
    one, spare = machines
    one.daemon.start()
    one.replicate()
    pairs = [(Repo(tmp_path / f"s{n}"), Repo(tmp_path / f"t{n}")) for n in range(TASKS)]
    for source, _ in pairs:
        source.commit()
    tasks = [
        (one.daemon.add_task(f"t{number}", *pair), pair[0])
        for number, pair in enumerate(pairs)
    ]
    committing = Triggers(one.daemon, tasks, commits=True)
    senders = committing, *(Triggers(one.daemon, tasks) for _ in range(SENDERS))
    for sender in senders:
        sender.start()
    PAUSE.wait(SECONDS)  # how long it is measured, not a wait for anything
    assert one.daemon.process.poll() is None
    killed = time.monotonic()
    one.die()
    for sender in senders:
        sender.join()
    spare.take_over()
    assert spare.daemon.trigger(tasks[0][0])[0] == 200
    took = time.monotonic() - killed
    accepted = sorted(chain(*(sender.accepted for sender in senders)))
    # One that was committed and not answered was accepted by nobody.
    lacked = len(accepted) - deliveries(spare) + 1
    behind = killed - accepted[-lacked] if lacked > 0 else 0.0
    stale = sum(source.refs() != target.refs() for source, target in pairs)
    spare.daemon.until(lambda: all(s.refs() == t.refs() for s, t in pairs))
    found = time.monotonic() - killed
    with capsys.disabled():
        print(
            f"\n{len(accepted)} accepted in {SECONDS:.0f} s; the spare served after"
            f" {took:.1f} s; its copy lacked {lacked} triggers, the last"
            f" {behind:.2f} s; {stale} targets were behind, none after {found:.0f} s"
        )
    assert not any(sender.refused for sender in senders)
    assert lacked < len(accepted)


def test_a_daemon_starts_again_beside_a_litestream(machines, tmp_path):
    one, _ = machines
    source, target = Repo(tmp_path / "s"), Repo(tmp_path / "t")
    source.commit()
    one.daemon.start()
    one.replicate()
    task = one.daemon.add_task("one", source, target)
    until = time.monotonic() + PATIENCE
    while not list((tmp_path / "copy").rglob("*.snapshot.lz4")):
        assert time.monotonic() < until
        one.daemon.trigger(task)
        PAUSE.wait(0.05)
    one.daemon.signal(15)
    assert one.daemon.wait() == 0
    one.daemon.start()
    assert one.daemon.trigger(task)[0] == 200
