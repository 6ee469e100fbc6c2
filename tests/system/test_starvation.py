"""No kind of work holds up another, however long it takes.

A dry run of a host that hangs takes its five minutes: whatever is answered within the
test's patience did not wait for one.
"""

import hashlib
import hmac
import json
import socket
import threading

import pytest

from gms_hookd.git.process import Stop
from gms_hookd.runlog import RunLog
from gms_hookd.service import pools
from tests.support.in_process import Place, until
from tests.support.process import PATIENCE, SECRET, ask
from tests.support.repositories import Repo

CONFIG = """
rate_limit = 0
[hooks.github]
[sync]
reconcile = "off"
allow_protocols = ["http", "file"]
"""
ALLOWED = pools.PLANS + pools.PLANS_WAITING


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path, CONFIG)
    yield made
    made.close()


@pytest.fixture
def hanging():
    """Listen, and never answer; returns the address of a repository there."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x{{}}.git"


class DryRuns:
    """Dry runs under way, each asked for by a thread of its own."""

    def __init__(self, place, *sources):
        self.answers = []
        self.threads = []
        for source in sources:
            name = source.rpartition("/")[2]
            fields = {"name": name, "source": source, "target": "/target"}
            task = place.api("POST", "task/create", **fields)[1]["data"]["id"]
            thread = threading.Thread(target=self.ask, args=(place, task))
            self.threads.append(thread)
            thread.start()

    def ask(self, place, task):
        self.answers.append(place.api("POST", "task/plan", task_id=task))

    def join(self):
        for thread in self.threads:
            thread.join(PATIENCE)


def is_ready(place):
    return ask(place.socket, "GET", "/readyz")[0] == 200


def deliver(place, size):
    """Send a signed push of about so many bytes; returns the status."""
    url = "https://forge.example.org/team/app.git"
    push = {"ref": "refs/heads/main", "repository": {"clone_url": url}}
    body = json.dumps(push | {"commits": [{"message": "m" * size}]}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": "sha256="
        + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
    }
    return ask(place.socket, "POST", "/api/webhooks/github", body, headers)[0]


def test_dry_runs_of_a_hanging_host_hold_up_nothing_and_have_a_bound(
    place, hanging, tmp_path
):
    dry = DryRuns(place, *(hanging.format(n) for n in range(ALLOWED)))
    until(lambda: place.service.pools.plans._jobs.qsize() == pools.PLANS_WAITING)
    more = DryRuns(place, "/one/more")
    more.join()
    status, answer = more.answers[0]
    assert (status, answer["error"]) == (503, "too much waits (plan): try again")
    assert is_ready(place)
    assert [deliver(place, size) for size in (100, 150_000, 3_000_000)] == [200] * 3
    assert place.api("POST", "backup", path=str(tmp_path / "copy"))[0] == 200
    assert dry.answers == []
    place.service.stop(0.0)
    dry.join()
    assert len(dry.answers) == ALLOWED
    assert {a["data"]["status"] for _, a in dry.answers if "data" in a} == {"cancelled"}


def test_an_undo_and_a_check_wait_for_no_dry_run_no_copy_and_no_look_at_hosts(
    place, tmp_path
):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit()
    run = place.order("one", source, target)
    assert place.ended(run)["status"] == "success"
    go, own = threading.Event(), place.service.pools
    for pool in (own.plans, own.copies, own.checks):
        for _ in range(20):
            pool.do(lambda: go.wait(PATIENCE))
    try:
        assert place.api("GET", "check")[0] == 200
        assert place.api("POST", "run/undo", id=run)[0] == 200
    finally:
        go.set()


def test_a_dry_run_has_an_end(place, hanging, monkeypatch):
    monkeypatch.setattr("gms_hookd.web.api.LONGEST_PLAN", 1.0)
    dry = DryRuns(place, hanging.format(1))
    dry.join()
    ((status, answer),) = dry.answers
    assert (status, answer["data"]["status"]) == (200, "failed")
    assert "timeout" in answer["data"]["error_message"]


def test_who_follows_a_silent_run_costs_no_thread_and_is_answered(place):
    place.service.running.began(7, 1, log := RunLog(), Stop())
    before, answers = threading.active_count(), []

    def ask_one():
        answers.append(follow(place))

    many = [threading.Thread(target=ask_one) for _ in range(40)]
    for thread in many:
        thread.start()
    until(lambda: len(log._calls) == len(many))
    assert threading.active_count() == before + len(many)
    assert is_ready(place)
    log.line("said")
    for thread in many:
        thread.join(PATIENCE)
    assert {answer["data"]["text"] for _, answer in answers} == {"said\n"}
    offset = answers[0][1]["data"]["offset"]
    assert follow(place, offset)[1]["data"]["text"] == ""
    assert log._calls == []


def follow(place, offset=0):
    return place.api("GET", f"run/output?id=7&offset={offset}&wait=1")


def test_copies_that_take_long_hold_up_nothing_and_have_a_bound(place, tmp_path):
    go = threading.Event()
    copies = place.service.pools.copies
    jobs = [
        copies.do(lambda: go.wait(PATIENCE)) for _ in range(1 + pools.COPIES_WAITING)
    ]
    assert place.api("POST", "backup", path=str(tmp_path / "copy"))[0] == 503
    assert is_ready(place)
    assert deliver(place, 150_000) == 200
    dry = DryRuns(place, "/not/there")
    dry.join()
    assert dry.answers[0][0] == 200
    go.set()
    assert all(job.result(PATIENCE) for job in jobs)


def test_large_deliveries_that_take_long_hold_up_no_health_and_no_trigger(place):
    go = threading.Event()
    jobs = [place.server._beside.large.do(lambda: go.wait(PATIENCE)) for _ in range(9)]
    assert is_ready(place)
    assert deliver(place, 100) == 200
    go.set()
    assert all(job.result(PATIENCE) for job in jobs)


def test_whatever_is_asked_needs_no_new_thread(place, monkeypatch, tmp_path):
    def refuse(_self):
        raise RuntimeError("can't start new thread")

    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    run = place.order("one", source, target)
    assert place.ended(run)["status"] == "success"
    assert place.api("POST", "task/plan", task_id=1)[0] == 200
    assert place.api("POST", "backup", path=str(tmp_path / "copy"))[0] == 200
    assert place.api("GET", f"run/output?id={run}&wait=1")[0] == 200
    assert [deliver(place, size) for size in (100, 150_000)] == [200, 200]
    body = json.dumps({"task_id": 1}).encode()
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Hub-Signature-256": f"sha256={mac}",
    }
    path = "/api/webhooks/task-sync?wait=60"
    assert ask(place.socket, "POST", path, body, headers)[0] == 200
    place.service.adopt(place.service.config)
    place.service.housekeeping.keep_up()
    assert is_ready(place)
