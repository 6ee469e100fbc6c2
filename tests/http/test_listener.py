"""Where a server listens: addresses, unix sockets and lent sockets."""

import json
import socket
import stat
from pathlib import Path

import pytest

from gms_hookd.http.listener import adopt, listen
from tests.support.serving import (
    GET,
    LAST,
    TIMEOUT,
    exchange,
    read_answer,
    serving,
    statuses,
)


def test_both_address_families_reach_a_listener_on_every_address():
    with serving(":0") as server:
        port = server.server_address[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), TIMEOUT) as sock:
                sock.sendall(GET)
                assert json.loads(read_answer(sock)[1])["peer"] == host


def test_a_unix_socket_has_the_mode_of_its_use(tmp_path):
    open_one, control = tmp_path / "http.sock", tmp_path / "control.sock"
    listeners = listen(f"unix:{open_one}"), listen(f"unix:{control}", control=True)
    with serving(*listeners):
        assert stat.S_IMODE(open_one.stat().st_mode) == 0o660
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        for path, is_control in ((open_one, False), (control, True)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(TIMEOUT)
                sock.connect(str(path))
                sock.sendall(GET)
                seen = json.loads(read_answer(sock)[1])
                assert (seen["peer"], seen["control"]) == (f"unix:{path}", is_control)
    assert not open_one.exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_left(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    running = listen(f"unix:{path}")
    with pytest.raises(OSError, match="in use"):
        listen(f"unix:{path}")
    running.close()


def test_a_unix_socket_that_nobody_can_reach_any_more_is_told(tmp_path):
    path = tmp_path / "s"
    running = listen(f"unix:{path}")
    assert running.is_in_place()
    path.rename(tmp_path / "away")
    assert not running.is_in_place()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        assert not running.is_in_place()
        running.close()
    assert path.exists(), "that of another is not ours to remove"


def test_what_has_no_file_is_in_place():
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0gms-hookd-test-of-listeners")
    lent = adopt(abstract)
    assert lent.is_in_place()
    lent.close()
    tcp = listen("127.0.0.1:0")
    assert tcp.is_in_place()
    tcp.close()
    assert tcp.is_in_place()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = Path(tmp_path / "precious")
    path.write_text("kept")
    with pytest.raises(OSError, match="in use"):
        listen(f"unix:{path}")
    assert path.read_text() == "kept"


@pytest.mark.parametrize("spec", ["", "host", "host:", "host:x", "h:99999", "h:²"])
def test_a_listener_is_host_and_port_or_unix_and_path(spec):
    with pytest.raises(ValueError, match="HOST:PORT"):
        listen(spec)


def test_a_lent_socket_listens_on_after_the_end():
    with socket.create_server(("127.0.0.1", 0)) as kept:
        with serving(adopt(kept.dup())) as server:
            assert statuses(exchange(server, LAST)) == [200]
        socket.create_connection(kept.getsockname(), TIMEOUT).close()
