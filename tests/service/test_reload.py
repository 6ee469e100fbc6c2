"""A reload that was asked for tells whoever asked what became of it."""

import signal
import subprocess
import sys

import pytest

from gms_hookd.errors import Conflict
from gms_hookd.service.daemon import ReloadRequests
from tests.support.process import ROOT, SECRET, ask

RELOAD = "/api/v1/sync/reload"


def reload(daemon):
    command = [sys.executable, "-m", "gms_hookd", "reload", "--state", daemon.state]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=daemon.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout, done.stderr


def junk(folder):
    """Write what is neither a certificate nor a key."""
    for name in ("cert.pem", "key.pem"):
        (folder / name).write_text("junk\n")
        (folder / name).chmod(0o600)
    cert, key = folder / "cert.pem", folder / "key.pem"
    return f'tls_cert = "{cert}"\ntls_key = "{key}"'


def test_the_command_waits_until_the_configuration_is_in_use(daemon):
    daemon.start()
    daemon.configure(secret="another-secret-of-the-test")
    assert reload(daemon) == (0, "configuration reloaded\n", "")
    assert daemon.trigger(1)[0] == 401
    assert daemon.trigger(1, secret="another-secret-of-the-test")[0] == 404


def test_what_needs_a_restart_is_named(daemon):
    daemon.start()
    daemon.configure("[sync]\nworkers = 3")
    said = "configuration reloaded\nin use only after a restart: sync.workers\n"
    assert reload(daemon) == (0, said, "")


@pytest.mark.parametrize(
    ("text", "named"),
    [("[server\nno toml", "config.toml"), ("[sync]\nworkerz = 1", "sync.workerz")],
)
def test_a_configuration_that_is_refused_fails_and_says_why(daemon, text, named):
    daemon.start()
    daemon.configure(text, secret="another-secret-of-the-test")
    status, out, err = reload(daemon)
    assert (status, out) == (1, "")
    assert "the old configuration stays" in err
    assert named in err
    assert daemon.trigger(1, secret=SECRET)[0] == 404
    daemon.configure()
    assert reload(daemon)[0] == 0


def test_a_certificate_that_is_none_is_refused_by_a_reload(daemon, tmp_path):
    daemon.start()
    daemon.configure(junk(tmp_path))
    status, _, err = reload(daemon)
    assert status == 1
    assert "server.tls_cert" in err


def test_a_certificate_that_is_none_is_configuration_at_the_start(daemon, tmp_path):
    daemon.configure(junk(tmp_path))
    daemon.spawn()
    assert daemon.wait() == 2
    assert "server.tls_cert" in daemon.log()


def test_nobody_asks_for_a_reload_over_the_network(daemon):
    daemon.configure('[api]\ntoken = "a-token-of-the-test-0123456789"')
    daemon.start()
    bearer = {"Authorization": "Bearer a-token-of-the-test-0123456789"}
    assert ask(daemon.socket, "POST", RELOAD, b"{}", bearer)[0] == 403
    assert ask(daemon.state / "control.sock", "GET", RELOAD)[0] == 405


def test_without_a_daemon_there_is_nothing_to_reload(daemon):
    status, _, err = reload(daemon)
    assert (status, err.count("\n")) == (1, 1)
    assert "systemctl start gms-hookd" in err


def test_a_reload_that_comes_too_late_is_told_so():
    woken = []
    requests = ReloadRequests(lambda: woken.append(signal.SIGHUP))
    asked = requests.ask()
    requests.refuse()
    assert woken == [signal.SIGHUP]
    assert not isinstance(asked.exception(0), Conflict)
    assert str(asked.exception(0)) == "shutting down"
