"""The service manager's protocol, spoken with real sockets."""

import contextlib
import os
import socket
import time

import pytest

from gms_hookd.service import systemd

PID = 4711


@pytest.fixture
def manager(tmp_path):
    """The manager's end of the notify socket; yields (socket, environ)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        end.bind(str(tmp_path / "notify"))
        yield end, {"NOTIFY_SOCKET": str(tmp_path / "notify")}


@pytest.fixture
def passed():
    """Pass descriptors as the manager does: consecutive, inheritable, from a base."""
    base, given = 200, []

    def hand_over(*sources, names=None):
        for source in sources:
            given.append(base + len(given))
            os.dup2(source.fileno(), given[-1], inheritable=True)
        environ = {"LISTEN_PID": str(PID), "LISTEN_FDS": str(len(given))}
        environ |= {"LISTEN_FDNAMES": names} if names is not None else {}
        return systemd.listen_sockets(environ, PID, first=base), given

    yield hand_over
    for fd in given:
        close(fd)


def close(fd):
    with contextlib.suppress(OSError):
        os.close(fd)


def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind(address)
    server.listen()
    return server


def test_the_lines_arrive_as_one_datagram(manager):
    end, environ = manager
    assert systemd.notify(environ, "READY=1", "STATUS=serving")
    assert end.recv(4096) == b"READY=1\nSTATUS=serving"


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        name = f"gms-hookd-test-{os.getpid()}"
        end.bind("\0" + name)
        assert systemd.notify({"NOTIFY_SOCKET": "@" + name}, "WATCHDOG=1")
        assert end.recv(4096) == b"WATCHDOG=1"


def test_a_line_break_in_a_status_forges_no_assignment(manager):
    end, environ = manager
    systemd.notify(environ, "STATUS=bad\nMAINPID=1\u2028STOPPING=1")
    assert end.recv(4096) == b"STATUS=bad MAINPID=1 STOPPING=1"


@pytest.mark.parametrize(
    "address", [None, "", "vsock:2:1234", "/nonexistent/socket", "/" + "x" * 200]
)
def test_nobody_listening_is_no_error(address):
    environ = {} if address is None else {"NOTIFY_SOCKET": address}
    assert systemd.notify(environ, "READY=1") is False


def test_a_lone_surrogate_in_a_status_is_no_error(manager):
    end, environ = manager
    assert systemd.notify(environ, "STATUS=\udcff")
    assert end.recv(4096) == b"STATUS=?"


def test_a_reload_begins_with_the_monotonic_time():
    first, second = systemd.reloading()
    usec = int(second.removeprefix("MONOTONIC_USEC="))
    assert first == "RELOADING=1"
    assert 0 <= time.monotonic() * 1e6 - usec < 60e6


def test_more_time_is_asked_for_in_microseconds():
    assert systemd.extend(1.5) == "EXTEND_TIMEOUT_USEC=1500000"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_counts_only_for_the_process_it_names(environ, seconds):
    assert systemd.watchdog_seconds(environ, PID) == seconds


def test_listening_sockets_keep_their_names_and_accept(passed):
    with listening() as one, listening(socket.AF_INET6, ("::1", 0)) as two:
        sockets, fds = passed(one, two, names="web:v6")
        assert [(n, s.fileno()) for n, s in sockets] == [
            ("web", fds[0]),
            ("v6", fds[1]),
        ]
        with socket.create_connection(one.getsockname()):
            sockets[0][1].accept()[0].close()
        for _, taken in sockets:
            assert not taken.get_inheritable()
            taken.close()


def test_a_unix_socket_is_taken(passed, tmp_path):
    with listening(socket.AF_UNIX, str(tmp_path / "s")) as one:
        ((name, taken),), _ = passed(one)
        assert (name, taken.family) == ("", socket.AF_UNIX)
        taken.close()


def test_stored_descriptors_are_left_alone_and_shift_no_name(passed, tmp_path):
    with (
        listening() as web,
        (tmp_path / "stored").open("w") as file,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as idle,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        sockets, fds = passed(file, idle, datagrams, web, names="a:b:c:web")
        assert [(n, s.fileno()) for n, s in sockets] == [("web", fds[3])]
        for fd in fds:
            assert not os.get_inheritable(fd)
        sockets[0][1].close()


def test_names_that_are_missing_leave_no_socket_out(passed):
    with listening() as one, listening() as two:
        sockets, _ = passed(one, two, names="web")
        assert [name for name, _ in sockets] == ["web", "unknown"]
        for _, taken in sockets:
            taken.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "x"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "2"},
    ],
)
def test_no_socket_meant_for_us_is_no_socket(environ):
    assert systemd.listen_sockets(environ, PID, first=900) == []


def test_children_inherit_nothing_meant_for_us():
    own = dict.fromkeys(
        ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"),
        "x",
    )
    assert systemd.scrubbed(own | {"LISTEN_FDNAMES": "x", "PATH": "/bin"}) == {
        "PATH": "/bin"
    }
