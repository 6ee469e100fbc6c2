"""What the daemon survives: kills, full disks, broken files, rivals, signals."""

import hashlib
import http.client
import itertools
import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, nullcontext, suppress

import pytest

from tests.support.pair import commit, tip
from tests.support.process import (
    SECRET,
    UnixConnection,
    ask,
    run_number,
    trigger_request,
)

ROUNDS = int(os.environ.get("KILL_ROUNDS", "5"))

TRIGGERS = int(os.environ.get("KILL_TRIGGERS", "50"))  # acknowledged between two kills

SENDERS = 8


def sound(state):
    """Check what holds of every store, whatever happened to its process."""
    with closing(sqlite3.connect(state / "gms-hookd.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for status in ("queued", "running"):
            many = (
                "SELECT task_id FROM runs WHERE status=? GROUP BY 1 HAVING COUNT(*)>1"
            )
            assert db.execute(many, (status,)).fetchall() == []


class Senders:
    """Trigger the tasks in turn, each over a connection of its own, until it breaks.

    `runs` are those that were acknowledged, one for each answer.
    """

    def __init__(self, daemon, tasks):
        self.daemon, self.tasks = daemon, itertools.cycle(tasks)
        self.runs, self.others = [], []
        self.more = threading.Condition()
        self.threads = [threading.Thread(target=self.send) for _ in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def send(self):
        with (
            closing(UnixConnection(self.daemon.socket)) as connection,
            suppress(OSError, http.client.HTTPException),
        ):
            while True:
                with self.more:
                    task = next(self.tasks)
                connection.request(*trigger_request(task))
                answer = connection.getresponse()
                answer.read()
                self.note(answer)

    def note(self, answer):
        with self.more:
            if answer.status == 200:
                self.runs.append(run_number(answer.headers))
            else:
                self.others.append(answer.status)
            self.more.notify()

    def reach(self, count):
        """Wait until so many were answered."""
        with self.more:
            return self.more.wait_for(
                lambda: len(self.runs) + len(self.others) >= count, 60
            )

    def join(self):
        for thread in self.threads:
            thread.join()


def lost(state, acknowledged):
    """Return the runs that fewer deliveries are kept for than were acknowledged."""
    with closing(sqlite3.connect(state / "gms-hookd.db")) as db:
        merged = dict(db.execute("SELECT id,run_id FROM merged"))
        kept = dict(
            db.execute(
                "SELECT run_id,count(*) FROM deliveries"
                " WHERE status=200 GROUP BY run_id"
            )
        )
    wanted = Counter()
    for run, count in acknowledged.items():
        now = run
        while now in merged:
            now = merged[now]
        wanted[now] += count
    return {run for run, count in wanted.items() if kept.get(run, 0) < count}


def test_every_accepted_trigger_has_its_run_after_kills_at_random_moments(daemon, pair):
    moments = random.Random(20)
    daemon.start()
    pairs = [pair(str(i)) for i in range(4)]
    tasks = [daemon.add_task(f"task{i}", *both) for i, both in enumerate(pairs)]
    acknowledged = Counter()
    for number in range(ROUNDS):
        commit(pairs[number % 4][0], f"round {number}")
        senders = Senders(daemon, tasks)
        # The moment is one of theirs, not a time: so many whatever else the CPU does.
        assert senders.reach(moments.randint(1, 2 * TRIGGERS))
        daemon.kill()
        senders.join()
        assert senders.others == []
        acknowledged.update(senders.runs)
        sound(daemon.state)
        assert lost(daemon.state, acknowledged) == set()
        daemon.start()
    print(f"{ROUNDS} kills, {acknowledged.total():,} acknowledged, none lost")
    acknowledged.update(run_number(daemon.trigger(task)[1]) for task in tasks)
    assert [why for run in acknowledged if (why := unfinished(daemon.ended(run)))] == []
    assert [tip(target) for _, target in pairs] == [tip(source) for source, _ in pairs]


def unfinished(run):
    """Say what is wrong with a run; three kills in its midst may have ended it."""
    killed = run["attempt"] >= 3 and "daemon" in (run["error_message"] or "")
    return None if run["status"] == "success" or killed else run


def test_a_run_cut_off_by_a_kill_finishes_as_its_second_attempt(daemon, pair, guard):
    source, target = pair()
    daemon.start()
    task = daemon.add_task("one", source, target)
    run = run_number(daemon.trigger(task)[1])
    with guard.open("w"):
        daemon.kill()
    daemon.start()
    guard.write_text("go\n")
    assert (daemon.ended(run)["status"], daemon.run(run)["attempt"]) == ("success", 2)
    assert tip(target) == tip(source)


HASTY = """
from gms_hookd.cli import main as cli
from gms_hookd.store import dbthread
dbthread.BUSY_MS = 300
raise SystemExit(cli.main())
"""


def test_a_store_locked_by_somebody_is_503_until_it_is_free(daemon, pair):
    daemon.command = (sys.executable, "-c", HASTY)
    daemon.start()
    task = daemon.add_task("one", *pair())
    file = daemon.state / "gms-hookd.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        status, headers, _ = daemon.trigger(task)
        assert (status, int(headers["Retry-After"]) > 0) == (503, True)
        assert ask(daemon.socket, "GET", "/healthz")[0] == 200
    assert daemon.trigger(task)[0] == 200


def test_a_machine_without_git_is_not_ready_and_keeps_the_trigger(daemon, pair):
    source, target = pair()
    path, daemon.environ["PATH"] = daemon.environ["PATH"], "/nonexistent"
    daemon.start()
    task = daemon.add_task("one", source, target)
    run = run_number(daemon.trigger(task)[1])
    status, _, answer = ask(daemon.socket, "GET", "/readyz")
    assert (status, answer["reasons"]) == (503, ["git: is not on the PATH"])
    daemon.kill()
    daemon.environ["PATH"] = path
    daemon.start()
    daemon.trigger(task)
    assert daemon.ended(run)["status"] == "success"
    assert tip(target) == tip(source)


def test_a_second_daemon_on_the_same_state_exits_with_75(daemon):
    daemon.start()
    second = subprocess.run(
        [*daemon.command, "serve", "--config", daemon.config, "--state", daemon.state],
        env=daemon.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 75
    assert "Traceback" not in second.stderr
    assert daemon.api("GET", "tasks") == []


def test_a_refused_start_says_one_line_only(daemon):
    daemon.configure(secret="my-secret-key")
    listen = daemon.config.read_text().replace(f"unix:{daemon.socket}", ":0")
    daemon.config.write_text(listen)
    daemon.spawn()
    assert daemon.wait() == 2
    (line,) = daemon.log().splitlines()
    assert "webhook.secret: my-secret-key is published with GMS" in line


def test_a_daemon_without_standard_streams_serves(daemon, pair):
    closed = 'exec "$@" <&- >&- 2>&-'
    daemon.command = ("sh", "-c", closed, "sh", *daemon.command)
    daemon.start()
    run = run_number(daemon.trigger(daemon.add_task("one", *pair()))[1])
    assert daemon.ended(run)["status"] == "success"
    for number in (0, 1, 2):
        assert os.readlink(f"/proc/{daemon.process.pid}/fd/{number}") == os.devnull
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no right to mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    block = bytes(1 << 16)
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(block):
            pass


def test_a_full_disk_is_503_and_nothing_else_until_there_is_room(
    daemon, pair, small_disk
):
    daemon.state = small_disk / "state"
    daemon.start()
    task = daemon.add_task("one", *pair())
    daemon.add_task("afar", "https://127.0.0.1:9/x.git", pair()[1])
    fill(small_disk / "filler")
    answers = {daemon.trigger(task)[0] for _ in range(50)}
    while 503 not in answers:
        fill(small_disk / f"filler{len(answers)}")
        answers = {daemon.trigger(task)[0] for _ in range(50)}
    status, headers, _ = daemon.trigger(task)
    assert (status, int(headers["Retry-After"]) > 0) == (503, True)
    told = {each["subject"]: each for each in daemon.api("GET", "check")}
    remedies = [told[each]["remedy"][:5] for each in ("disk", "task 2 source")]
    assert remedies == ["df -h", "df -h"], told
    copy = (*daemon.command, "backup", "/tmp/never", "--state", daemon.state)
    done = subprocess.run(copy, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, f"df -h {daemon.state}" in done.stderr) == (1, True), done
    for filler in small_disk.glob("filler*"):
        filler.unlink()
    daemon.until(lambda: daemon.trigger(task)[0] == 200)
    assert daemon.process.poll() is None
    daemon.kill()
    sound(daemon.state)


def ask_while_frozen(disk, daemon, task):
    """Trigger and ask for the health meanwhile; return who was answered before, too."""
    with ThreadPoolExecutor() as senders, disk.frozen():
        triggers = [senders.submit(daemon.trigger, task) for _ in range(3)]
        health = senders.submit(ask, daemon.socket, "GET", "/healthz")
        early = wait(triggers, timeout=0.5).done
    answers = [trigger.result() for trigger in triggers]
    return answers, [trigger.result() for trigger in early], health.result()


def test_a_disk_that_is_slow_or_stands_still_delays_answers_and_loses_nothing(
    disk, daemon, pair
):
    if not disk.can_freeze:
        pytest.skip("no file system can be made to stand still here")
    daemon.state = disk.path / "state"
    daemon.start()
    task = daemon.add_task("one", *pair())
    answers, early, health = ask_while_frozen(disk, daemon, task)
    assert {status for status, _, _ in early} <= {503}
    assert {status for status, _, _ in answers} <= {200, 503}
    assert health[0] == 200
    with disk.slow() if disk.can_be_slow else nullcontext():
        answers += [daemon.trigger(task) for _ in range(3)]
        assert ask(daemon.socket, "GET", "/healthz")[0] == 200
    assert {status for status, _, _ in answers[-3:]} == {200}
    for status, headers, _ in answers:
        assert status == 503 or daemon.ended(run_number(headers))
    daemon.kill()
    sound(daemon.state)


def reasons(daemon, path=None):
    status, _, answer = ask(path or daemon.socket, "GET", "/readyz")
    assert (status == 503) == ("reasons" in answer)
    return answer.get("reasons", [])


def test_a_daemon_that_can_commit_nothing_is_not_ready_whatever_the_reason(
    daemon, pair
):
    daemon.start()
    task = daemon.add_task("one", *pair())
    limit, number = resource.RLIMIT_FSIZE, daemon.process.pid
    every = resource.prlimit(number, limit)
    # As with a quota, a broken disk, or one that was made read-only there is room.
    resource.prlimit(number, limit, (4096, every[1]))
    assert daemon.trigger(task)[0] == 503
    (why,) = daemon.until(lambda: reasons(daemon))
    assert why.startswith("store: cannot be committed: ")
    assert why in daemon.api("GET", "status")["problems"]
    resource.prlimit(number, limit, every)
    daemon.until(lambda: not reasons(daemon))
    assert daemon.trigger(task)[0] == 200


def test_a_socket_that_somebody_removed_is_named(daemon):
    daemon.start()
    assert reasons(daemon) == []
    control = daemon.state / "control.sock"
    control.unlink()
    gone = f"listener: unix:{control} was removed or replaced: restart gms-hookd"
    assert daemon.until(lambda: reasons(daemon)) == [gone]
    daemon.told(f"STATUS=serving, 0 syncs under way; not ready: {gone}")


@pytest.mark.parametrize(
    ("pragma", "word"),
    [("user_version=9999", "newer"), ("application_id=1", "not")],
    ids=["newer", "foreign"],
)
def test_a_store_that_is_not_ours_is_refused_and_untouched(daemon, pragma, word):
    daemon.start()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    file = daemon.state / "gms-hookd.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA {pragma}")
        db.commit()
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    daemon.spawn()
    assert daemon.wait() in (1, 2)
    assert word in daemon.log().splitlines()[-1]
    assert "Traceback" not in daemon.log()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def files_of(state):
    return {p.name: p.read_bytes() for p in state.glob("gms-hookd.db*")}


@pytest.mark.parametrize("at", [0, 4096], ids=["header", "table"])
def test_a_damaged_store_is_refused_and_no_file_of_it_changed(daemon, pair, at):
    daemon.start()
    daemon.add_task("one", *pair())
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    daemon.start()
    daemon.add_task("two", *pair())
    daemon.kill()
    file = daemon.state / "gms-hookd.db"
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + b"\xff" * 4096 + whole[at + 4096 :])
    before = files_of(daemon.state)
    assert len(before) == 3
    daemon.spawn()
    assert daemon.wait() == 1
    assert "damaged" in daemon.log().splitlines()[-1]
    assert "Traceback" not in daemon.log()
    assert files_of(daemon.state) == before


def remove(state):
    for path in state.glob("gms-hookd.db*"):
        path.unlink()


def copy_over(state):
    """Copy while nothing is committed: else it would be taken for that commit."""
    wal, before = state / "gms-hookd.db-wal", -1
    while (now := wal.stat().st_mtime_ns) != before:
        before = now
        shutil.copyfile(state.parent / "copy.db", state / "gms-hookd.db")


@pytest.mark.parametrize(
    ("act", "said"), [(remove, "was removed"), (copy_over, "gms-hookd.db was ")]
)
def test_a_store_that_somebody_took_away_is_503_and_named(daemon, pair, act, said):
    daemon.start()
    task = daemon.add_task("one", *pair())
    daemon.api("POST", "backup", path=str(daemon.home / "copy.db"))
    daemon.ended(run_number(daemon.trigger(task)[1]))
    act(daemon.state)
    for _ in range(3):
        status, headers, answer = daemon.trigger(task)
        assert (status, said in answer["error"]) == (503, True), answer
        assert int(headers["Retry-After"]) > 0
    status, _, answer = ask(daemon.socket, "GET", "/readyz")
    assert status == 503
    assert any(r.startswith("store: ") and said in r for r in answer["reasons"])
    assert ask(daemon.socket, "GET", "/healthz")[0] == 200
    assert "store lost reason=" in daemon.log()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_a_start_that_cannot_listen_leaves_the_store_as_it_was(daemon, pair):
    daemon.start()
    daemon.add_task("one", *pair())
    daemon.kill()
    before = files_of(daemon.state)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon.config.write_text(
            f'[webhook]\nsecret = "{SECRET}"\n[server]\nlisten = ["{spec}"]\n'
        )
        daemon.spawn()
        assert daemon.wait() == 1
    assert files_of(daemon.state) == before
    assert not (daemon.state / "control.sock").exists()


def test_the_watchdog_is_fed_while_the_daemon_works(daemon):
    daemon.start(WATCHDOG_USEC="300000")
    for _ in range(3):
        daemon.told("WATCHDOG=1")


def test_the_journal_gets_one_line_an_event_whatever_clients_send(daemon, pair):
    (daemon.home / "log").touch()
    status = (daemon.home / "log").stat()
    stream = f"{status.st_dev}:{status.st_ino}"
    daemon.start(JOURNAL_STREAM=stream, GMS_HOOKD_DEBUG="1")
    for target in ("/a%0a<0>b", "/\x1b[2J", "/" + "x" * 7000, "/api/webhooks/<0>"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(60)
            client.connect(str(daemon.socket))
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\n<0>b\r\n\r\n".encode())
            client.recv(4096)
    daemon.trigger(daemon.add_task("one", *pair()), secret="wrong")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    lines = daemon.log().split("\n")[:-1]
    assert len(lines) > 6
    assert all(re.match(r"<[3-7]>[a-z]", line) for line in lines), lines
    assert max(map(len, lines)) < 1000


def test_no_secret_is_left_in_the_log_or_the_state(daemon, pair):
    daemon.start()
    task = daemon.add_task("one", *pair())
    daemon.trigger(task)
    daemon.trigger(task, secret="wrong")
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    for path in (*daemon.state.rglob("*"), daemon.home / "log"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, "-m", "gms_hookd", *sys.argv[2:]])
"""


def test_a_restart_behind_a_passed_socket_loses_no_trigger(daemon, pair):
    """The manager keeps the socket: who connects during the restart waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(daemon.socket))
        listening.listen(64)
        os.set_inheritable(listening.fileno(), True)
        daemon.config.write_text(f'[webhook]\nsecret = "{SECRET}"\nrate_limit = 0\n')
        daemon.command = (sys.executable, "-c", ACTIVATED, str(listening.fileno()))
        daemon.spawn_options = {"pass_fds": [listening.fileno()]}
        daemon.start()
        task = daemon.add_task("one", *pair())
        stop, answers = threading.Event(), []

        def post():
            while not stop.is_set():
                answers.append(daemon.trigger(task)[0])

        producer = threading.Thread(target=post)
        producer.start()
        for enough in (5, 10, 15):
            daemon.until(lambda enough=enough: len(answers) > enough)
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0
            daemon.start()
        stop.set()
        producer.join()
        assert set(answers) == {200}


@pytest.fixture
def traced(tmp_path, daemon):
    """Run the daemon under strace; returns what gives the calls made so far."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("no strace here")
    calls = tmp_path / "calls"
    wanted = "trace=fdatasync,fsync,sendto,sendmsg,write,writev"
    daemon.command = (
        strace,
        "-D",  # the daemon is our child, strace its: who ends the one ends the other
        "-f",
        "-y",
        "-s",
        "64",
        "-o",
        calls,
        "-e",
        wanted,
        *daemon.command,
    )
    return lambda: calls.read_text().splitlines()


def test_the_wal_is_synced_before_the_answer_leaves(daemon, pair, traced):
    daemon.start()
    task = daemon.add_task("one", *pair())
    before = len(traced())
    assert daemon.trigger(task)[0] == 200
    calls = daemon.until(lambda: answered(traced()[before:]))
    synced = [i for i, call in enumerate(calls) if is_sync(call)]
    assert synced
    assert synced[0] < len(calls) - 1


def is_sync(call):
    return re.search(r"\b(fdatasync|fsync)\(\d+<[^>]*gms-hookd\.db-wal>", call)


def answered(calls):
    """Return the calls up to the answer, once it is there."""
    ends = [i for i, call in enumerate(calls) if '"HTTP/1.1 200 ' in call]
    return calls[: ends[0] + 1] if ends else None


def test_a_client_that_is_gone_is_no_event_for_the_others(daemon, pair):
    daemon.start()
    task = daemon.add_task("one", *pair())
    for _ in range(20):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
            gone.connect(str(daemon.socket))
            gone.sendall(b"POST /api/webhooks/task-sync HTTP/1.1\r\nHost: x\r\n")
    assert daemon.trigger(task)[0] == 200
    assert ask(daemon.socket, "GET", "/healthz")[0] == 200
    assert "Traceback" not in daemon.log()
