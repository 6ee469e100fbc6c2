"""What `backup` writes, and where it refuses to."""

import os
import socket
import sqlite3


def test_a_backup_is_a_store_of_mode_0600_and_replaces_the_last(task, ok, tmp_path):
    file = tmp_path / "copy.db"
    for _ in range(2):
        ok("backup", file)
        assert file.stat().st_mode & 0o777 == 0o600
        copy = sqlite3.connect(file)
        assert copy.execute("SELECT name FROM tasks").fetchall() == [("mirror",)]
        copy.close()
    assert not list((tmp_path / "state").glob("backup-*"))
    assert not list(tmp_path.glob(".copy.db*"))


def test_a_backup_onto_the_store_is_refused(task, no, ok, tmp_path):
    state = tmp_path / "state"
    (tmp_path / "folder").symlink_to(state)
    (tmp_path / "link").symlink_to(state / "gms-hookd.db")
    (tmp_path / "second").hardlink_to(state / "gms-hookd.db")
    inode = (state / "gms-hookd.db").stat().st_ino
    for place in (
        state / "gms-hookd.db", tmp_path / "folder" / "gms-hookd.db", state / "lock",
        tmp_path / "link", tmp_path / "second", state / "gms-hookd.db-wal",
    ):  # fmt: skip
        assert "the store itself" in no("backup", place)[1]
    assert (state / "gms-hookd.db").stat().st_ino == inode
    assert (tmp_path / "link").is_symlink()
    assert "mirror" in ok("task", "list")


def test_a_backup_onto_what_is_no_file_leaves_that_in_its_place(task, no, tmp_path):
    pipe, end = tmp_path / "pipe", tmp_path / "end"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(end))
        for place in (pipe, end):
            assert "is not a regular file" in no("backup", place)[1]
        assert (pipe.is_fifo(), end.is_socket()) == (True, True)


def test_a_folder_that_is_not_there_is_named(task, no, tmp_path):
    line = no("backup", tmp_path / "none" / "copy.db")[1]
    assert line.endswith(
        f"{tmp_path}/none: is no directory: mkdir -p {tmp_path}/none\n"
    )
