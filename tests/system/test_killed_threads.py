"""No thread of the daemon can end, hang or fail for long without being noticed."""

import ctypes
import os
import sys
import threading

import pytest

from gms_hookd.service.health import Health
from gms_hookd.store import maintenance, runs, tasks
from gms_hookd.threads import SILENT, Threads
from tests.support.in_process import Place, until
from tests.support.process import PATIENCE, ask

KILLED = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


def kill(thread):
    """Raise SystemExit in a thread, as soon as it is in Python again."""
    ident = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let the threads of this process look around more often than usual."""
    for module in ("service.service", "store.dbthread"):
        monkeypatch.setattr(f"gms_hookd.{module}.LONGEST_END", 1.0)
    for module in ("threads", "workers.running", "workers.worker", "store.dbthread"):
        monkeypatch.setattr(f"gms_hookd.{module}.IDLE", 0.02)
    for module in ("housekeeping", "health"):
        monkeypatch.setattr(f"gms_hookd.service.{module}.LOOK", 0.02)
    for module in ("reconciler", "notifier", "conditions"):
        monkeypatch.setattr(f"gms_hookd.workers.{module}.TICK", 0.02)
    monkeypatch.setattr("gms_hookd.service.housekeeping.MAINTENANCE", 0.1)
    monkeypatch.setattr("gms_hookd.threads.PAUSE", 0.02)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


@KILLED
def test_each_thread_that_is_killed_is_named_and_stops_the_watchdog(place):
    names = [thread.name for thread in place.threads._all]
    assert place.running.keys() == set(names)
    assert place.reasons() == place.service.health.stuck() == []
    # Those that wake others come last.
    last = ("health", "watch-timer", "store-reader", "store-writer")
    dead = []
    for name in sorted(names, key=lambda n: (n in last, n)):
        kill(place.running[name])
        problem = f"thread {name}: has ended"
        until(lambda problem=problem: problem in place.reasons())
        dead.append(problem)
        assert set(place.service.health.stuck()) == set(dead)


@KILLED
def test_a_store_whose_thread_was_killed_refuses_at_once(place):
    kill(place.running["store-writer"])
    store = place.service.context.store
    store.write(maintenance.ping)
    until(place.threads.problems)
    refused = store.write(maintenance.ping).exception(PATIENCE)
    assert str(refused) == "thread store-writer has ended: restart gms-hookd"
    assert store.read(maintenance.ping).result(PATIENCE) is None


def test_a_closed_store_is_noticed(place):
    place.service.context.store.close()
    until(lambda: "thread store-writer: has ended" in place.reasons())
    assert place.service.health.stuck()


def test_a_store_that_does_not_answer_is_noticed(context, tmp_path, clock):
    health = Health(context, Threads(), tmp_path, threading.Event())
    go = threading.Event()
    context.store.write(lambda _: go.wait(PATIENCE))
    assert (health.look(), health.stuck()) == ([], [])
    clock.forward(6)
    assert health.look() == ["store: no answer for 6 s"]
    assert health.stuck() == []
    clock.forward(SILENT)
    assert health.stuck() == ["store: no answer for 36 s"]
    go.set()
    until(lambda: not health.look() and not health.stuck())


def test_a_state_directory_that_was_taken_away_is_named(context, tmp_path):
    held = [True]
    stopping = threading.Event()
    folder = tmp_path / "state"
    health = Health(context, Threads(), folder, stopping, lambda: held[0])
    assert health.look()[0].startswith(f"state: {folder}: No such file")
    folder.mkdir()
    assert health.look() == []
    held[0] = False
    assert health.look() == [f"state: {folder}/lock was removed: restart gms-hookd"]


def test_a_store_that_hands_may_save_is_noticed_and_not_ended(context, tmp_path, clock):
    health = Health(context, Threads(), tmp_path, threading.Event())
    for path in tmp_path.glob("gms-hookd.db*"):
        path.unlink()
    (found,) = health.look()
    assert "was removed" in found
    clock.forward(2 * SILENT)
    assert health.look() == [found]
    assert health.stuck() == []


def test_a_store_that_answers_with_an_error_for_long_is_noticed(
    context, tmp_path, clock
):
    health = Health(context, Threads(), tmp_path, threading.Event())
    context.store._writer._db.close()
    clock.forward(SILENT + 1)
    (found,) = health.look()
    assert "closed database" in found
    assert health.stuck() == ["store: no answer for 31 s"]


def test_a_run_that_no_worker_takes_is_noticed(context, tmp_path, clock):
    health = Health(context, Threads(), tmp_path, threading.Event())
    health.workers = 1
    draft = tasks.Draft("one", "/source", "/target", "key")
    context.store.write(tasks.add, draft, context.now()).result()
    context.store.write(runs.request, 1, runs.NewRun("manual"), context.now()).result()
    assert health.look() == []
    clock.forward(SILENT + 1)
    assert health.look() == health.stuck() == ["queue: no worker takes run 1"]
    context.running.began(9, 1, None, None)
    assert health.look() == health.stuck() == [], "the one worker has something to do"
    context.running.paused(9)
    assert health.look() == []
    clock.forward(SILENT + 1)
    assert health.look() == ["queue: no worker takes run 1"]
    context.store.write(runs.claim, context.now()).result()
    assert health.look() == health.stuck() == []


def test_a_claimed_run_that_is_in_nobodys_hands_is_noticed(context, tmp_path, clock):
    health = Health(context, Threads(), tmp_path, threading.Event())
    draft = tasks.Draft("one", "/source", "/target", "key")
    context.store.write(tasks.add, draft, context.now()).result()
    context.store.write(runs.request, 1, runs.NewRun("manual"), context.now()).result()
    with context.running.carrying(1):
        context.store.write(runs.claim, context.now()).result()
        clock.forward(10 * SILENT)
        assert health.look() == health.stuck() == []
    assert health.look() == []
    clock.forward(SILENT + 1)
    alone = ["queue: nobody carries out run 1"]
    assert health.look() == health.stuck() == alone
    context.store.write(runs.recover, context.now()).result()
    assert health.look() == health.stuck() == []


def test_a_claim_that_was_committed_and_not_confirmed_is_in_nobodys_hands(
    context, tmp_path, clock
):
    health = Health(context, Threads(), tmp_path, threading.Event())
    path = context.store.path
    draft = tasks.Draft("one", "/source", "/target", "key")
    context.store.write(tasks.add, draft, context.now()).result()
    context.store.write(runs.request, 1, runs.NewRun("manual"), context.now()).result()

    def claim(db):
        path.rename(path.with_name("away"))
        return runs.claim(db, context.now())

    assert "was removed" in str(context.store.write(claim).exception())
    path.with_name("away").rename(path)
    for found in ([], ["queue: nobody carries out run 1"]):
        assert health.look() == found
        clock.forward(SILENT + 1)


MORTAL = """
import ctypes, os, threading
from gms_hookd.cli import main as cli

def obey():
    with open(os.environ["ORDERS"]) as orders:
        for name in orders:
            ident = next(t.ident for t in threading.enumerate() if t.name == name[:-1])
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(ident), ctypes.py_object(SystemExit)
            )

threading.Thread(target=obey, daemon=True).start()
raise SystemExit(cli.main())
"""


@pytest.fixture
def mortal(daemon):
    """Start a daemon; what is written to `orders` names a thread that it kills."""
    daemon.orders = daemon.home / "orders"
    os.mkfifo(daemon.orders)
    daemon.command = (sys.executable, "-c", MORTAL)
    return daemon.start(ORDERS=str(daemon.orders), WATCHDOG_USEC="300000")


def test_the_watchdog_of_a_daemon_without_a_reconciler_starves(mortal):
    mortal.told("WATCHDOG=1")
    mortal.orders.write_text("reconcile\n")
    mortal.until(lambda: ask(mortal.socket, "GET", "/readyz")[0] == 503)
    answer = ask(mortal.socket, "GET", "/readyz")[2]
    dead = "thread reconcile: has ended"
    assert answer["reasons"] == [dead]
    mortal.until(lambda: dead in " ".join(mortal.told("STATUS=")))
    said = [mortal.told("STATUS=") for _ in range(3)]
    assert all(dead in " ".join(each) for each in said)
    assert not any("WATCHDOG=1" in each for each in said)
    assert mortal.log().count("watchdog not fed") == 1
    assert ask(mortal.socket, "GET", "/healthz")[0] == 200


@pytest.mark.parametrize("name", ["MainThread", "front"])
def test_a_daemon_whose_main_thread_or_front_fails_ends(mortal, name):
    mortal.orders.write_text(f"{name}\n")
    assert mortal.wait() == 1
    assert "stopped" in mortal.log().splitlines()[-1]
