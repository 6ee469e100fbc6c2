"""The state directory: private, and held by one process at a time."""

import os

import pytest

from gms_hookd.state import State, StateBusy, StateError


def test_it_is_made_for_us_alone(tmp_path):
    state = State.open(tmp_path / "a" / "b")
    assert state.path.stat().st_mode & 0o777 == 0o700
    assert state.caches.is_dir()
    state.close()


def test_what_others_could_read_is_closed_to_them(tmp_path):
    tmp_path.chmod(0o755)
    State.open(tmp_path).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_one_process_holds_it_at_a_time(tmp_path):
    held = State.open(tmp_path)
    with pytest.raises(StateBusy, match="another gms-hookd"):
        State.open(tmp_path)
    held.close()
    State.open(tmp_path).close()


def test_a_refusal_leaks_no_descriptor(tmp_path):
    held = State.open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(StateBusy):
            State.open(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    held.close()


def test_a_file_in_its_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"^[^\n]+$"):
        State.open(tmp_path / "file")
