"""A store of an older version is brought forward, with all that is in it."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gms_hookd.errors import StoreError
from gms_hookd.model import RunStatus
from gms_hookd.store import (
    Store,
    deliveries,
    listings,
    runs,
    schema,
    tasks,
    undo,
)
from tests.support import older
from tests.support.queue import get, new_delivery

OLDER = Path(__file__).parent / "schema-2.sql"


def test_a_store_of_schema_2_keeps_its_tasks_runs_and_deliveries(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.executescript(OLDER.read_text())
        db.execute("PRAGMA journal_mode=WAL")
    store = Store.open(path)
    try:
        every = store.read(tasks.every).result()
        assert [task.name for task in every] == ["app", "lib", "off"]
        assert [task.enabled for task in every] == [True, True, False]
        assert {(task.cron, task.next_cron) for task in every} == {("", None)}
        assert {(task.pattern, task.most, task.create) for task in every} == {
            (None, None, False)
        }
        run = store.read(runs.get, 1).result()
        assert (run.status, run.task_name) == (RunStatus.SUCCESS, "app")
        assert [ref.ref for ref in run.refs] == ["refs/heads/main"]
        seen = [store.read(deliveries.get, number).result() for number in (1, 2)]
        assert [delivery.status for delivery in seen] == [200, 404]
        assert seen[0].run_ids == (1,)
        assert store.read(undo.find, 1, None).result().task.target == "/srv/t.git"
        again = store.write(runs.request, 1, runs.NewRun("manual"), 0).result()
        assert (again.id, again.status) == (2, RunStatus.QUEUED)
    finally:
        store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(schema.STEPS),)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_of_the_first_schema_keeps_which_runs_served_a_delivery(tmp_path):
    path = older.made(tmp_path / "old.db", 1)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for each in range(1, 4):
            db.execute(
                "INSERT INTO deliveries(hook,provider,received_ms,client,status,reason)"
                " VALUES('in','gms',1,'192.0.2.1',200,'accepted')"
            )
            db.execute(
                "INSERT INTO runs(task_id,task_key,task_name,status,trigger,due_ms,"
                "created_ms) VALUES(?,'k','n','queued','webhook:in',1,1)",
                (each,),
            )
        links = [(1, 1), (2, 2), (2, 3), (2, 1)]
        db.executemany("INSERT INTO links(delivery_id,run_id) VALUES(?,?)", links)
    with contextlib.closing(Store.open(path)) as store:
        kept = store.read(deliveries.latest, "in", 9).result()
        assert [each.run_ids for each in kept] == [(), (1, 2, 3), (1,)]
        assert [get(store, n).deliveries for n in (1, 2, 3)] == [(1, 2), (2,), (2,)]
        assert store.write(deliveries.record, new_delivery(), 200, "new").result() == 4


def test_an_upgrade_that_ends_early_leaves_the_store_to_the_older_version(
    tmp_path, monkeypatch
):
    path = older.made(tmp_path / "old.db", 1)
    with monkeypatch.context() as ends_early:
        ends_early.setattr(schema, "STEPS", (*schema.STEPS, ("no statement",)))
        with pytest.raises(StoreError, match="syntax error"):
            Store.open(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    Store.open(path).close()


def test_tasks_of_an_older_store_are_found_by_all_addresses_of_their_source(tmp_path):
    path = older.made(tmp_path / "old.db", 2)
    sources = "ssh://git@ssh.github.com:443/Org/App.git", "/srv/App.git", "no address"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for each in sources:
            db.execute(
                "INSERT INTO tasks(key,name,source,target,refspecs,force,prune,enabled,"
                "cache,host,path,created_ms,updated_ms)"
                " VALUES(?,?,?,'/t','[]',0,0,1,'c','old','old',1,1)",
                (each, each, each),
            )
    with contextlib.closing(Store.open(path)) as store:
        places = ("github.com", "org/app"), ("", "/srv/App"), ("", "")
        found = [store.read(tasks.of_source, *place).result() for place in places]
        assert [task.source for each in found for task in each] == list(sources)


def test_a_host_that_an_older_store_has_without_its_middle_is_found(tmp_path):
    path = older.made(tmp_path / "old.db", 16)
    rows = [
        ("git@gitlab-ssh.corp:o/r", "gitlab-corp", "o/r", None),
        ("git@gitlab-ssh.corp:o/*", "", "", 5),
        ("/srv/App", "", "/srv/App", None),
    ]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "INSERT INTO tasks(key,name,source,target,refspecs,force,prune,enabled,"
            "cache,host,path,most,created_ms,updated_ms)"
            " VALUES(?,?,?,'/t','[]',0,0,1,'c',?,?,?,1,1)",
            [(row[0], row[0], *row) for row in rows],
        )
    with contextlib.closing(Store.open(path)) as store:
        places = ("gitlab-ssh.corp", "o/r"), ("", ""), ("", "/srv/App")
        found = [store.read(tasks.of_source, *place).result() for place in places]
        assert [[t.source for t in each] for each in found] == [[r[0]] for r in rows]


def test_runs_of_an_older_store_are_counted_by_when_they_ended(tmp_path):
    path, hour = older.made(tmp_path / "old.db", 14), 500_000
    ended = [("success", hour), ("success", hour), ("failed", hour - 1)]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "INSERT INTO runs(task_id,task_key,task_name,status,trigger,due_ms,"
            "created_ms,ended_ms) VALUES(1,'k','n',?,'manual',1,1,3600000*?+5)",
            [*ended, ("queued", None)],
        )
    with contextlib.closing(Store.open(path)) as store:
        now = hour * listings.HOUR + 9
        found = store.read(listings.tallies, now, 1, 2).result()
        assert [each["success"] for each in found] == [0, 2]
        assert [each["failed"] for each in found] == [1, 0]
