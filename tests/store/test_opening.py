"""A file that is not a sound store of ours is refused untouched."""

import contextlib
import os
import random
import shutil
import sqlite3

import pytest

from gms_hookd.store import (
    Store,
    StoreError,
    deliveries,
    maintenance,
    schema,
    tasks,
)
from tests.support.disk import overwrite
from tests.support.queue import NOW, add, draft, trigger


@pytest.mark.parametrize(
    "content",
    [b"not a database", b"SQLite format 3\0" + bytes(2000), b"\xff" * 4096],
    ids=["text", "no-application", "garbage"],
)
def test_a_foreign_file_is_refused_untouched(tmp_path, content):
    path = tmp_path / "gms-hookd.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="move it away"):
        Store.open(path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["gms-hookd.db"]


def test_another_programs_database_is_refused_untouched(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs(x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a store of gms-hookd"):
        Store.open(path)
    assert path.read_bytes() == before


def files_of(path):
    """Tell what is in the file, its -wal and its -shm."""
    return {p.name: p.read_bytes() for p in path.parent.glob(f"{path.name}*")}


@pytest.fixture
def killed(tmp_path):
    """Make the files that a kill leaves: triggers are in the -wal only."""
    place, left = tmp_path / "living", tmp_path / "left"
    place.mkdir()
    with contextlib.closing(Store.open(place / "gms-hookd.db")) as store:
        many = [draft(f"t{n}", f"c{n}") for n in range(200)]
        store.write(lambda db: [tasks.add(db, each, NOW) for each in many]).result()
        store.alone(maintenance.shrink).result()
        trigger(store)
        shutil.copytree(place, left)
    return left / "gms-hookd.db"


def damage_a_page(path):
    # One that the -wal does not have, whose content sqlite looks at in a quick check.
    frames = path.with_name(f"{path.name}-wal").read_bytes()[32:]
    newer = {frames[at : at + 4] for at in range(0, len(frames), 4096 + 24)}
    pages = range(3, path.stat().st_size // 4096 + 1)
    old = [n for n in pages if n.to_bytes(4, "big") not in newer]
    overwrite(path, (old[len(old) // 2] - 1) * 4096, random.Random(1).randbytes(4096))


def make_newer(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version={len(schema.STEPS) + 1}")
        shutil.copytree(path.parent, path.parent.with_name("newer"))
    shutil.copytree(path.parent.with_name("newer"), path.parent, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (damage_a_page, "damaged"),
        (lambda path: overwrite(path, 0, b"\0" * 100), "not a sqlite3 file"),
        (lambda path: overwrite(path, 20, b"\xff" * 80), "damaged|not a sqlite3"),
        (lambda path: os.truncate(path, 0), "is empty, but not its -wal"),
        (lambda path: os.truncate(path, 4096), "damaged"),
        (lambda path: path.unlink(), "is missing, but not its -wal"),
        (make_newer, "newer gms-hookd"),
    ],
)
@pytest.mark.parametrize("shm", [True, False])
def test_a_refused_start_changes_no_byte_of_any_file(killed, fault, why, shm):
    fault(killed)
    if not shm:
        killed.with_name(f"{killed.name}-shm").unlink()
    before = files_of(killed)
    assert len(before[f"{killed.name}-wal"]) > 0
    with pytest.raises(StoreError, match=f"^[^\n]*({why})[^\n]*$"):
        Store.open(killed)
    assert files_of(killed) == before


@pytest.mark.parametrize("shm", [True, False])
def test_what_a_kill_left_is_all_there(killed, shm):
    if not shm:
        killed.with_name(f"{killed.name}-shm").unlink()
    with contextlib.closing(Store.open(killed)) as store:
        assert len(store.read(tasks.every).result()) == 200
        assert store.read(deliveries.newest).result() == 1


def test_a_start_that_was_cut_off_before_the_first_step_is_begun_again(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
    assert path.stat().st_size > 0
    Store.open(path).close()


def test_a_newer_store_is_refused_untouched(tmp_path):
    path = tmp_path / "gms-hookd.db"
    Store.open(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version={len(schema.STEPS) + 1}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer gms-hookd"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_damaged_store_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with contextlib.closing(Store.open(path)) as store:
        for number in range(50):
            add(store, f"t{number}", f"c{number}")
    content = bytearray(path.read_bytes())
    content[8192:20000] = b"\xee" * (20000 - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        Store.open(path)
