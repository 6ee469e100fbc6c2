"""The state directory: private, and held by one process at a time."""

import os

import pytest

from gms_hookd.service.state_dir import StateBusy, StateDirectory, StateError


def test_it_is_made_for_us_alone(tmp_path):
    state = StateDirectory.open(tmp_path / "a" / "b")
    assert state.path.stat().st_mode & 0o777 == 0o700
    assert state.caches.is_dir()
    state.close()


def snapshot(folder):
    """Tell modes and contents of a folder and all that is in it."""
    found = [folder, *sorted(folder.rglob("*"))]
    return [(p, p.lstat().st_mode, p.is_file() and p.read_bytes()) for p in found]


def refused(path, expected):
    """Open what cannot be a state directory; it must stay as it is."""
    before = snapshot(path)
    with pytest.raises(StateError, match=r"^[^\n]+$") as refusal:
        StateDirectory.open(path)
    assert expected in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert snapshot(path) == before


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o1777, 0o770])
def test_what_others_could_use_is_refused_and_not_changed(tmp_path, mode):
    tmp_path.chmod(mode)
    refused(tmp_path, f"mode {mode:04o}): chmod 700 {tmp_path}")


def test_a_state_directory_that_was_opened_later_is_refused(tmp_path):
    StateDirectory.open(tmp_path).close()
    (tmp_path / "gms-hookd.db").touch()
    tmp_path.chmod(0o755)
    refused(tmp_path, "open to others")
    tmp_path.chmod(0o700)
    StateDirectory.open(tmp_path).close()


def test_a_link_does_not_hide_what_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StateError, match="open to others"):
        StateDirectory.open(tmp_path / "link")
    assert snapshot(tmp_path / "real") == [(tmp_path / "real", 0o40755, False)]


@pytest.mark.parametrize("name", ["other", "notes.txt", ".git", "gms-hookd.dbx"])
@pytest.mark.parametrize("mode", [0o700, 0o1777])
def test_a_folder_of_something_else_is_refused_and_not_changed(tmp_path, name, mode):
    (tmp_path / name).write_text("precious")
    tmp_path.chmod(mode)
    refused(tmp_path, f"({name}): name another directory")


def test_only_a_few_outsiders_are_named(tmp_path):
    for number in range(9):
        (tmp_path / f"file{number}").mkdir()
    refused(tmp_path, "(file0, file1, file2, ...)")


@pytest.mark.parametrize("name", ["gms-hookd.db", "gms-hookd.db-wal", "lock"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_place_of_our_file_is_refused(tmp_path, name, there):
    victim, state = tmp_path / "victim", tmp_path / "state"
    state.mkdir(mode=0o700)
    if there:
        victim.write_text("precious\n")
    (state / name).symlink_to(victim)
    refused(state, name)
    assert victim.exists() is there


@pytest.mark.parametrize("name", ["gms-hookd.db", "lock", "webhook-secret"])
def test_a_pipe_in_the_place_of_our_file_holds_up_nobody(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(tmp_path, name)


def test_a_lock_that_was_removed_is_noticed(tmp_path):
    state = StateDirectory.open(tmp_path)
    assert state.is_held()
    (tmp_path / "lock").unlink()
    assert not state.is_held()
    (tmp_path / "lock").touch()
    assert not state.is_held()
    state.close()


@pytest.mark.parametrize("name", ["caches", "home"])
def test_a_file_in_the_place_of_our_folder_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    refused(tmp_path, name)


def test_what_was_prepared_for_us_and_lies_beside_the_store_is_let_be(tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "webhook-secret").write_text("0" * 64)
    (tmp_path / "state" / "lost+found").mkdir()
    (tmp_path / "state" / "caches").symlink_to(tmp_path / "large")
    StateDirectory.open(tmp_path / "state").close()
    (tmp_path / "state" / "gms-hookd.db").touch()
    (tmp_path / "state" / "a-note-of-the-operator").touch()
    StateDirectory.open(tmp_path / "state").close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_users_state_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    refused(tmp_path, "belongs to user 0")


def test_one_process_holds_it_at_a_time(tmp_path):
    held = StateDirectory.open(tmp_path)
    with pytest.raises(StateBusy, match="another gms-hookd"):
        StateDirectory.open(tmp_path)
    held.close()
    StateDirectory.open(tmp_path).close()


def test_a_refusal_leaks_no_descriptor(tmp_path):
    held = StateDirectory.open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(StateBusy):
            StateDirectory.open(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    held.close()


def test_a_file_in_its_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"^[^\n]+$"):
        StateDirectory.open(tmp_path / "file")
