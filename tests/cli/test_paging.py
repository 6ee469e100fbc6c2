"""Lists page: before an id, since a time, of a status, as many as wished."""

import json
import re
import time

import pytest

from gms_hookd.cli import main
from gms_hookd.store import Store, deliveries, runs
from gms_hookd.units import moment
from tests.support.wiring import API, ask

DAY = 86_400_000


@pytest.fixture
def filled(store, clock):
    """Keep 25 deliveries, a day apart, of two hooks and two statuses."""
    now = int(clock() * 1000)

    def fill(db):
        for n in range(25):
            at = now - (24 - n) * DAY
            hook, status = ("ab"[n % 2], (200, 401)[n % 5 == 0])
            new = deliveries.NewDelivery(hook, "generic", "unix", at)
            deliveries.record(db, new, status, "x")

    store.write(fill).result()


def listed(app, path):
    """Follow the links from a path; return the ids of each page."""
    pages, link = [], API + path
    while link:
        status, shown, headers = ask(app, "GET", link, control=True)
        assert status == 200, shown
        pages.append([each["id"] for each in shown["data"]])
        found = re.fullmatch(r'<(.+)>; rel="next"', headers.get("Link", ""))
        link = found and found[1]
    return pages


@pytest.mark.parametrize(
    ("query", "sizes"),
    [("limit=10", [10, 10, 5]), ("limit=25", [25]), ("limit=24", [24, 1]),
     ("limit=10&hook=a", [10, 3]), ("limit=4&status=401", [4, 1]),
     ("before=6", [5]), ("since=3d", [4]), ("since=3d&limit=2&hook=a", [2]),
     ("limit=1000", [25])],
)  # fmt: skip
def test_each_page_links_to_the_next(app, filled, query, sizes):
    pages = listed(app, f"deliveries?{query}")
    assert [len(page) for page in pages] == sizes
    every = [number for page in pages for number in page]
    assert every == sorted(every, reverse=True)


def test_tasks_page_by_their_ids_where_a_limit_is_given(app):
    for n in range(5):
        fields = {"name": f"t{n}", "source": f"/a{n}", "target": f"/b{n}"}
        body = json.dumps(fields).encode()
        ask(app, "POST", API + "task/create", body, control=True)
    assert listed(app, "tasks") == [[1, 2, 3, 4, 5]]
    assert listed(app, "tasks?limit=2") == [[1, 2], [3, 4], [5]]
    assert listed(app, "tasks?limit=5") == [[1, 2, 3, 4, 5]]
    assert listed(app, f"tasks?limit={2**63 - 1}") == [[1, 2, 3, 4, 5]]
    assert listed(app, "tasks?after=3") == [[4, 5]]


def test_the_runs_of_a_task_page_too(app, store):
    body = json.dumps({"name": "t", "source": "/a", "target": "/b"}).encode()
    ask(app, "POST", API + "task/create", body, control=True)

    def fill(db):
        for n in range(7):
            runs.trigger(db, 1, runs.NewRun("manual"), 1000 + n)
            runs.claim(db, 9999)
            runs.finish(db, n + 1, runs.Result(runs.RunStatus.SUCCESS), 9999)
        runs.trigger(db, 1, runs.NewRun("manual"), 2000)

    store.write(fill).result()
    every = [8, 7, 6, 5, 4, 3, 2, 1]
    assert listed(app, "history?limit=3") == [every[:3], every[3:6], every[6:]]
    assert listed(app, "history?task_id=1&limit=5") == [every[:5], every[5:]]
    assert listed(app, "history?task_id=1&status=success&limit=4") == [
        every[1:5],
        every[5:],
    ]
    assert listed(app, "history?before=3") == [[2, 1]]
    assert listed(app, "history?since=1970-01-01T00:00:01.005Z") == [[8, 7, 6]]


@pytest.mark.parametrize(
    ("path", "status"),
    [("deliveries?hook=nobody", 404), ("history?task_id=99", 404),
     ("history?since=yesterday", 400), ("history?before=x", 400),
     ("deliveries?status=ok", 400), ("deliveries?hook=task-sync", 200)],
)  # fmt: skip
def test_what_is_not_there_is_an_error(app, path, status):
    assert ask(app, "GET", API + path, control=True)[0] == status


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2h", 1e9 - 7200), ("7d", 1e9 - 7 * 86400),
     ("2026-11-28T22:50:00Z", 1795906200), ("2026-11-28T22:50:00+01:00", 1795902600),
     ("2026-11-28", time.mktime((2026, 11, 28, 0, 0, 0, 0, 0, -1)))],
)  # fmt: skip
def test_a_time_is_read_as_people_write_it(text, wanted):
    assert moment(text, 1e9) == wanted * 1000


def test_a_list_is_as_long_as_wished(tmp_path, monkeypatch, capsys):
    state = tmp_path / "state"
    monkeypatch.setattr("gms_hookd.cli.paging.PAGE", 7)
    (tmp_path / "c.toml").write_text("")
    where = ["--state", str(state), "--config", str(tmp_path / "c.toml")]

    def list_of(*more):
        status = main.main(["delivery", "list", *more, *where])
        return status, *capsys.readouterr()

    assert list_of("--json") == (0, "[]\n", "")
    assert list_of() == (0, "no deliveries\n", "")
    store = Store.open(state / "gms-hookd.db")
    new = deliveries.NewDelivery("task-sync", "gms", "unix", 1)
    for _ in range(21):
        store.write(deliveries.record, new, 200, "x")
    store.close()
    for limit, count in ((5, 5), (14, 14), (20, 20), (1000000, 21)):
        found = json.loads(list_of("--json", "--limit", str(limit))[1])
        assert [each["id"] for each in found] == list(range(21, 21 - count, -1))
        lines = list_of("--limit", str(limit))[1].splitlines()
        assert len(lines) == count + 1
    status, _, err = list_of("--hook", "nope")
    assert (status, "no hook 'nope'" in err) == (1, True)
