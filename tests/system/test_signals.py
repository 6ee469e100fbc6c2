"""What signals do to the daemon: the end, and the reload."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.support.pair import tip
from tests.support.process import (
    ROOT,
    SECRET,
    run_number,
)


def test_sigterm_lets_a_running_sync_end_and_exits_with_0(daemon, pair, guard):
    source, target = pair()
    daemon.start()
    run = run_number(daemon.trigger(daemon.add_task("one", source, target))[1])
    with guard.open("w") as passage:
        daemon.signal(signal.SIGTERM)
        daemon.told("STOPPING=1")
        passage.write("go\n")
    assert daemon.wait() == 0
    assert tip(target) == tip(source)
    daemon.start()
    assert (daemon.run(run)["status"], daemon.run(run)["attempt"]) == ("success", 1)


def test_a_second_sigterm_requeues_what_runs_and_exits_with_0(daemon, pair, guard):
    source, target = pair()
    daemon.start()
    run = run_number(daemon.trigger(daemon.add_task("one", source, target))[1])
    with guard.open("w"):
        daemon.signal(signal.SIGTERM)
        daemon.told("STOPPING=1")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    daemon.start()
    guard.write_text("go\n")
    assert daemon.ended(run)["status"] == "success"
    assert tip(target) == tip(source)


PATIENT = """
from gms_hookd.cli import main as cli
from gms_hookd.service import daemon
daemon.TICK = 1000.0
raise SystemExit(cli.main())
"""


def test_a_signal_that_interrupts_another_thread_is_not_missed(daemon):
    daemon.command = (sys.executable, "-c", PATIENT)
    daemon.start()
    main = daemon.process.pid
    threads = sorted(int(name) for name in os.listdir(f"/proc/{main}/task"))
    other = next(number for number in threads if number != main)
    for _ in range(20):
        os.kill(other, signal.SIGHUP)
        daemon.told("WATCHDOG=1")  # when the reload is over
    os.kill(other, signal.SIGTERM)
    assert daemon.wait() == 0


def test_sighup_takes_a_changed_secret_over(daemon, pair):
    daemon.start()
    task = daemon.add_task("one", *pair())
    daemon.configure(secret="another-secret")
    daemon.signal(signal.SIGHUP)
    assert any(x.startswith("MONOTONIC_USEC=") for x in daemon.told("RELOADING=1"))
    daemon.told("READY=1")
    assert daemon.trigger(task)[0] == 401
    assert daemon.trigger(task, secret="another-secret")[0] == 200


def test_sighup_with_the_last_secret_removed_makes_one(daemon, pair):
    daemon.start()
    task = daemon.add_task("one", *pair())
    text = daemon.config.read_text().replace(f'secret = "{SECRET}"', "")
    daemon.config.write_text(text)
    daemon.signal(signal.SIGHUP)
    daemon.told("READY=1")
    assert daemon.trigger(task)[0] == 401
    made = (daemon.state / "webhook-secret").read_text().strip()
    assert daemon.trigger(task, made)[0] == 200


def test_sighup_with_a_broken_file_changes_nothing_and_says_so(daemon, pair):
    daemon.start(WATCHDOG_USEC="300000")
    task = daemon.add_task("one", *pair())
    daemon.configure(text="[server\nno toml", secret="another-secret")
    daemon.signal(signal.SIGHUP)
    daemon.told("RELOADING=1")
    for _ in range(2):
        assert "reload refused" in daemon.told("STATUS=")[1]
    assert daemon.trigger(task)[0] == 200
    assert re.search(r"ERROR .*reload.*config\.toml", daemon.log())


def test_a_reload_names_what_it_cannot_change_and_what_is_unwise(daemon):
    daemon.start()
    text = daemon.config.read_text().replace("web.sock", "other.sock")
    daemon.config.write_text(text + "[sync]\nworkers = 3\n")
    daemon.config.chmod(0o644)
    daemon.signal(signal.SIGHUP)
    status = daemon.told("READY=1")[1]
    assert "; a restart is needed for server.listen, sync.workers" in status
    assert "key=server.listen" in daemon.log()
    assert "key=sync.workers" in daemon.log()
    assert "is open to others" in daemon.log()


def certificate(folder):
    """Make a self-signed certificate; returns the lines that configure it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=t -keyout {key}"
    subprocess.run([*make.split(), "-out", cert], check=True, capture_output=True)
    key.chmod(0o600)
    return f'tls_cert = "{cert}"\ntls_key = "{key}"\n'


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_reload_says_of_each_key_whether_a_restart_is_needed(daemon):
    tls = certificate(daemon.home)

    def reload(text):
        daemon.configure(text)
        daemon.signal(signal.SIGHUP)
        return "".join(daemon.told("READY=1"))

    daemon.start()
    assert "restart" not in reload("max_body = '1MiB'\n[sync]\ntimeout = '5m'\n")
    for _ in range(2):  # as long as it is so, not at the first reload alone
        assert "a restart is needed for server.tls_cert" in reload(tls)
    assert "restart" not in reload("")
    daemon.configure(tls)
    daemon.kill()
    daemon.start()
    assert "restart" not in reload(tls + "[sync]\nworkers = 8\n")
    assert "a restart is needed for server.tls_cert" in reload("")
    assert daemon.log().count("only after a restart key=server.tls_cert") == 3


def test_a_storm_of_reloads_is_few_and_holds_up_no_end(daemon):
    daemon.start()
    daemon.manager.close()  # unread messages would hold up the daemon
    for _ in range(5000):
        daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGTERM)
    for _ in range(5000):
        with suppress(ProcessLookupError):
            daemon.signal(signal.SIGHUP)
    assert daemon.wait() == 0
    assert daemon.log().count("configuration reloaded") < 1000


def test_a_reload_asked_for_while_the_daemon_begins_does_not_end_it():
    code = (
        "import os, signal\n"
        "from gms_hookd.service import daemon\n"
        "signals = daemon._Signals()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "signals.catch()\n"
        "assert signals.next(60) == signal.SIGHUP\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_signals_that_the_pipe_has_no_room_for_are_not_missed():
    code = (
        "import os, signal\n"
        "from gms_hookd.service import daemon\n"
        "signals = daemon._Signals()\n"
        "signals.catch()\n"
        "os.write(signals._in, bytes([signal.SIGHUP]) * 2 * daemon.PIPE)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert signals.next(60) == signal.SIGTERM\n"
        "assert not signals.pending()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "assert not signals.pending()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "assert signals.pending()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_hundred_reloads_leave_no_descriptor_behind(daemon):
    def reload():
        daemon.signal(signal.SIGHUP)
        daemon.told("READY=1")

    def descriptors():
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    daemon.start()
    reload()
    before = descriptors()
    for _ in range(100):
        reload()
    assert descriptors() < before + 10  # a leak would be a hundred
