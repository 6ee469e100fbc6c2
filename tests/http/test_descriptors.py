"""Few descriptors are shared out so that work goes on, and are named."""

import json
import socket
import subprocess
from contextlib import ExitStack

import pytest

from gms_hookd.http.descriptors import Places, descriptors, places
from tests.support.process import PATIENCE, ask

WANTED = 16_384


@pytest.mark.parametrize("number", [16, 64, 128, 256, 600, 1023, 1024, 4096, 20_000])
def test_connections_get_their_share_and_leave_enough_to_work_with(number):
    found = places(number, WANTED)
    assert min(found) >= 1
    assert sum(found) <= number * 3 // 4 or number > 1024
    assert found.admitted >= number // 4 or found.admitted == WANTED


def test_many_descriptors_are_shared_out_as_far_as_is_wanted():
    assert places(1 << 20, WANTED) == Places(WANTED, 64, 128)
    assert places(1024, WANTED) == Places(512, 64, 128)


def limited(daemon, number):
    """Let the daemon have no more descriptors than that."""
    limit = f'ulimit -n {number}; exec "$@"'
    daemon.command = ("sh", "-c", limit, "sh", *daemon.command)
    return daemon.start()


@pytest.mark.parametrize("number", [64, 300])
def test_a_daemon_with_few_descriptors_says_so_and_works(daemon, number):
    plain = daemon.command
    assert descriptors(limited(daemon, number).process.pid) == number
    assert f"WARNING few descriptors limit={number} connections={number // 4}" in (
        daemon.log()
    )
    assert "LimitNOFILE=" in daemon.log()
    check = (*plain, "check", "--json", "--config", daemon.config)
    done = subprocess.run(
        [*check, "--state", daemon.state],
        env=daemon.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    (found,) = [f for f in json.loads(done.stdout) if f["subject"] == "descriptors"]
    assert found["level"] == "warning"
    assert found["finding"].startswith(f"only {number} files may be open")
    task = daemon.add_task("one", "/source", "/target")
    with ExitStack() as stack:
        for _ in range(number // 8):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX))
            idle.settimeout(PATIENCE)
            idle.connect(str(daemon.socket))
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200"
        assert daemon.trigger(task)[0] == 200
        assert ask(daemon.socket, "GET", "/readyz")[0] == 200
