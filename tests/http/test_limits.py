"""No peer takes more time, memory or connections than its share."""

import resource
import socket
from contextlib import ExitStack, suppress

import pytest

from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import listen
from gms_hookd.http.message import Response
from tests.support.serving import (
    CHUNKED,
    GET,
    LAST,
    TIMEOUT,
    connect,
    exchange,
    open_connections,
    post,
    read_all,
    read_answer,
    serving,
    statuses,
    wait_until,
)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", []),
        (GET[:-2], [408]),
        (post(b"abc")[:-1], [408]),
        (GET, [200]),
        (GET + GET[:-2], [200, 408]),
    ],
)
def test_every_part_of_a_request_has_its_deadline(sent, expected):
    limits = ConnectionLimits(head_time=0.1, body_time=0.1, idle_time=0.1)
    with serving("127.0.0.1:0", limits=limits) as server:
        assert statuses(exchange(server, sent)) == expected


def test_a_deadline_is_not_put_off_by_single_bytes(application):
    limits = ConnectionLimits(head_time=0.3)
    with (
        serving("127.0.0.1:0", application=application, limits=limits) as server,
        connect(server) as sock,
    ):
        sock.settimeout(0.01)
        sock.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        answer = b""
        while b"408" not in answer:
            sock.sendall(b"x")
            with suppress(TimeoutError):
                answer += sock.recv(1000)


def test_an_answer_nobody_takes_is_dropped_at_its_deadline():
    def answer(request, reply):
        reply(Response(200, b"x" * 50_000_000))

    limits = ConnectionLimits(send_time=0.1)
    with (
        serving("127.0.0.1:0", application=answer, limits=limits) as server,
        connect(server) as sock,
    ):
        sock.sendall(GET)
        wait_until(lambda: open_connections(server) == 1)
        wait_until(lambda: open_connections(server) == 0)


def test_an_answer_that_never_comes_is_503(application):
    limits = ConnectionLimits(answer_time=0.1)
    with serving("127.0.0.1:0", application=application, limits=limits) as server:
        answer = exchange(server, b"GET /wait HTTP/1.0\r\n\r\n")
    assert statuses(answer) == [503]


def test_a_peer_that_never_closes_after_a_refusal_is_closed():
    with (
        serving("127.0.0.1:0", limits=ConnectionLimits(linger_time=0.05)) as server,
        connect(server) as sock,
    ):
        sock.sendall(b"nonsense")
        assert statuses(read_all(sock)) == [400]
        wait_until(lambda: open_connections(server) == 0)


def test_one_address_over_its_share_is_503_and_others_are_served():
    limits = ConnectionLimits(per_address=3, late_time=0.05)
    with serving("127.0.0.1:0", limits=limits) as server:
        hogs = [connect(server) for _ in range(3)]
        wait_until(lambda: open_connections(server) == 3)
        answer = exchange(server, GET)
        assert statuses(answer) == [503]
        assert b"X-Request-Id: " in answer
        assert b"Retry-After: " in answer
        assert statuses(exchange(server)) == [503]
        with connect(server, "127.0.0.2") as other:
            other.sendall(GET)
            assert read_answer(other)[0] == 200
        hogs.pop().close()
        wait_until(lambda: open_connections(server) == 2)
        assert statuses(exchange(server, LAST)) == [200]
        for hog in hogs:
            hog.close()


def test_over_the_limit_in_all_only_health_is_told():
    limits = ConnectionLimits(connections=3, per_address=3)
    with serving("127.0.0.1:0", limits=limits) as server:
        hogs = [connect(server, f"127.0.0.{i}") for i in (2, 3, 4)]
        hogs += [connect(server, "127.0.0.5") for _ in range(200)]
        answer = exchange(server, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert statuses(answer) == [200]
        assert statuses(exchange(server, GET)) == [503]
        assert open_connections(server) <= 3 + 64
        for hog in hogs:
            hog.close()


def test_a_proxy_has_no_share_of_its_own():
    limits = ConnectionLimits(per_address=1)
    exempt = "127.0.0.9".__eq__
    with serving("127.0.0.1:0", limits=limits, exempt=exempt) as server:
        held = [connect(server, "127.0.0.9") for _ in range(5)]
        for sock in held:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
            sock.close()


def test_the_control_socket_is_served_while_the_others_are_full(tmp_path):
    control = listen(f"unix:{tmp_path / 'c'}", control=True)
    first = listen("127.0.0.1:0")
    with serving(first, control, limits=ConnectionLimits(connections=2)) as server:
        hogs = [connect(server) for _ in range(10)]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(tmp_path / "c"))
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
        for hog in hogs:
            hog.close()


def test_large_bodies_together_have_a_limit():
    limits = ConnectionLimits(held=300_000)
    part = post(b"x" * 200_000)[:-1]
    with (
        serving("127.0.0.1:0", limits=limits) as server,
        connect(server, "127.0.0.2") as first,
    ):
        first.sendall(part[:140_000])
        wait_until(lambda: server._limiter.held > 100_000)
        answer = exchange(server, part)
        assert statuses(answer) == [503]
        assert statuses(exchange(server, LAST)) == [200]
        first.sendall(part[140_000:] + b"x")


def test_an_unfinished_request_counts_from_its_first_byte(server):
    whole = post(b"x" * 1000)
    with connect(server) as sock:
        sent = 0
        for left, kept in ((1040, len(whole) - 1040), (999, 1), (500, 500), (1, 999)):
            sock.sendall(whole[sent : len(whole) - left])
            sent = len(whole) - left
            wait_until(lambda kept=kept: server._limiter.held == kept)
        sock.sendall(whole[sent:])
        assert read_answer(sock)[0] == 200
        assert server._limiter.held == 0
    with connect(server) as sock:
        sock.sendall(CHUNKED[:-5])
        wait_until(lambda: server._limiter.held > 0)
    wait_until(lambda: server._limiter.held == 0)


def test_where_all_have_too_much_unfinished_the_oldest_makes_room():
    limits = ConnectionLimits(held=100_000)
    part = post(b"x" * 30_000)[:-1]
    with serving("127.0.0.1:0", limits=limits) as server, ExitStack() as stack:
        anonymous = []
        for number in range(5):
            sock = stack.enter_context(connect(server, f"127.0.0.{number + 2}"))
            sock.sendall(part)
            anonymous.append(sock)
            if number < 3:
                wait_until(lambda n=number: server._limiter.held > 29_000 * (n + 1))
            else:
                assert statuses(read_all(anonymous[number - 3])) == [503]
            assert server._limiter.held <= limits.held
        with connect(server) as sock:
            sock.sendall(part)
            sock.sendall(b"x")
            assert read_answer(sock)[0] == 200
        anonymous[-1].sendall(b"x")
        assert read_answer(anonymous[-1])[0] == 200


def test_one_address_with_too_much_unfinished_drives_nobody_out():
    limits = ConnectionLimits(held=100_000)
    part = post(b"x" * 30_000)[:-1]
    with (
        serving("127.0.0.1:0", limits=limits) as server,
        connect(server, "127.0.0.2") as early,
        ExitStack() as stack,
    ):
        early.sendall(part)
        wait_until(lambda: server._limiter.held > 29_000)
        for _ in range(4):
            sock = stack.enter_context(connect(server, "127.0.0.3"))
            sock.sendall(part)
        assert statuses(read_all(sock)) == [503]
        early.sendall(b"x")
        assert read_answer(early)[0] == 200


def test_no_descriptor_left_is_a_pause_and_not_the_end(application, caplog):
    with serving("127.0.0.1:0", application=application) as server:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        sock = socket.socket()
        sock.settimeout(TIMEOUT)
        resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 1, before[1]))
        try:
            sock.connect(server.server_address)
            sock.sendall(LAST)
            wait_until(lambda: "cannot accept" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert statuses(read_all(sock)) == [200]
        sock.close()
    said = [each for each in caplog.records if "cannot accept" in each.message]
    assert all(each.seldom for each in said)  # it would be four lines a second
