"""What somebody does to the files of a store in use is noticed at the next commit."""

import ast
import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from gms_hookd.store import (
    Store,
    StoreError,
    Unavailable,
    dbthread,
    deliveries,
    maintenance,
    tasks,
)
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.files import Files
from tests.support.disk import overwrite

NOW = 1_700_000_000_000
NEW_DELIVERY = NewDelivery("task-sync", "gms", "192.0.2.1", NOW, "x" * 500)
OLD = "older.db"
CHECKPOINT_ROUNDS = int(os.environ.get("CHECKPOINT_ROUNDS", "300"))


@pytest.fixture
def used(store, tmp_path):
    """Give a store with content in the file and in its -wal, and an older copy."""
    fill(store, 200)
    store.alone(lambda db: db.execute("PRAGMA wal_checkpoint").fetchall()).result()
    shutil.copy(store.path, tmp_path / OLD)
    fill(store, 100)
    return store


def fill(store, count):
    entries = [
        deliveries.RecordedDelivery(NEW_DELIVERY, 200, f"reason {n}")
        for n in range(count)
    ]
    store.write(deliveries.record_all, entries).result()


def write(store):
    return store.write(deliveries.record, NEW_DELIVERY, 200, "one more").result()


def count(store):
    return store.read(deliveries.newest).result()


def held_write(store):
    store.turn.hold()
    future = store.write(deliveries.record, NEW_DELIVERY, 200, "held")
    store.turn.release()
    return future.result()


def beside(path, suffix):
    return path.with_name(path.name + suffix)


def restore_by_copying(path):
    shutil.copyfile(path.with_name(OLD), path)


def replace_by_renaming(path):
    shutil.copy(path.with_name(OLD), path.with_name("fresh"))
    path.with_name("fresh").rename(path)


def replace_folder(path):
    folder = path.parent
    shutil.copytree(folder.rename(f"{folder}-away"), folder)


MOVED = {
    "unlink": (lambda p: p.unlink(), "gms-hookd.db was removed"),
    "unlink -wal": (lambda p: beside(p, "-wal").unlink(), "-wal was removed"),
    "rename": (lambda p: p.rename(p.with_name("away")), "gms-hookd.db was removed"),
    "rename over": (replace_by_renaming, "gms-hookd.db was replaced"),
    "unlink all": (
        lambda p: [beside(p, s).unlink() for s in ("", "-wal", "-shm")],
        "gms-hookd.db was removed",
    ),
    "move folder": (
        lambda p: p.parent.rename(f"{p.parent}-away"),
        "gms-hookd.db was removed",
    ),
    "replace folder": (replace_folder, "gms-hookd.db was replaced"),
    "link": (
        lambda p: (p.rename(p.with_name("away")), p.symlink_to(OLD)),
        "gms-hookd.db was replaced",
    ),
}
SPOILT = {
    "copy over": (restore_by_copying, "gms-hookd.db was"),
    "truncate": (lambda p: os.truncate(p, 0), "gms-hookd.db was truncated"),
    "cut": (lambda p: os.truncate(p, 8192), "gms-hookd.db was truncated"),
    "append": (
        lambda p: overwrite(p, p.stat().st_size, b"more"),
        "gms-hookd.db was written to",
    ),
    "page": (lambda p: overwrite(p, 8192, bytes(4096)), "gms-hookd.db was written to"),
    "header": (lambda p: overwrite(p, 0, bytes(16)), "gms-hookd.db was written to"),
    "truncate -wal": (
        lambda p: os.truncate(beside(p, "-wal"), 0),
        "gms-hookd.db had its -wal truncated",
    ),
    "frame of -wal": (
        lambda p: overwrite(beside(p, "-wal"), 5000, b"\xff" * 300),
        "gms-hookd.db had its -wal written to",
    ),
}


@pytest.mark.parametrize(("act", "said"), MOVED.values(), ids=MOVED)
@pytest.mark.parametrize("commit", [write, held_write])
def test_a_file_that_is_gone_takes_no_more_and_is_still_read(used, act, said, commit):
    before = count(used)
    act(used.path)
    for _ in range(2):
        with pytest.raises(Unavailable, match=said):
            commit(used)
    assert count(used) == before


@pytest.mark.parametrize(("act", "said"), SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("commit", [write, held_write])
def test_a_file_that_was_written_into_is_not_used_any_more(used, act, said, commit):
    act(used.path)
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"{said}.*restore a backup"):
            commit(used)
    with pytest.raises(Unavailable, match=said):
        count(used)
    with pytest.raises(Unavailable, match=said):
        used.alone(lambda db: db.execute("PRAGMA incremental_vacuum")).result()


def test_a_file_that_is_put_back_is_used_again(used):
    used.path.rename(used.path.with_name("away"))
    with pytest.raises(Unavailable, match="removed"):
        write(used)
    used.path.with_name("away").rename(used.path)
    write(used)


@pytest.mark.parametrize("what", ["file", "-wal", "folder"])
def test_what_was_committed_while_they_were_away_is_no_damage(used, what):
    path, before = used.path, count(used)
    place = {"file": path, "-wal": beside(path, "-wal"), "folder": path.parent}[what]

    def write_elsewhere(db):
        place.rename(f"{place}-away")
        return deliveries.record(db, NEW_DELIVERY, 200, "elsewhere")

    with pytest.raises(Unavailable, match="removed"):
        used.write(write_elsewhere).result()
    with pytest.raises(Unavailable, match="removed"):
        write(used)
    place.with_name(f"{place.name}-away").rename(place)
    assert write(used) == count(used) == before + 2
    assert used.lost == ""
    overwrite(beside(path, "-wal"), 5000, b"\xff" * 300)
    with pytest.raises(Unavailable, match="written to"):
        write(used)


def test_what_is_committed_while_the_file_goes_is_not_confirmed(used):
    def vanish(db):
        used.path.unlink()
        return deliveries.record(db, NEW_DELIVERY, 200, "too late")

    with pytest.raises(Unavailable, match="removed"):
        used.write(vanish).result()


@pytest.mark.parametrize(("act", "said"), SPOILT.values(), ids=SPOILT)
def test_nothing_more_is_written_into_what_somebody_wrote(used, act, said):
    act(used.path)
    with pytest.raises(Unavailable, match=said):
        write(used)
    written = [beside(used.path, suffix) for suffix in ("", "-wal")]
    before = [path.read_bytes() for path in written]
    used.close()
    assert [path.read_bytes() for path in written] == before


def test_what_a_removed_wal_held_is_kept_by_a_stop(used):
    before = count(used)
    beside(used.path, "-wal").unlink()
    with pytest.raises(Unavailable, match="-wal was removed"):
        write(used)
    used.close()
    with contextlib.closing(Store.open(used.path)) as again:
        assert count(again) == before


@pytest.mark.parametrize(("act", "said"), MOVED.values(), ids=MOVED)
def test_what_was_removed_is_saved_by_a_backup(used, tmp_path_factory, act, said):
    before = count(used)
    act(used.path)
    with pytest.raises(Unavailable, match="gms-hookd backup FILE"):
        write(used)
    copy = tmp_path_factory.mktemp("copies") / "saved.db"
    used.backup(copy)
    with contextlib.closing(Store.open(copy)) as saved:
        assert count(saved) == before


def test_what_was_written_into_is_no_backup(used, tmp_path):
    os.truncate(used.path, 8192)
    with pytest.raises(Unavailable, match="truncated"):
        write(used)
    with pytest.raises(Unavailable, match="truncated"):
        used.backup(tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy.db*"))


def test_damage_that_sqlite_finds_is_the_end_of_its_use(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(Store.open(path)) as store:
        fill(store, 3000)
    with contextlib.closing(Store.open(path)) as store:
        write(store)
        when = path.stat().st_mtime_ns
        noise = random.Random(1)
        for page in range(30, 60):
            overwrite(path, page * 4096, noise.randbytes(4096))
        os.utime(path, ns=(when, when))
        with pytest.raises(StoreError, match="malformed"):
            store.read(
                lambda db: db.execute("SELECT * FROM deliveries").fetchall()
            ).result()
        with pytest.raises(Unavailable, match="was found damaged"):
            write(store)


def test_a_removed_shm_harms_nothing(used):
    before = count(used)
    beside(used.path, "-shm").unlink()
    assert write(used) == count(used) == before + 1
    used.close()
    with contextlib.closing(Store.open(used.path)) as again:
        assert count(again) == before + 1


def test_what_another_process_commits_is_no_damage(used):
    for suffix in ("", "; PRAGMA wal_checkpoint(TRUNCATE)"):
        with contextlib.closing(
            sqlite3.connect(used.path, isolation_level=None)
        ) as other:
            other.executescript(f"DELETE FROM deliveries WHERE id=1{suffix}")
        write(used)


CHANGED = {
    "table gone": "DROP TABLE seen",
    "index gone": "DROP INDEX runs_due",
    "trigger gone": "DROP TRIGGER by_hook_too",
    "other name": "ALTER TABLE tasks RENAME TO others",
    "one more column": "ALTER TABLE runs ADD COLUMN more",
    "migrated": "PRAGMA user_version=99",
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
@pytest.mark.parametrize("commit", [write, held_write])
def test_tables_that_another_process_has_changed_are_no_longer_used(
    used, change, commit
):
    with contextlib.closing(sqlite3.connect(used.path, isolation_level=None)) as other:
        other.execute(change)
    for _ in range(2):
        with pytest.raises(Unavailable, match="its tables changed by another process"):
            commit(used)
    assert "restore a backup" in used.lost


def test_tables_beside_ours_are_no_damage(used):
    with contextlib.closing(sqlite3.connect(used.path, isolation_level=None)) as other:
        for statement in (
            "CREATE TABLE _litestream_seq(id INTEGER PRIMARY KEY, seq INTEGER)",
            "CREATE INDEX to_look_around ON runs(commit_range)",
            "VACUUM",
            "DROP INDEX to_look_around",
        ):
            other.execute(statement)
            write(used)


def test_a_write_that_failed_is_known_until_one_is_committed(used):
    def most(db, pages):
        db.execute(f"PRAGMA max_page_count={pages}")

    assert used.failing == ""
    used.alone(most, 1).result()
    with pytest.raises(Unavailable, match="full"):
        fill(used, 10_000)
    assert "full" in used.failing
    used.write(maintenance.ping).result()
    assert "full" in used.failing, "nothing was written"
    used.alone(most, 1 << 30).result()
    used.write(maintenance.probe).result()
    assert used.failing == ""


OTHERS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    print(db.execute(line).fetchall(), flush=True)
"""


@contextlib.contextmanager
def another_process(path):
    """Have another process use the store by sqlite; give what does so."""
    command = (sys.executable, "-c", OTHERS, str(path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def do(statement):
            process.stdin.write(statement + "\n")
            process.stdin.flush()
            return ast.literal_eval(process.stdout.readline())

        yield do
        process.stdin.close()


def test_what_another_process_checkpoints_is_no_damage(used, monkeypatch):
    with another_process(used.path) as do:
        for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE") * 2:
            fill(used, 50)
            before = used.path.stat().st_mtime_ns
            assert do(f"PRAGMA wal_checkpoint({mode})")[0][0] == 0
            assert used.path.stat().st_mtime_ns > before
            write(used)
        # As a replicator does, which reads all the time.
        do("BEGIN")
        do("SELECT count(*) FROM deliveries")
        fill(used, 50)
        monkeypatch.setattr(dbthread, "BUSY_MS", 60_000)
        began = time.monotonic()
        used.alone(maintenance.shrink).result()
        assert time.monotonic() - began < 30
        do("COMMIT")
        do("PRAGMA wal_checkpoint(FULL)")
        write(used)
        overwrite(used.path, 8192, bytes(4096))
        with pytest.raises(Unavailable, match="was written to"):
            write(used)


def test_checkpoints_and_commits_of_another_process_come_at_any_moment(used):
    with another_process(used.path) as do:
        do("PRAGMA busy_timeout=60000")
        do("CREATE TABLE beats(n)")
        until = threading.Event()
        beside_us = threading.Thread(target=beat, args=(do, until))
        beside_us.start()
        try:
            for _ in range(CHECKPOINT_ROUNDS):
                fill(used, 3)
        finally:
            until.set()
            beside_us.join()


def beat(do, until):
    """Checkpoint and commit as a replicator does, again and again."""
    while not until.is_set():
        do("PRAGMA wal_checkpoint(PASSIVE)")
        do("INSERT INTO beats VALUES(1)")


def test_a_thread_that_opens_the_file_again_goes_on_with_that_file_only(tmp_path):
    path = tmp_path / "gms-hookd.db"
    for suffix in ("", "-wal"):
        beside(path, suffix).write_text("one")
    files = Files(path)
    files.note()
    beside(path, "-wal").unlink()
    path.write_text("checkpointed")
    files.reopen()
    assert files.problem(bool) == ""
    beside(path, "-new").write_text("checkpointed")
    beside(path, "-new").rename(path)
    files.reopen()
    assert "was replaced" in files.problem(bool)


def test_reading_and_saving_elsewhere_is_no_damage(used, tmp_path):
    write(used)
    shutil.copy(used.path, tmp_path / "copy")
    used.path.chmod(0o640)
    used.path.chmod(0o600)
    (tmp_path / "second-name").hardlink_to(used.path)
    with contextlib.closing(sqlite3.connect(used.path)) as other:
        other.execute("SELECT count(*) FROM deliveries").fetchone()
    write(used)
    used.write(tasks.every).result()
