"""A reload that was asked for tells whoever asked what became of it."""

import signal
import subprocess
import sys

import pytest

from gms_hookd.cli import main
from gms_hookd.errors import Conflict
from gms_hookd.service.daemon import ReloadRequests
from tests.support.process import ROOT, SECRET, Daemon, ask
from tests.support.seen import search

RELOAD = "/api/v1/sync/reload"
TOKEN = "a-token-of-the-test-0123456789"
USUAL = f'[api]\ntoken = "{TOKEN}"'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Give one daemon for all: what a reload takes over the next one takes back."""
    home = tmp_path_factory.mktemp("home")
    made = Daemon(home)
    made.configure(USUAL)
    yield made.start()
    made.close()
    search(home)


@pytest.fixture
def reload(running, capsys):
    """Have the command done; return its status, stdout and stderr."""

    def reload():
        running.forget()  # the daemon would wait for a manager that reads nothing
        status = main.main(["reload", "--state", str(running.state)])
        return status, *capsys.readouterr()

    yield reload
    running.configure(USUAL)
    assert reload()[0] == 0


def junk(folder):
    """Write what is neither a certificate nor a key."""
    for name in ("cert.pem", "key.pem"):
        (folder / name).write_text("junk\n")
        (folder / name).chmod(0o600)
    cert, key = folder / "cert.pem", folder / "key.pem"
    return f'tls_cert = "{cert}"\ntls_key = "{key}"'


def test_nobody_asks_for_a_reload_over_the_network(running):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(running.socket, "POST", RELOAD, b"{}", bearer)[0] == 403
    assert ask(running.state / "control.sock", "GET", RELOAD)[0] == 405


def test_the_command_waits_until_the_configuration_is_in_use(running, reload):
    running.configure(secret="another-secret-of-the-test")
    assert reload() == (0, "configuration reloaded\n", "")
    assert running.trigger(1)[0] == 401
    assert running.trigger(1, secret="another-secret-of-the-test")[0] == 404


def test_what_needs_a_restart_is_named(running, reload):
    running.configure("[sync]\nworkers = 3")
    said = "configuration reloaded\nin use only after a restart: sync.workers\n"
    assert reload() == (0, said, "")


@pytest.mark.parametrize(
    ("text", "named"),
    [("[server\nno toml", "config.toml"), ("[sync]\nworkerz = 1", "sync.workerz")],
)
def test_a_configuration_that_is_refused_fails_and_says_why(
    running, reload, text, named
):
    running.configure(text, secret="another-secret-of-the-test")
    status, out, err = reload()
    assert (status, out) == (1, "")
    assert "the old configuration stays" in err
    assert named in err
    assert running.trigger(1, secret=SECRET)[0] == 404


def test_a_certificate_that_is_none_is_refused_by_a_reload(running, reload, tmp_path):
    running.configure(junk(tmp_path))
    status, _, err = reload()
    assert status == 1
    assert "server.tls_cert" in err


def test_a_certificate_that_is_none_is_configuration_at_the_start(daemon, tmp_path):
    daemon.configure(junk(tmp_path))
    daemon.spawn()
    assert daemon.wait() == 2
    assert "server.tls_cert" in daemon.log()


def test_without_a_daemon_there_is_nothing_to_reload(daemon):
    command = [sys.executable, "-m", "gms_hookd", "reload", "--state", daemon.state]
    given = {"capture_output": True, "text": True, "env": daemon.environ, "cwd": ROOT}
    done = subprocess.run(command, check=False, **given)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "systemctl start gms-hookd" in done.stderr


def test_a_reload_that_comes_too_late_is_told_so():
    woken = []
    requests = ReloadRequests(lambda: woken.append(signal.SIGHUP))
    asked = requests.ask()
    requests.refuse()
    assert woken == [signal.SIGHUP]
    assert not isinstance(asked.exception(0), Conflict)
    assert str(asked.exception(0)) == "shutting down"
