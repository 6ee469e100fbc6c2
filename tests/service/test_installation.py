"""The steps of an installation, as values made from what a machine has."""

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gms_hookd.service import installation
from gms_hookd.service.installation import (
    Layout,
    Machine,
    Parts,
    install_plan,
    socket_unit,
    uninstall_plan,
)

BARE = Machine(
    user=False,
    sysusers=True,
    program=None,
    unit=None,
    socket=None,
    completion=None,
    configs=(),
    state=False,
    private=False,
    previous=None,
    unfinished=False,
)
NEW = Parts(Path("/root/gms-hookd.pyz"), b"new", b"unit", b"complete")
DONE = replace(
    BARE,
    user=True,
    program=b"new",
    unit=b"unit",
    completion=b"complete",
    configs=(Path("/etc/gms-hookd/config.toml"),),
    state=True,
)
OLD = replace(DONE, program=b"old")


def commands(machine, parts=NEW):
    return [step.command for step in install_plan(Layout(), machine, parts)]


def place(words, among):
    """Return where the one command is that begins so."""
    (found,) = [i for i, each in enumerate(among) if each.startswith(words)]
    return found


def test_a_bare_machine_gets_user_folders_files_and_a_service():
    steps = install_plan(Layout(), BARE, NEW)
    files = {str(step.file.path): step.file for step in steps if step.file}
    assert {path: (f.mode, f.group) for path, f in files.items()} == {
        "/usr/local/bin/gms-hookd": (0o755, "root"),
        "/etc/gms-hookd/config.toml": (0o640, "gms-hookd"),
        "/etc/systemd/system/gms-hookd.service": (0o644, "root"),
        "/usr/local/share/bash-completion/completions/gms-hookd": (0o644, "root"),
    }
    assert steps[0].command.startswith("systemd-sysusers --inline 'u gms-hookd ")
    assert steps[-1].command == "systemctl start gms-hookd.service"


def test_without_sysusers_the_user_is_made_by_useradd():
    assert commands(replace(BARE, sysusers=False))[0].startswith("useradd --system ")


def test_again_stops_and_replaces_nothing():
    steps = install_plan(Layout(), DONE, NEW)
    assert not [step for step in steps if step.file]
    assert not [step for step in steps if " stop " in step.command]


def test_an_upgrade_keeps_store_units_and_program_before_it_replaces_them():
    found = commands(OLD)
    kept = ("rm -rf /var/lib/gms-hookd.previous", "cp -a /etc/systemd")
    order = ("systemctl stop", *kept, "install -m 755", "systemctl start")
    places = [place(words, found) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("program", "previous", "keeps"),
    [(b"old", b"old", True), (b"other", b"old", False), (b"old", None, True)],
)
def test_an_upgrade_that_was_interrupted_keeps_what_was_before_it(
    program, previous, keeps
):
    machine = replace(OLD, program=program, previous=previous, unfinished=True)
    kept = [each for each in commands(machine) if each.startswith("rm -rf ")]
    assert bool(kept) == keeps


@pytest.mark.parametrize("linked", [True, False])
def test_the_state_of_a_transient_user_moves_once(linked):
    machine = replace(OLD, user=False, private=True, state=not linked)
    moved = [each for each in commands(machine) if " mv /var/lib/private/" in each]
    assert bool(moved) == linked


def test_the_socket_starts_before_its_service_and_after_both_have_stopped():
    found = commands(DONE, replace(NEW, listen=("127.0.0.1:38080",)))
    stop = place("systemctl stop gms-hookd.service", found)
    socket = place("systemctl start gms-hookd.socket", found)
    assert stop < socket < place("systemctl start gms-hookd.service", found)
    assert "systemctl enable gms-hookd.socket gms-hookd.service" in found


@pytest.mark.parametrize(
    ("listen", "stream"),
    [
        ("127.0.0.1:38080", "127.0.0.1:38080"),
        ("localhost:80", "127.0.0.1:80"),
        (":38080", "38080"),
        ("[::1]:80", "[::1]:80"),
        ("unix:/run/hook.sock", "/run/hook.sock"),
    ],
)
def test_a_listener_is_written_as_systemd_wants_it(listen, stream):
    assert f"\nListenStream={stream}\n" in socket_unit([listen]).decode()


def test_uninstalling_keeps_what_users_made():
    found = " ".join(s.command for s in uninstall_plan(Layout(), DONE, purge=False))
    assert "/etc/gms-hookd" not in found
    assert "/var/lib/gms-hookd" not in found
    assert "userdel" not in found


def test_purging_takes_the_user_last():
    found = [s.command for s in uninstall_plan(Layout(), DONE, purge=True)]
    assert found[-1] == "userdel gms-hookd"


def test_uninstalling_what_is_not_there_is_no_error(tmp_path):
    found = uninstall_plan(Layout(tmp_path), BARE, purge=True)
    assert not [step for step in found if "systemctl" in step.command]


@pytest.mark.parametrize("parts", [NEW, replace(NEW, listen=(":1",), archive=None)])
@pytest.mark.parametrize("machine", [BARE, OLD, replace(BARE, private=True)])
def test_the_steps_by_hand_are_a_script_that_the_shell_reads(machine, parts):
    script = "\n".join(commands(machine, parts))
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert shlex.quote(str(Layout().program)) in script


def test_what_is_looked_at_is_what_is_there(tmp_path):
    layout = Layout(tmp_path, "root")
    assert installation.look(layout).program is None
    for folder in (layout.etc, layout.program.parent, layout.private):
        folder.mkdir(parents=True)
    layout.program.write_bytes(b"old")
    (layout.etc / "config.yaml").touch()
    os.symlink("private/gms-hookd", layout.state)
    found = installation.look(layout)
    assert (found.user, found.program, found.state) == (True, b"old", False)
    assert found.private
    assert found.configs == (layout.etc / "config.yaml",)


def test_the_last_words_of_the_service_are_the_reason():
    said = "Starting\ngms-hookd: old\ngms-hookd: broken: mend it\nFailed to start\n"
    assert installation.reason(said) == "broken: mend it"
    assert installation.reason("Failed to start\n") == ""
