"""Install, upgrade and uninstall below a folder; the service there is a real daemon.

`systemctl` is a stand-in that starts and stops it as systemd would.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gms_hookd import pyz
from gms_hookd.cli.install import Installer
from gms_hookd.cli.main import main
from gms_hookd.errors import ConfigError, Failure
from gms_hookd.service.installation import Layout

SYSTEMCTL = """\
#!/bin/sh
# What systemd does with a unit of Type=notify, as far as an installation needs it.
echo "$@" >>{root}/systemctl.log
case $1 in
stop|disable) test ! -e {root}/pid || exec {python} {root}/systemd.py stop ;;
start) case $2 in *.service) exec {python} {root}/systemd.py start ;; esac ;;
esac
"""
SYSTEMD = """\
import os, signal, socket, subprocess, sys
root = {root!r}
pid, log = root + "/pid", open(root + "/journal", "ab")
def stop():
    number = int(open(pid).read())
    os.unlink(pid)
    try:
        handle = os.pidfd_open(number)
    except ProcessLookupError:
        return
    signal.pidfd_send_signal(handle, signal.SIGTERM)
    import select
    select.select([handle], [], [], 30)
def start():
    if os.path.exists(pid):
        return 0
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.settimeout(0.1)
    name = "\\0gms-hookd-install-%d" % os.getpid()
    end.bind(name)
    environ = {{"PATH": os.environ["PATH"], "NOTIFY_SOCKET": "@" + name[1:],
               "STATE_DIRECTORY": root + "/var/lib/gms-hookd",
               "GMS_HOOKD_CONFIG": root + "/etc/gms-hookd/config.toml"}}
    argv = [{python!r}, root + "/usr/local/bin/gms-hookd", "serve"]
    child = subprocess.Popen(argv, env=environ, stdout=log, stderr=log,
                             start_new_session=True)
    while child.poll() is None:
        try:
            if b"READY=1" in end.recv(4096):
                open(pid, "w").write(str(child.pid))
                return 0
        except TimeoutError:
            pass
    return 1
sys.exit(globals()[sys.argv[1]]())
"""
JOURNALCTL = "#!/bin/sh\ncat {root}/journal\n"
BROKEN = 'import sys\nsys.exit("gms-hookd: this build cannot start")\n'


class Place:
    """A machine below a folder."""

    def __init__(self, root, archive):
        self.root = root
        self.layout = Layout(root, "root")
        self.said = []
        (root / "run/systemd/system").mkdir(parents=True)
        (root / "bin").mkdir()
        given = {"root": str(root), "python": sys.executable}
        (root / "systemd.py").write_text(SYSTEMD.format(**given))
        for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
            (root / "bin" / name).write_text(text.format(**given))
            (root / "bin" / name).chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.layout.etc.mkdir(parents=True)
        config = f'[server]\nlisten = ["127.0.0.1:{port}"]\n'
        (self.layout.etc / "config.toml").write_text(config)
        self.next(archive)

    def next(self, archive):
        """Install this from now on."""
        self.installer = Installer(
            self.said.append,
            self.layout,
            f"{self.root}/bin:{os.defpath}",
            lambda: (Path("/x.pyz"), archive),
        )

    def install(self):
        return self.installer.install(socket=False, dry_run=False)

    def asked(self):
        """Return what systemctl was asked for since the last time."""
        log = self.root / "systemctl.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines

    def pid(self):
        return int((self.root / "pid").read_text())

    def command(self, *words):
        """Run the program that is installed."""
        where = (
            "--state",
            self.layout.state,
            "--config",
            self.layout.etc / "config.toml",
        )
        command = [sys.executable, self.layout.program, *words, *where]
        return subprocess.check_output(command, text=True)

    def close(self):
        if (self.root / "pid").exists():
            subprocess.run([self.root / "bin/systemctl", "stop"], check=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    file = tmp_path_factory.mktemp("built") / "gms-hookd.pyz"
    pyz.build(file)
    return file


@pytest.fixture
def place(tmp_path, built):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Place(tmp_path, built.read_bytes())
    yield made
    made.close()


def modes(*paths):
    return [oct(path.stat().st_mode & 0o7777) for path in paths]


def test_it_installs_once_upgrades_and_removes(place):
    layout = place.layout
    assert place.install() == 0
    assert modes(layout.program, layout.state, layout.etc) == [
        "0o755",
        "0o700",
        "0o750",
    ]
    assert modes(layout.etc / "config.toml") == ["0o640"]
    first = place.pid()
    place.asked()

    place.install()  # again: nothing stops
    assert place.pid() == first
    assert "stop gms-hookd.service" not in place.asked()

    place.command("task", "add", "app", "--source", "/x", "--target", "/y")
    good = layout.program.read_bytes()
    old = good + b"\0"  # the same archive with another end
    layout.program.write_bytes(old)
    place.install()
    assert place.asked()[0] == "stop gms-hookd.service"
    assert layout.previous.read_bytes() == old
    assert layout.program.read_bytes() == good
    assert (layout.kept / "gms-hookd.db").exists()
    assert not layout.unfinished.exists()
    assert '"app"' in place.command("task", "list", "--json")

    place.installer.uninstall(purge=False, dry_run=False)
    assert not layout.program.exists()
    assert layout.state.is_dir()
    place.installer.uninstall(purge=False, dry_run=False)
    shutil.rmtree(layout.kept)


MIGRATES = """\
import os, sqlite3, sys
db = sqlite3.connect(os.environ["STATE_DIRECTORY"] + "/gms-hookd.db")
db.execute("PRAGMA user_version = 999")
db.commit()
"""


def test_an_upgrade_that_does_not_start_is_taken_back(place):
    place.install()
    place.command("task", "add", "app", "--source", "/x", "--target", "/y")
    good = place.layout.program.read_bytes()
    place.next((MIGRATES + BROKEN).encode())
    with pytest.raises(Failure, match="this build cannot start: the old program"):
        place.install()
    assert place.layout.program.read_bytes() == good
    assert not place.layout.unfinished.exists()
    assert '"app"' in place.command("task", "list", "--json")
    os.kill(place.pid(), 0)


class Cut(Installer):
    """An installer that is interrupted after it has said so many things."""

    __slots__ = ()

    def _do(self, step):
        if step.what.startswith(CUTS[0]):
            raise KeyboardInterrupt
        super()._do(step)


CUTS = ["keep the old program", "make the folder of the conf", "start gms-hookd"]


def test_an_upgrade_cut_off_anywhere_is_finished_by_the_next(place):
    place.install()
    place.command("task", "add", "app", "--source", "/x", "--target", "/y")
    good = place.layout.program.read_bytes()
    place.layout.program.write_bytes(good + b"\0")
    fields = (place.installer.say, place.layout, place.installer.path)
    cut = Cut(*fields, place.installer.archive)
    while CUTS:
        with pytest.raises(KeyboardInterrupt):
            cut.install(socket=False, dry_run=False)
        CUTS.pop(0)
        assert place.layout.previous.exists() == (len(CUTS) < 2)
    place.install()
    assert place.layout.previous.read_bytes() == good + b"\0"
    assert place.layout.program.read_bytes() == good
    assert not place.layout.unfinished.exists()
    assert '"app"' in place.command("task", "list", "--json")


def test_a_daemon_whose_configuration_is_broken_by_now_is_not_stopped(place):
    place.install()
    first = place.pid()
    place.next(b"another")
    with (place.layout.etc / "config.toml").open("a") as config:
        config.write("[sync]\nworkerz = 3\n")
    with pytest.raises(ConfigError, match=r"sync\.workerz"):
        place.install()
    assert place.pid() == first
    assert place.layout.program.read_bytes() != b"another"


def test_a_daemon_whose_listener_is_not_possible_by_now_is_not_stopped(place):
    place.install()
    first = place.pid()
    place.next(b"another")
    config = place.layout.etc / "config.toml"
    (place.layout.etc / "cert.pem").write_text("junk")
    config.write_text('[server]\ntls_cert = "cert.pem"\ntls_key = "cert.pem"\n')
    with pytest.raises(ConfigError, match=r"server\.tls_"):
        place.install()
    config.write_text('[server]\nlisten = ["192.0.2.1:5"]\n')
    with pytest.raises(
        Failure, match=r"nothing was changed: .* 192\.0\.2\.1:5: Cannot"
    ):
        place.install()
    assert place.pid() == first


def test_dry_run_changes_nothing_and_is_a_script(place):
    place.installer.install(socket=True, dry_run=True)
    assert not place.layout.program.exists()
    assert not place.layout.state.exists()
    assert place.asked() == []
    script = "\n".join(place.said)
    assert "ListenStream=127.0.0.1:" in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_without_systemd_it_says_what_it_would_need(place):
    (place.root / "run/systemd/system").rmdir()
    place.installer.install(socket=False, dry_run=True)
    assert place.said[0].startswith("# needs systemd: ")
    with pytest.raises(Failure, match="nothing was changed: needs systemd"):
        place.install()
    assert not place.layout.program.exists()


def test_only_root_may(monkeypatch):
    if os.geteuid() != 0:
        assert main(["install"]) == main(["uninstall"]) == 1
        return
    monkeypatch.setenv("HOME", "/nonexistent")
    if not (child := os.fork()):
        os.setuid(65534)
        os._exit(main(["install"]) + main(["install", "--dry-run"]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_the_installed_archive_is_the_one_that_ran(built):
    command = [sys.executable, built, "install", "--dry-run"]
    said = subprocess.check_output(command, text=True)
    assert f"install -m 755 {built} " in said
