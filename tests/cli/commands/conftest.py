"""A command line in this process, and a daemon for it in another."""

import re

import pytest

from gms_hookd.cli import main
from tests.support.command_line import SECRET, serving
from tests.support.hosts import free_port
from tests.support.repositories import Repo
from tests.support.seen import look


@pytest.fixture
def environ(tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text(f'[webhook]\nsecret = "{SECRET}"\n')
    config.chmod(0o600)
    monkeypatch.setenv("GMS_HOOKD_CONFIG", str(config))
    monkeypatch.setenv("GMS_HOOKD_STATE", str(tmp_path / "state"))
    for name in ("WEBHOOK_SECRET", "CREDENTIALS_DIRECTORY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def run(environ, capsys):
    """Carry out a command in this process; return (status, stdout, stderr)."""

    def carried_out(*arguments):
        status = main.main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        look(f"output of {arguments}", out + err)
        return status, out, err

    return carried_out


@pytest.fixture
def ok(run):
    """Carry out a command that must work; return what it printed."""

    def printed(*arguments):
        status, out, err = run(*arguments)
        assert (status, err) == (0, ""), (out, err)
        return out

    return printed


@pytest.fixture
def no(run):
    """Carry out a command that must fail; return its status and its one line."""

    def complaint(*arguments):
        status, _, err = run(*arguments)
        assert re.fullmatch(r"gms-hookd: [^\n]+\n", err)
        return status, err

    return complaint


@pytest.fixture
def sides(tmp_path):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit("main")
    return source, target


@pytest.fixture
def task(ok, sides):
    source, target = sides
    added = ok("task", "add", "mirror", "--source", source, "--target", target)
    assert added == "1\n"
    return source, target


@pytest.fixture
def daemon(environ, tmp_path):
    port = free_port()
    text = environ.read_text() + f'[server]\nlisten = ["127.0.0.1:{port}"]\n'
    environ.write_text(text)
    with serving(tmp_path / "state", port) as running:
        running.url = f"http://127.0.0.1:{port}/api/webhooks/task-sync"
        yield running
