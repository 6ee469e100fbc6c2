"""The journal is for people: one line a delivery, one at each end of a run."""

import contextlib
import logging
import re
import sqlite3

import pytest

from gms_hookd import log as journal
from gms_hookd.cli.manual import topic
from gms_hookd.log import SELDOM
from gms_hookd.safetext import reason
from gms_hookd.store import deliveries, maintenance, schema
from gms_hookd.store.store import Store
from tests.support.process import ask
from tests.support.repositories import Repo

HOST = r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+)"
PROXY = '[server]\ntrusted_proxies = ["unix"]\n'


FAKE = "refused id=1 hook=a client=192.0.2.1 status=401 count=1"
DATE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def lines(daemon, word):
    found = [line for line in daemon.log().splitlines() if f" {word} " in line]
    return [line.split(f" {word} ", 1)[1] for line in found]


def fail2ban():
    """The regular expression of the manual, as fail2ban reads it."""
    (found,) = re.findall(r"^failregex = (.+)$", topic("operating"), re.MULTILINE)
    return re.compile(found.replace("<HOST>", HOST))


@pytest.fixture
def behind(daemon):
    """Serve behind a proxy on the unix socket that tells its client."""
    daemon.configure()
    text = daemon.config.read_text().replace("[server]\n", PROXY)
    daemon.config.write_text(text)
    return daemon.start()


def test_a_delivery_and_a_run_are_three_lines(daemon, tmp_path):
    daemon.start()
    source = Repo(tmp_path / "source.git")
    source.commit("main")
    target = Repo(tmp_path / "target.git")
    task = daemon.add_task("mirror", source, target)
    daemon.trigger(task)
    run = daemon.ended(1)
    assert run["status"] == "success"
    (line,) = lines(daemon, "delivery")
    assert re.fullmatch(
        r"id=\S+ hook=task-sync client=unix event=task-sync status=200"
        r" reason=accepted tasks=1 runs=1",
        line,
    ), line
    (began,) = lines(daemon, "run started")
    assert began == (
        "run=1 task=1 name=mirror attempt=1 trigger=webhook:task-sync deliveries=1"
    )
    daemon.until(lambda: lines(daemon, "run ended"))
    (ended,) = lines(daemon, "run ended")
    assert re.match(
        r"run=1 task=1 name=mirror attempt=1 status=success seconds=\d+\.\d"
        r" trigger=webhook:task-sync changed=\S+",
        ended,
    ), ended
    # The API was asked again and again; a delivery that starts nothing has a line.
    assert lines(daemon, "request") == []
    daemon.trigger(99)
    refused = 'status=404 reason="no task 99" tasks=- runs=-'
    daemon.until(lambda: refused in lines(daemon, "delivery")[-1])


@pytest.mark.parametrize(
    ("client", "status"), [("203.0.113.7", 401), ("2001:db8::7", 401)]
)
def test_fail2ban_finds_the_client_behind_the_proxy(behind, client, status):
    path = "/api/webhooks/task-sync"
    headers = {"X-Forwarded-For": client, "Content-Type": "application/json"}
    assert ask(behind.socket, "POST", path, b"{}", headers)[0] == status
    behind.until(lambda: lines(behind, "refused"))
    (line,) = [each for each in behind.log().splitlines() if " refused " in each]
    # fail2ban takes the date away; the journal puts host and process before the text.
    bare = DATE.sub("", line)
    assert fail2ban().search(bare)["host"] == client
    under_systemd = bare.replace(" INFO ", "debian gms-hookd[712]: ")
    assert fail2ban().search(under_systemd)["host"] == client


def test_fail2ban_is_not_led_to_others():
    expression = fail2ban()
    for text in (
        "delivery id=1 hook=a client=192.0.2.1 event=x status=200 reason=accepted",
        'refused id=1 hook=a client=192.0.2.1 status=404 count=1 reason="x"',
        f'delivery id=1 hook=a client=192.0.2.9 event="x {FAKE}" status=200',
        f'INFO delivery id=1 hook=a client=192.0.2.9 event="INFO {FAKE}" status=200',
        'refused id=1 hook=a client="unix" status=401 count=1',
    ):
        assert expression.search(text) is None, text


def test_what_comes_again_and_again_is_one_line_a_minute(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("gms_hookd.log.time.monotonic", lambda: now[0])
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with (tmp_path / "log").open("w") as stream:
        journal.setup(stream, {})
        try:
            for number in range(100):
                root.error("store unavailable error=%d", number, extra=SELDOM)
            root.error("another line", extra=SELDOM)
            now[0] += 61
            root.error("store unavailable error=%d", 100, extra=SELDOM)
            root.error("a usual line")
        finally:
            root.handlers[0].close()
            root.handlers[:] = before
            root.setLevel(level)
    written = (tmp_path / "log").read_text().splitlines()
    told = [line.split(" ERROR ")[1] for line in written]
    assert told == [
        "store unavailable error=0",
        "another line",
        "store unavailable error=100 left_out=99",
        "a usual line",
    ]


@pytest.mark.parametrize("length", [10, 300, 1900, 5000, 50_000])
def test_no_remedy_is_cut(length):
    told = reason("failed: " + "x" * length + ": run `gms-hookd task sync app`")
    assert told.startswith('"failed: x')
    assert told.endswith(': run `gms-hookd task sync app`"')
    assert len(told) < 4100


def test_migration_backup_and_retention_say_what_they_did(store, tmp_path, caplog):
    caplog.set_level("INFO")
    store.backup(tmp_path / "copy.db")
    assert f"backup written file={tmp_path}/copy.db bytes=" in caplog.text
    new = deliveries.NewDelivery("h", "gms", "unix", 0)
    store.write(deliveries.record, new, 200, "x").result()
    assert store.write(maintenance.ping).result() is None
    old = tmp_path / "copy.db"
    store.close()
    downgrade(old)
    Store.open(old).close()
    assert "store migrated from=1 to=" in caplog.text


def downgrade(path):
    """Make a store of the first schema in the place of the copy."""
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        for statement in schema.STEPS[0]:
            db.execute(statement)
        db.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
        db.execute("PRAGMA user_version=1")
    db.close()
