"""A store of an older version is brought forward, with all that is in it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gms_hookd.model import RunStatus
from gms_hookd.store import Store, deliveries, runs, schema, tasks, undo

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
