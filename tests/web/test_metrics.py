"""Metrics: the text, what it counts, who may read it, and what is never in it."""

import json
import re
from base64 import b64encode
from dataclasses import replace

import pytest

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.cli.manual import topic
from gms_hookd.futures import Future, done
from gms_hookd.http.message import Request
from gms_hookd.model import RunStatus
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.store import Store, runs, tasks
from gms_hookd.store.gauges import Gauges, TaskGauges, gauges
from gms_hookd.web.metrics import Reading, counters_text, gauges_text
from gms_hookd.workers.counters import Counters, Usage
from gms_hookd.workers.running import DaemonState
from tests.support.in_process import Place, until
from tests.support.process import ask
from tests.support.repositories import Repo
from tests.support.wiring import answered

NAME = r"gms_hookd_[a-z_]+"
LABEL = r'[a-z]+="(?:[^"\\\n]|\\[\\n"])*"'
LINE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
CONTRACT = {
    "build_info": {"version", "python", "git"}, "start_time_seconds": set(),
    "reload_success": set(), "http_requests_total": {"route", "code"},
    "deliveries_total": {"hook", "result"}, "queue_runs": {"status"},
    "queue_oldest_seconds": set(), "runs_total": {"status", "trigger"},
    "run_seconds": {"le"}, "git_commands_total": {"command", "result"},
    "task_last_success_timestamp_seconds": {"task"}, "task_failures_in_row": {"task"},
    "tasks_not_shown": set(), "notices_total": {"target", "result"},
    "notices_waiting": {"target"}, "database_bytes": set(), "caches_bytes": set(),
    "disk_free_bytes": set(), "workers": {"state"},
}  # fmt: skip


def parsed(text):
    """Read the format strictly; gives {name: {labels: value}} without the prefix."""
    assert text.endswith("\n")
    found, kinds, family, seen = {}, {}, "", set()
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in kinds
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family
            kinds[family] = kind
            found[family.removeprefix("gms_hookd_")] = {}
            continue
        match = LINE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        ends = ("", "_bucket", "_sum", "_count") if kinds[family] == "histogram" else ""
        assert name == family or name.removeprefix(family) in ends
        assert (name, labels) not in seen
        seen.add((name, labels))
        pairs = re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', labels or "")
        key = (name.removeprefix(family), *(text for _, text in pairs))
        wanted = CONTRACT.get(family.removeprefix("gms_hookd_"), set())
        assert {label for label, _ in pairs} in (wanted, wanted - {"le"})
        found[family.removeprefix("gms_hookd_")][key[not key[0] :]] = float(value)
    return found


def reading(**more):
    given = {
        "at": 20_000, "condition": DaemonState(since=1_500, workers=8, git="2.47.3"),
        "gauges": Gauges(2, 1, 5_000, (TaskGauges(7, 9_500, 3),), 4, {"ops": 5}),
        "busy": 3, "build": (("version", "1"), ("python", "3"), ("git", 'a\\b"c\nd')),
    }  # fmt: skip
    return Reading(**{**given, **more})


def test_what_was_read_is_written_by_the_names_of_the_contract():
    usage = Usage(1.5, 2, 3, 4, 5, 6.0)
    condition = DaemonState(
        1_500, workers=8, refusal="x", disk_free=1, database=2, caches=3, usage=usage
    )
    found = parsed(gauges_text(reading(condition=condition)).decode())
    assert found["build_info"] == {("1", "3", r"a\\b\"c\nd"): 1}
    assert found["start_time_seconds"] == {(): 1.5}
    assert found["reload_success"] == {(): 0}
    assert found["workers"] == {("busy",): 3, ("idle",): 5}
    assert found["queue_runs"] == {("queued",): 2, ("running",): 1}
    assert found["queue_oldest_seconds"] == {(): 15}
    assert found["task_last_success_timestamp_seconds"] == {("7",): 9.5}
    assert found["task_failures_in_row"] == {("7",): 3}
    assert found["tasks_not_shown"] == {(): 4}
    assert found["notices_waiting"] == {("ops",): 5}
    assert [found[f"{n}_bytes"][()] for n in ("disk_free", "database", "caches")] == [
        1, 2, 3,
    ]  # fmt: skip
    assert found["process_cpu_seconds_total"] == {(): 1.5}
    assert found["process_max_fds"] == {(): 5}


def test_without_the_store_all_else_is_written():
    found = parsed(gauges_text(reading(gauges=None)).decode())
    assert "queue_runs" not in found
    assert found["workers"] == {("busy",): 3, ("idle",): 5}
    assert found["caches_bytes"] == {}


def test_everything_is_there_as_zero_from_the_start():
    counters = Counters()
    counters.expect(["task-sync", "github"], ["ops"])
    found = parsed(counters_text(counters).decode())
    assert len(found["deliveries_total"]) == 12
    assert ("failed", "webhook:github") in found["runs_total"]
    assert ("push", "auth") in found["git_commands_total"]
    assert ("ops", "dead") in found["notices_total"]
    assert {value for each in found.values() for value in each.values()} == {0}


def test_a_histogram_is_cumulative_and_ends_with_all():
    counters = Counters()
    for seconds in (0.5, 0.6, 7, 9999):
        counters.seconds.observe(seconds)
    found = parsed(counters_text(counters).decode())["run_seconds"]
    buckets = [(key[1], n) for key, n in found.items() if key[0] == "_bucket"]
    assert buckets[:2] == [("0.5", 1), ("1.0", 2)]
    assert buckets[-1] == ("+Inf", 4)
    assert [n for _, n in buckets] == sorted(n for _, n in buckets)
    assert (found["_count",], found["_sum",]) == (4, 10007.1)


def get(app, authorization="", method="GET", **more):
    headers = {"authorization": authorization} if authorization else {}
    request = Request(method, "/metrics", headers=headers, peer="192.0.2.1", **more)
    return answered(app, request).result(10)


BASIC = "Basic " + b64encode(b"prometheus:r3ad").decode()


@pytest.mark.parametrize("header", [BASIC, "Bearer r3ad", "token r3ad", "Bearer t0ken"])
def test_who_may_read_sees_them(app, header):
    response = get(app, header)
    assert response.status == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert parsed(response.body.decode())
    assert get(app, header, "POST").status == 405


def test_others_do_not(app, make_app):
    assert get(app).status == 401
    assert dict(get(app, "Bearer x").headers)["WWW-Authenticate"].startswith("Basic ")
    closed = make_app(tokens=Tokens())
    assert get(closed).status == 403
    assert b"api.read_token" in get(closed).body
    assert get(closed, control=True).status == 200


def test_gauges_are_read_once_in_five_seconds_and_counters_each_time(
    make_app, context, clock
):
    looks = []
    looking = replace(context, condition=lambda: looks.append(1) or done(DaemonState()))
    app = make_app()
    app.adopt(looking, app._policy)
    for number in range(10):
        found = parsed(get(app, "Bearer r3ad").body.decode())
        counted = found["http_requests_total"].get(("/metrics", "200"), 0)
        assert counted == number
    assert len(looks) == 1
    clock.forward(5)
    get(app, "Bearer r3ad")
    assert len(looks) == 2


def test_paths_of_outsiders_add_no_series(app):
    for path in ("/x", "/y", "/api/webhooks/x", "/api/v1/sync/x", "/api/v1/sync/y/z"):
        answered(app, Request("GET", path, control=True)).result(10)
    found = parsed(get(app, "Bearer r3ad").body.decode())["http_requests_total"]
    assert found == {
        ("other", "404"): 2,
        ("/api/webhooks/{hook}", "404"): 1,
        ("/api/v1/sync/{call}", "404"): 2,
    }


def add(app, name):
    body = json.dumps({"name": name, "source": "/srv/x", "target": f"/srv/{name}"})
    path = "/api/v1/sync/task/create"
    return answered(
        app, Request("POST", path, body=body.encode(), control=True)
    ).result(10)


def test_a_task_counts_its_failures_since_the_last_success(app, context):
    for name in ("a", "b"):
        assert add(app, name).status == 200
    ends = (RunStatus.FAILED, RunStatus.SUCCESS, RunStatus.CONFLICT,
            RunStatus.CANCELLED, RunStatus.FAILED)  # fmt: skip
    write = context.store.write
    for number, status in enumerate(ends, 1):
        write(runs.request, 1, runs.NewRun("manual"), 100).result()
        write(runs.claim, 10**13, None).result()
        write(runs.finish, number, runs.Result(status), 1000 * number).result()
    write(runs.request, 2, runs.NewRun("manual"), 77).result()
    found = context.store.read(gauges).result()
    assert found[:3] == (1, 0, 77)
    assert found.tasks == (TaskGauges(1, 2000, 2), TaskGauges(2, 0, 0))


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path, '[hooks.github]\n[api]\nread_token = "r3ad-r3ad-r3ad"\n')
    yield made
    made.close()


def test_what_happens_is_counted_where_it_ends(place, tmp_path):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit("main")
    assert place.ended(place.order("one", source, target))["status"] == "success"
    assert place.ended(place.order("two", "/nowhere/x", target))["status"] == "failed"
    ask(place.socket, "POST", "/api/webhooks/task-sync", b"{}", {})
    until(lambda: place.service.counters.seconds.distribution().every == 2)
    replied = Future()
    place.service.app.handle(
        Request("GET", "/metrics", control=True), replied.set_result
    )
    text = replied.result(30).body.decode()
    found = parsed(text)
    assert found.keys() >= CONTRACT.keys()
    assert found["runs_total"]["success", "manual"] == 1
    assert found["runs_total"]["failed", "manual"] == 1
    assert found["run_seconds"]["_count",] == 2
    assert found["deliveries_total"]["task-sync", "refused"] == 1
    assert found["git_commands_total"]["push", "ok"] >= 1
    assert found["task_failures_in_row"] == {("1",): 0, ("2",): 1}
    assert found["http_requests_total"]["/api/v1/sync/task/create", "200"] == 2
    assert found["process_open_fds"][()] > 3
    for private in (str(tmp_path), "nowhere", "192.0.2", "r3ad", source.tip("main")):
        assert private not in text


def counted(context):
    return context.counters.runs.counts()


@pytest.mark.parametrize(
    ("call", "fields"),
    [("task/update", {"id": 1, "enabled": False}), ("task/delete", {"id": 1})],
)
def test_a_run_that_goes_with_its_task_is_counted_and_waited_for_no_more(
    app, context, call, fields
):
    add(app, "one")
    context.store.write(runs.request, 1, runs.NewRun("manual"), 0).result()
    watch = context.running.watch(1, 1000)
    body = json.dumps(fields).encode()
    request = Request("POST", f"/api/v1/sync/{call}", body=body, control=True)
    assert answered(app, request).result(10).status == 200
    assert watch.future.result(30) is True
    assert counted(context) == {("cancelled", "manual"): 1}


def test_a_run_that_took_the_daemon_down_is_counted(tmp_path):
    state = StateDirectory.open(tmp_path / "state")
    store = Store.open(state.database)
    draft = tasks.Draft("one", "/srv/a", "/srv/b", "c")
    store.write(tasks.add, draft, 0).result()
    store.write(runs.request, 1, runs.NewRun("manual"), 0).result()
    store.write(runs.claim, 10, None).result()
    store.write(lambda db: db.execute("UPDATE runs SET crashes=2")).result()
    store.close()
    state.close()
    place = Place(tmp_path)
    try:
        assert counted(place.service.context)["failed", "manual"] == 1
    finally:
        place.close()


def test_every_series_is_in_the_manual_and_six_alerts_name_real_ones():
    manual = topic("metrics")
    table = set(re.findall(r"`([a-z_]+)(?:\{[a-z,]+\})?`", manual))
    assert set(CONTRACT) <= table
    for name, labels in CONTRACT.items():
        wanted = labels - {"le"}
        listed = re.search(rf"`{name}(?:\{{([a-z,]+)\}})?`", manual)[1]
        assert set(listed.split(",") if listed else ()) == wanted
    assert manual.count("- alert: ") == 6
    used = set(re.findall(r"gms_hookd_([a-z_]+)", manual))
    assert {name.removesuffix("_bucket") for name in used} - {""} <= set(CONTRACT)
