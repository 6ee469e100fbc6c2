"""A host that does not answer keeps one worker waiting, and no other host's task."""

import random
import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from gms_hookd.git.process import Stop
from gms_hookd.git.url import cache_key, origin
from gms_hookd.model import RunStatus
from gms_hookd.runlog import RunLog
from gms_hookd.store import runs, tasks
from gms_hookd.store.runs import NewRun, Result
from gms_hookd.store.shares import Shares
from gms_hookd.sync.job import SyncJob
from gms_hookd.threads import Pool, Threads
from gms_hookd.workers.hosts import Hosts
from gms_hookd.workers.reconciler import Reconciler
from tests.support.in_process import Place, until
from tests.support.process import PATIENCE
from tests.support.repositories import Repo, task

DEAD, SICK, GOOD = "https://dead.example", "ssh://sick.example", "https://good.example"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://Host.example/a.git", "https://host.example"),
        ("https://host.example:443/b", "https://host.example"),
        ("https://host.example:8443/b", "https://host.example:8443"),
        ("git@host.example:a/b.git", "ssh://host.example"),
        ("ssh://host.example:22/a", "ssh://host.example"),
        ("/srv/a.git", ""),
        ("file:///srv/a.git", ""),
        ("no address", ""),
    ],
)
def test_a_host_is_known_by_its_name_and_port(url, named):
    assert origin(url) == named


@pytest.mark.parametrize(
    ("shares", "running", "full"),
    [
        (Shares(8, 8), [{GOOD}] * 7, set()),
        (Shares(8, 8), [{GOOD}] * 8, {GOOD}),
        (Shares(8, 2), [{GOOD}, {GOOD, DEAD}], {GOOD}),
        (Shares(8, 8, frozenset({DEAD})), [{GOOD}], set()),
        (Shares(8, 8, frozenset({DEAD})), [{GOOD, DEAD}], {DEAD}),
        (Shares(2, 2, frozenset({DEAD, SICK})), [{SICK}], {DEAD, SICK}),
        (Shares(4, 4, frozenset({DEAD, SICK})), [{SICK}], {SICK}),
        (Shares(1, 1, frozenset({DEAD})), [], set()),
    ],
)
def test_a_host_has_its_share_and_one_that_does_not_answer_a_single_run(
    shares, running, full
):
    assert shares.full(running) == full


def test_one_answer_makes_a_host_as_good_as_any():
    hosts = Hosts()
    hosts.note({DEAD: False, GOOD: True})
    assert hosts.shares.unreached == {DEAD}
    hosts.note({GOOD: True})
    assert hosts.shares.unreached == {DEAD}
    hosts.note({DEAD: True})
    assert hosts.shares.unreached == set()


class Queue:
    """The queue of a store, with workers of the test's own."""

    def __init__(self, store, workers):
        self.store, self.now = store, 1000
        self.hosts = Hosts()
        self.hosts.share(workers, None)
        self.workers = workers
        self.running = []

    def add(self, name, host):
        self.now += 1
        url = f"{host}/{name}.git"
        draft = tasks.Draft(name, url, "/target", cache_key(url))
        added = self.store.write(tasks.add, draft, self.now).result()
        self.store.write(runs.request, added.id, NewRun("webhook:x"), self.now).result()

    def fill(self):
        """Have every idle worker claim."""
        while len(self.running) < self.workers:
            shares = self.hosts.shares
            claim = self.store.write(runs.claim, self.now, None, shares).result()
            if claim is None:
                return
            self.hosts.claimed([origin(claim.task.source)])
            self.running.append(claim)

    def end(self, claim):
        self.running.remove(claim)
        host = origin(claim.task.source)
        self.hosts.note({host: not host.startswith("https://dead")})
        done = Result(RunStatus.SUCCESS)
        self.store.write(runs.finish, claim.run.id, done, self.now).result()

    def names(self):
        return [claim.task.name for claim in self.running]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("hosts", [1, 5, 20])
def test_a_good_task_waits_for_one_run_at_most_however_much_is_dead(
    store, workers, hosts
):
    chance = random.Random(workers * 100 + hosts)
    queue = Queue(store, workers)
    for number in range(30):
        queue.add(f"dead-{number}", f"https://dead{number % hosts}.example")
    queue.fill()
    for _ in range(workers + hosts):  # until it is known that they are
        queue.end(chance.choice(queue.running))
        queue.fill()
    for number in range(5):
        queue.add(f"good-{number}", GOOD)
        queue.fill()
        if f"good-{number}" not in queue.names():
            queue.end(chance.choice(queue.running))
            queue.fill()
        assert f"good-{number}" in queue.names()
        queue.end(next(c for c in queue.running if c.task.name == f"good-{number}"))
        queue.fill()


def test_no_host_that_does_not_answer_is_forgotten(store):
    queue = Queue(store, 2)
    for number in range(6):
        queue.add(f"dead-{number}", DEAD)
        queue.add(f"good-{number}", GOOD)
    ended = []
    queue.fill()
    while queue.running:
        ended.append(queue.running[0].task.name)
        queue.end(queue.running[0])
        if len(ended) > 2:
            assert sum(name.startswith("dead") for name in queue.names()) <= 1
        queue.fill()
    assert len(set(ended)) == len(ended) == 12


def test_healthy_hosts_have_all_workers_and_a_share_where_one_is_set(store):
    queue = Queue(store, 8)
    for number in range(20):
        queue.add(f"good-{number}", GOOD)
    queue.fill()
    assert len(queue.running) == 8
    for claim in list(queue.running):
        queue.end(claim)
    queue.hosts.share(8, 3)
    queue.fill()
    assert len(queue.running) == 3
    queue.add("other", "https://other.example")
    queue.fill()
    assert "other" in queue.names()
    assert store.read(runs.claimable, queue.now, queue.hosts.shares).result() is None
    assert store.read(runs.claimable, queue.now).result() is not None


def test_a_run_tells_that_it_waits_for_its_host(store):
    queue = Queue(store, 8)
    for number in range(3):
        queue.add(f"dead-{number}", "https://dead.example")
    queue.hosts.note({"https://dead.example": False})
    queue.fill()

    def reason(shares):
        return store.read(runs.waits_for, 2, queue.now, shares).result()

    said = "https://dead.example, which did not answer last: its runs go one by one"
    assert reason(queue.hosts.shares) == said
    assert reason(Shares(8, 1)).endswith("has its share of runs (sync.per_host)")
    assert reason(Shares()) == "a free worker"


class HangingHost:
    """Accepts, and never answers; knows how many connections are open at a time."""

    def __init__(self, stack):
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self.listener.getsockname()[1]
        self.opened, self.open, self.most = 0, 0, 0
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        stack.callback(self.end)

    def end(self):
        # Closed under the thread, its descriptor could be another listener's by then.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE)

    def serve(self):
        with suppress(OSError):
            while True:
                self.take(self.listener.accept()[0])

    def take(self, connection):
        with self.lock:
            self.opened += 1
            self.open += 1
            self.most = max(self.most, self.open)
        threading.Thread(target=self.wait, args=(connection,), daemon=True).start()

    def wait(self, connection):
        with connection, suppress(OSError):
            while connection.recv(4096):
                pass
        with self.lock:
            self.open -= 1

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}.git"


CONFIG = """
[sync]
workers = 4
attempts = 1
reconcile = "off"
allow_protocols = ["http", "file"]
"""


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path, CONFIG, workers=4)
    yield made
    made.close()


def test_tasks_of_a_hanging_host_go_one_by_one_and_others_pass_them(place, tmp_path):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit()
    with ExitStack() as stack:
        host = HangingHost(stack)
        for number in range(12):
            place.order(f"dead-{number}", host.url(number), target, timeout=1)
        hosts = place.service.running.hosts
        until(lambda: hosts.shares.unreached == {f"http://127.0.0.1:{host.port}"})
        until(lambda: host.open <= 1)
        host.most = 0
        good = [place.order(f"good-{n}", source, target) for n in range(2)]
        assert [place.ended(run)["status"] for run in good] == ["success"] * 2
        opened = host.opened
        until(lambda: host.opened > opened)
        assert host.most == 1
        assert place.api("GET", "history?status=queued")[1]["data"] != []


def answered(bench, act, source, target, timeout=30.0):
    """Carry out one kind of run; returns which hosts answered it."""
    log = RunLog()
    order = SyncJob(task(source, target, timeout=timeout), verify=True)
    getattr(bench.engine, act)(order, log, Stop())
    return log.answered


@pytest.mark.parametrize("act", ["sync", "plan", "probe"])
def test_each_kind_of_run_tells_of_a_host_that_hangs_or_is_not_there(
    opened, target, act
):
    bench = opened()
    with ExitStack() as stack:
        host = HangingHost(stack)
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        for port in (host.port, silent.getsockname()[1]):
            base = f"http://127.0.0.1:{port}"
            found = answered(bench, act, f"{base}/x.git", target, timeout=0.5)
            assert found == {base: False}


@pytest.mark.parametrize("status", [None, 401, 403, 404, 429, 500, 503])
def test_a_host_that_says_no_has_answered(opened, http_host, source, target, status):
    if status:
        http_host.faults.append(lambda request: request.answer(status) or True)
    found = answered(opened(), "sync", http_host.url(source), target)
    assert found == {http_host.base: True}


def test_a_target_that_does_not_answer_is_told_apart_from_its_source(
    opened, http_host, source
):
    with ExitStack() as stack:
        host = HangingHost(stack)
        bench = opened(stall=1.0)
        found = answered(bench, "sync", http_host.url(source), host.url("x"))
        assert found == {http_host.base: True, f"http://127.0.0.1:{host.port}": False}


def test_a_run_without_a_host_or_that_was_stopped_tells_nothing(opened, source, target):
    bench = opened()
    assert answered(bench, "sync", source, target) == {}
    with ExitStack() as stack:
        log, stop, host = RunLog(), Stop(), HangingHost(stack)
        stop.set("cancelled")
        bench.engine.sync(SyncJob(task(host.url("x"), target)), log, stop)
        assert log.answered == {}


def test_checks_of_a_host_that_does_not_answer_go_one_by_one(
    context, clock, engine, target, source
):
    threads = Threads()
    pool = Pool(threads, "check", 4)
    interval, stopping = 900.0, threading.Event()
    reconciler = Reconciler(context, pool, lambda: engine, lambda: interval, stopping)
    with ExitStack() as stack:
        host = HangingHost(stack)
        for url in (*(host.url(n) for n in range(6)), str(source)):
            draft = tasks.Draft(f"t{url[-5:-4]}", url, str(target), cache_key(url))
            context.store.write(tasks.add, draft, context.now()).result()
        clock.forward(interval)
        context.running.hosts.note({f"http://127.0.0.1:{host.port}": False})
        reconciler.turn()
        assert list(reconciler._under_way) == [1, 7]
        for stop in list(reconciler._stops.values()):
            stop.set("shutdown")
        until(lambda: all(job.done() for _, job in reconciler._under_way.values()))
    pool.close(PATIENCE)
