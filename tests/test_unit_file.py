"""The unit file as systemd reads it; what needs systemd is skipped without it."""

import pkgutil
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "gms-hookd.service"
analyze = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(not analyze, reason="no systemd-analyze here")


@pytest.fixture(scope="module")
def settings():
    """Every `Key=value` line, in order."""
    lines = UNIT.read_text().splitlines()
    return [tuple(x.split("=", 1)) for x in lines if re.match(r"[A-Z]\w+=", x)]


def values(settings, key):
    return [value for name, value in settings if name == key]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("ExecStart", "/usr/local/bin/gms-hookd serve"),
        ("ExecReload", "/usr/local/bin/gms-hookd reload"),
        ("User", "gms-hookd"),
        ("StateDirectory", "gms-hookd"),
        ("StateDirectoryMode", "0700"),
        ("KillMode", "mixed"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
    ],
)
def test_the_unit_says_it_once(settings, key, value):
    assert values(settings, key) == [value]


def test_the_user_is_a_lasting_one(settings):
    assert values(settings, "DynamicUser") == []


def test_git_may_set_the_group_bit_on_folders_of_a_shared_target(settings):
    assert values(settings, "RestrictSUIDSGID") == []


def test_the_package_brings_the_same_bytes():
    name = "service/gms-hookd.service"
    assert pkgutil.get_data("gms_hookd", name) == UNIT.read_bytes()


def test_the_watchdog_is_on(settings):
    assert int(values(settings, "WatchdogSec")[0]) > 0


def test_credentials_may_be_absent(settings):
    # systemd refuses to start a unit whose absolute credential path does not exist.
    sources = dict(v.split(":") for v in values(settings, "LoadCredential"))
    assert sources.keys() == {"webhook-secret", "api-token", "ssh-key", "tls-key"}
    assert not any(source.startswith("/") for source in sources.values())


def ask(*arguments):
    done = subprocess.run(
        [analyze, *arguments], capture_output=True, text=True, check=False
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is too old")
    return done


@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path):
    program, unit = tmp_path / "gms-hookd", tmp_path / "gms-hookd.service"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/gms-hookd", str(program)))
    done = ask("verify", "--man=no", unit)
    complaints = [x for x in done.stderr.splitlines() if "gms-hookd.service" in x]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
def test_the_exposure_is_at_most_1_2():
    done = ask("security", "--offline=true", "--no-pager", UNIT)
    level = re.search(r"Overall exposure level.*: (\d+\.\d)", done.stdout)
    assert float(level[1]) <= 1.2
