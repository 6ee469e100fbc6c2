"""The zipapp: built as the README says, the same bytes each time, run as a process."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from gms_hookd import __version__, pyz

ROOT = Path(__file__).parent.parent
BUILD = "python3 -m gms_hookd.pyz"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("pyz") / "gms-hookd.pyz")


def build(source, file, **options):
    command = [sys.executable, *BUILD.split()[1:], str(file)]
    subprocess.run(command, cwd=source, check=True, **options)
    return file


def run(file, *words, **options):
    command = [sys.executable, "-I", str(file), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, **options
    )
    return done.returncode, done.stdout, done.stderr


def test_an_installed_package_has_every_file_that_the_archive_has():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["tool"]["setuptools"]["package-data"]["gms_hookd"]
    package = ROOT / "gms_hookd"
    installed = {path for each in wanted for path in package.glob(each)}
    texts = {path for path in pyz.sources(package) if path.suffix != ".py"}
    there = {
        path for path in package.rglob("*.*") if path.suffix not in (".py", ".pyc")
    }
    assert installed == texts == there


def test_the_readme_names_the_command():
    assert f"\n{BUILD}\n" in (ROOT / "README.md").read_text()


def test_two_builds_are_the_same_bytes_wherever_and_whenever(built, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    package = elsewhere / "gms_hookd"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gms_hookd", package, ignore=ignore)
    for number, path in enumerate(sorted(package.rglob("*.py"), reverse=True)):
        os.utime(path, (number, number))
        path.chmod(0o640 + number % 2)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "old.pyc").touch()
    environ = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    again = build(elsewhere, tmp_path / "again.pyz", umask=0o077, env=environ)
    assert again.read_bytes() == built.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o755


def test_it_holds_the_sources_and_what_is_made_of_them_and_nothing_else(built):
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    package = {p.relative_to(ROOT).as_posix() for p in pyz.sources(ROOT / "gms_hookd")}
    compiled = {f"{name}c" for name in package if name.endswith(".py")}
    assert set(names) == package | compiled | {"__main__.py", "__main__.pyc"}
    assert built.read_bytes().startswith(b"#!/usr/bin/env python3\n")


def test_it_runs_alone_and_its_exit_statuses_survive(built, tmp_path):
    assert run(built, "--version") == (0, f"gms-hookd {__version__}\n", "")
    state = ("--state", str(tmp_path / "state"))
    assert run(built, "task", "list", *state)[:2] == (0, "no tasks\n")
    assert run(built, "task", "show", "1", *state)[0] == 1
    status, out, err = run(built, "nope")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_ctrl_c_while_it_is_being_loaded_is_no_traceback(tmp_path):
    shutil.copytree(ROOT / "gms_hookd", tmp_path / "gms_hookd")
    (tmp_path / "gms_hookd/cli/main.py").write_text("raise KeyboardInterrupt\n")
    assert run(build(tmp_path, tmp_path / "x.pyz"), "--version") == (130, "", "")
    module = [sys.executable, "-m", "gms_hookd"]
    done = subprocess.run(module, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_the_python_that_built_it_compiles_nothing_at_the_start(built):
    code = f"""if True:
        import sys, zipimport
        def refuse(*_):
            raise AssertionError("compiled")
        zipimport._compile_source = refuse
        sys.path.insert(0, {str(built)!r})
        import gms_hookd.cli
        print(gms_hookd.cli.__spec__.loader.archive)
    """
    said = subprocess.check_output([sys.executable, "-I", "-c", code], text=True)
    assert said == f"{built}\n"


def test_another_python_takes_the_sources(built, tmp_path):
    strange = tmp_path / "strange.pyz"
    with zipfile.ZipFile(built) as old, zipfile.ZipFile(strange, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            changed = b"\0\0\r\n" + content[4:] if name.endswith("c") else content
            new.writestr(name, changed)
    assert run(strange, "--version") == (0, f"gms-hookd {__version__}\n", "")


def test_it_is_executable_as_it_is(built):
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    said = subprocess.check_output([built, "--version"], env=environ, text=True)
    assert said == f"gms-hookd {__version__}\n"


def test_the_demo_runs_from_it(built):
    status, out, _ = run(built, "demo", "--once")
    assert status == 0
    assert "Sync triggered successfully" in out


def test_a_build_that_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "taken").mkdir()
    assert pyz.main([str(tmp_path / "taken")]) == 1
    assert pyz.main([str(tmp_path / "none" / "x.pyz")]) == 1
    os.mkfifo(tmp_path / "pipe")
    assert pyz.main([str(tmp_path / "pipe")]) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"taken", "pipe"}
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_below_a_folder_of_root_s_it_works_for_the_service(built, open_place):
    """What is loaded once root's rights are given up could not be read."""
    state, home = open_place / "state", open_place / "root"
    for folder in (state, home):
        folder.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    program = shutil.copy(built, home)
    where = ("--state", str(state))
    assert run(program, "task", "list", *where) == (0, "no tasks\n", "")
    assert run(program, "backup", str(home / "copy"), *where) == (0, "", "")
    assert run(program, "hook", "list", *where)[::2] == (0, "")
