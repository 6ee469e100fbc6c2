"""The front over real sockets, with an application of the test's own."""

import json
import os
import random
import resource
import select
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gms_hookd.http import tls
from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import adopt, listen
from gms_hookd.http.message import Request, Response
from gms_hookd.http.server import LOOKS, Server
from gms_hookd.threads import Threads
from tests.http.test_http1 import mutated, pieces

TIMEOUT = 10.0
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Application:
    """Answers with what was asked; /wait is answered by `let_go`, /late by another."""

    def __init__(self):
        self.seen: list[Request] = []
        self.held: list[Callable[[Response], None]] = []
        self.came = threading.Condition()

    def __call__(self, request, reply):
        with self.came:
            self.seen.append(request)
            if request.path == "/wait":
                self.held.append(reply)
            self.came.notify_all()
        if request.path == "/broken":
            raise RuntimeError("broken on purpose")
        if request.path != "/wait":
            reply(self.echo(request))

    def echo(self, request):
        status = request.fault.status if request.fault else 200
        text = {
            "path": request.path,
            "length": len(request.body),
            "peer": request.peer,
            "control": request.control,
            "fault": request.fault.message if request.fault else None,
        }
        body = json.dumps(text).encode()
        return Response(status, body)

    def wait_for(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.seen) >= count, TIMEOUT)

    def let_go(self):
        while self.held:
            self.held.pop()(Response(200, b"let go"))


@contextmanager
def serving(*specs, application=None, limits=None, exempt=None):
    """A server in a thread of its own; yields it and where it listens."""
    listeners = [listen(s) if isinstance(s, str) else s for s in specs]
    server = Server(listeners, application or Application(), limits, exempt=exempt)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        assert not thread.is_alive()
        server.server_close()


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def server(application):
    with serving("127.0.0.1:0", application=application) as server:
        yield server


def connect(server, source="127.0.0.1"):
    sock = socket.create_connection(
        server.server_address, TIMEOUT, source_address=(source, 0)
    )
    sock.settimeout(TIMEOUT)
    return sock


def read_all(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def exchange(server, *pieces):
    """Send pieces, then read until the server closes."""
    with connect(server) as sock:
        for piece in pieces:
            sock.sendall(piece)
        return read_all(sock)


def read_answer(sock):
    """Read one answer with Content-Length; return status and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"Content-Length"]):
        body += sock.recv(65536)
    return int(head.split()[1]), body


def statuses(data):
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def post(body, *fields):
    head = [b"POST /hook HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, *fields, b"", body])


CHUNKED = (
    b"POST /hook HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n"
)


def test_a_request_is_answered_with_the_peer_and_an_id(server):
    answer = exchange(server, LAST)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert b"\r\nServer: gms-hookd\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["peer"] == "127.0.0.1"


def test_a_connection_is_kept_for_the_next_request(server):
    with connect(server) as sock:
        for _ in range(3):
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200


def test_pipelined_requests_are_answered_in_order(server):
    answer = exchange(server, GET + post(b"x" * 10) + LAST)
    assert statuses(answer) == [200, 200, 200]
    assert [answer.find(path) for path in (b"/a", b"/hook", b"/last")] == sorted(
        answer.find(path) for path in (b"/a", b"/hook", b"/last")
    )


def test_a_body_arriving_in_pieces_is_put_together(server, application):
    request = post(b"x" * 200_000, b"Connection: close")
    exchange(server, *(request[i : i + 9999] for i in range(0, len(request), 9999)))
    assert application.seen[0].body == b"x" * 200_000


def test_an_answer_done_later_in_another_thread_is_sent(server, application):
    with connect(server) as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        application.wait_for(1)
        application.let_go()
        assert read_answer(sock) == (200, b"let go")


def test_a_refused_request_reaches_the_application_with_its_fault(server, application):
    answer = exchange(server, b"POST /hook HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
    assert statuses(answer) == [411]
    assert application.seen[0].path == "/hook"
    assert application.seen[0].fault.status == 411


def test_an_application_that_raises_is_a_500_without_details(server):
    answer = exchange(
        server, b"GET /broken HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    assert statuses(answer) == [500]
    assert b"on purpose" not in answer
    assert b"X-Request-Id: " in answer


def test_head_is_answered_without_a_body(server):
    answer = exchange(
        server, b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: " in head
    assert body == b""


def test_a_body_over_the_limit_is_413_seen_by_a_peer_that_sends_all_of_it():
    with serving("127.0.0.1:0", limits=ConnectionLimits(body=1000)) as server:
        answer = exchange(server, post(b"x" * 8_000_000))
    assert statuses(answer) == [413]


def test_draining_answers_what_is_in_flight_and_refuses_what_is_new(
    server, application
):
    with connect(server) as waiting, connect(server) as idle:
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        application.wait_for(1)
        drain = threading.Thread(target=server.drain, args=(TIMEOUT,))
        drain.start()
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(server).close()
        application.let_go()
        assert b"Connection: close" in read_all(waiting)
        drain.join(TIMEOUT)
        assert not drain.is_alive()


def connects(server):
    try:
        connect(server).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


def test_draining_answers_who_has_connected_and_not_asked_yet():
    limits = ConnectionLimits(late_time=TIMEOUT)
    with serving("127.0.0.1:0", limits=limits) as server, connect(server) as connected:
        drain = threading.Thread(target=server.drain, args=(TIMEOUT,))
        drain.start()
        while connects(server):
            pass
        connected.sendall(GET)
        assert statuses(read_all(connected)) == [200]
        drain.join(TIMEOUT)


def test_draining_ends_at_its_time_with_an_answer_outstanding(server, application):
    with connect(server) as waiting:
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        application.wait_for(1)
        server.drain(0.05)
        assert read_all(waiting) == b""


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


def test_lines_between_requests_do_not_end_a_connection(server):
    with connect(server) as sock:
        for _ in range(2):
            sock.sendall(b"\r\n" + GET)
            assert read_answer(sock)[0] == 200


def test_a_refusal_ends_the_connection_and_nothing_after_it_is_read(
    server, application
):
    bad = b"POST /hook HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc"
    assert statuses(exchange(server, GET + bad + LAST)) == [200, 400]
    assert [request.path for request in application.seen] == ["/a", "/hook"]


def test_http_1_0_is_closed_unless_it_wants_to_be_kept(server):
    assert statuses(exchange(server, b"GET /a HTTP/1.0\r\n\r\n")) == [200]
    kept = b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = exchange(server, kept + LAST)
    assert b"Connection: keep-alive" in answer
    assert statuses(answer) == [200, 200]


def test_continue_is_sent_before_the_body_and_not_before_a_413():
    expect = b"Expect: 100-continue"
    with (
        serving("127.0.0.1:0", limits=ConnectionLimits(body=100)) as server,
        connect(server) as sock,
    ):
        whole = post(b"x" * 100, expect)
        sock.sendall(whole[:-100])
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(whole[-100:])
        assert read_answer(sock)[0] == 200
        sock.sendall(post(b"x" * 101, expect)[:-101])
        assert read_answer(sock)[0] == 413


def test_a_body_that_ends_early_is_400_and_a_head_is_nothing(server, application):
    for request, expected in ((post(b"abc")[:-1], [400]), (GET[:-2], [])):
        with connect(server) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            assert statuses(read_all(sock)) == expected
    assert [request.fault.status for request in application.seen] == [400]


def test_a_peer_that_shut_its_sending_side_gets_its_answer(server, application):
    with connect(server) as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        application.wait_for(1)
        application.let_go()
        assert statuses(read_all(sock)) == [200]


class HangsUp(Application):
    """Has the peer shut its sending side while the first request is answered."""

    peer = None

    def __call__(self, request, reply):
        if not self.seen:
            self.peer.shutdown(socket.SHUT_WR)
        super().__call__(request, reply)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (GET, [200, 200]),
        (GET * 9, [200] * 10),
        (post(b"x" * 70_000) + GET, [200, 200, 200]),
        (CHUNKED + GET, [200, 200, 200]),
        (GET + GET[:-2], [200, 200]),
        (GET + post(b"abc")[:-1], [200, 200, 400]),
        (GET + b"GET\r\n\r\n" + GET, [200, 200, 400]),
    ],
)
def test_what_was_asked_before_the_sending_side_was_shut_is_answered(rest, expected):
    application = HangsUp()
    with serving("127.0.0.1:0", application=application) as server:
        for _ in range(3):
            application.seen.clear()
            with connect(server) as application.peer:
                wait_until(lambda: open_connections(server) == 1)
                application.peer.sendall(GET + rest)
                assert statuses(read_all(application.peer)) == expected
            wait_until(lambda: open_connections(server) == 0)


def wait_until(condition):
    """Poll; there is no event to wait on in what a peer only sees from outside."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.005)


def open_connections(server):
    return len(server._connections)


def test_a_peer_that_went_away_is_waited_for_no_longer(application):
    limits = ConnectionLimits(gone_time=0.05)
    with serving("127.0.0.1:0", application=application, limits=limits) as server:
        with connect(server) as sock:
            sock.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
            application.wait_for(1)
        wait_until(lambda: open_connections(server) == 0)
        application.let_go()
        assert statuses(exchange(server, LAST)) == [200]


def test_many_that_wait_cost_no_thread(server, application):
    threads = threading.active_count()
    waiting = [connect(server) for _ in range(200)]
    for sock in waiting:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
    application.wait_for(200)
    assert threading.active_count() == threads
    assert statuses(exchange(server, LAST)) == [200]
    application.let_go()
    for sock in waiting:
        assert read_answer(sock) == (200, b"let go")
        sock.close()


def test_a_large_body_is_answered_outside_the_loop(server, application):
    def answer(request, reply):
        threads.append(threading.current_thread().name)
        application(request, reply)

    threads = []
    server._answer = answer
    exchange(server, post(b"x" * 100_000) + LAST)
    assert threads[0].startswith("large-body")
    assert not threads[1].startswith("large-body")


def test_a_large_body_that_no_thread_can_take_is_503_and_nothing_else_ends(server):
    server._beside.large.close()
    assert statuses(exchange(server, post(b"x" * 100_000) + LAST)) == [503, 200]


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


def test_a_lent_socket_listens_on_after_the_end():
    with socket.create_server(("127.0.0.1", 0)) as kept:
        with serving(adopt(kept.dup())) as server:
            assert statuses(exchange(server, LAST)) == [200]
        socket.create_connection(kept.getsockname(), TIMEOUT).close()


class Turns:
    """Notes what was asked for between `hold` and `release`."""

    def __init__(self, application):
        self.application = application
        self.held = None
        self.ended = 0
        self.turns = []

    def hold(self):
        self.held = len(self.application.seen)

    def release(self):
        if len(self.application.seen) > self.held:
            self.turns.append(len(self.application.seen) - self.held)
            self.application.let_go()
        self.held = None

    def end(self):
        self.ended += 1


def test_what_is_answered_at_the_end_of_a_turn_is_sent_then(application):
    turns = Turns(application)
    server = Server([listen("127.0.0.1:0")], application, batch=turns)
    thread = threading.Thread(target=server.serve_forever, args=(TIMEOUT,))
    asked = b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"
    with ExitStack() as stack:
        stack.callback(server.server_close)
        early = [stack.enter_context(connect(server)) for _ in range(5)]
        for sock in early:
            sock.sendall(asked)
        thread.start()
        stack.callback(thread.join, TIMEOUT)
        stack.callback(server.shutdown)
        for sock in early:
            assert read_answer(sock) == (200, b"let go")
    assert turns.turns[0] > 1
    assert sum(turns.turns) == 5
    assert turns.held is None
    wait_until(lambda: turns.ended >= len(turns.turns))


class Watched:
    """An epoll that notes how long each poll may take."""

    def __init__(self, epoll):
        self.epoll = epoll
        self.patience = []

    def poll(self, seconds):
        self.patience.append(seconds)
        return self.epoll.poll(seconds)

    def __getattr__(self, name):
        return getattr(self.epoll, name)


def test_the_loop_stays_awake_for_a_moment_only(application):
    server = Server([listen("127.0.0.1:0")], application)
    server._epoll = watched = Watched(server._epoll)
    thread = threading.Thread(target=server.serve_forever, args=(TIMEOUT,))
    with ExitStack() as stack:
        stack.callback(server.server_close)
        thread.start()
        stack.callback(thread.join, TIMEOUT)
        stack.callback(server.shutdown)
        wait_until(lambda: watched.patience)
        del watched.patience[:]
        exchange(server, LAST)
        wait_until(lambda: 0 in watched.patience and watched.patience[-1] == TIMEOUT)
        assert set(watched.patience) == {0, TIMEOUT}
        assert watched.patience.count(0) <= LOOKS + 1


@pytest.mark.parametrize("seed", range(4))
def test_any_stream_ends_in_answers_and_a_close(server, application, seed):
    rng = random.Random(seed)
    for _ in range(40):
        with connect(server) as sock:
            for piece in pieces(rng, mutated(rng)):
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1 500 " not in read_all(sock)
    assert statuses(exchange(server, LAST)) == [200]


def test_signs_of_life_are_given_while_nothing_happens(server):
    beats = threading.Semaphore(0)
    server._pace.beat = beats.release
    assert all(beats.acquire(timeout=TIMEOUT) for _ in range(3))


def test_a_turn_that_fails_does_not_end_the_front(application, monkeypatch):
    monkeypatch.setattr("gms_hookd.threads.PAUSE", 0.01)
    server = Server([listen("127.0.0.1:0")], application)
    sweep, failures = server._sweep, [OSError("once"), MemoryError("twice")]

    def fail_at_first():
        if failures:
            raise failures.pop()
        sweep()

    server._sweep = fail_at_first
    threads = Threads()
    thread = threads.start("front", server.run_forever)
    try:
        wait_until(lambda: not failures)
        assert statuses(exchange(server, LAST)) == [200]
        assert threads.problems() == []
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()


def certify(path, *options):
    """Make a self-signed certificate and its key in one file."""
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [*make.split(), *names, *options, "-keyout", path, "-out", path]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    return [certify(folder / name, "-nodes") for name in ("one.pem", "two.pem")]


def secure(server, certificate):
    context = ssl.create_default_context(cafile=certificate)
    sock = connect(server)
    try:
        return context.wrap_socket(sock, server_hostname="127.0.0.1")
    except ssl.SSLError:
        sock.close()
        raise


@pytest.fixture
def secured(certificates, application):
    one = tls.context(certificates[0], certificates[0])
    with serving(listen("127.0.0.1:0", tls=one), application=application) as server:
        yield server


def test_tls_carries_requests_of_any_size(secured, certificates, application):
    with secure(secured, certificates[0]) as sock:
        assert sock.version() == "TLSv1.3"
        for size in (10, 300_000):
            sock.sendall(post(b"x" * size))
            assert read_answer(sock)[0] == 200
        sock.sendall(LAST)
        assert statuses(read_all(sock)) == [200]
    assert [len(request.body) for request in application.seen] == [10, 300_000, 0]


def test_tls_is_1_2_at_least(secured, certificates):
    context = ssl.create_default_context(cafile=certificates[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        connect(secured) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as tls12,
    ):
        tls12.sendall(LAST)
        assert statuses(read_all(tls12)) == [200]


def test_another_certificate_greets_new_connections(secured, certificates):
    one, two = certificates
    with secure(secured, one) as kept:
        secured.reload_tls(tls.context(two, two))
        with secure(secured, two) as sock:
            sock.sendall(LAST)
            assert statuses(read_all(sock)) == [200]
        with pytest.raises(ssl.SSLError):
            secure(secured, one)
        kept.sendall(GET)
        assert read_answer(kept)[0] == 200


def test_plain_text_on_a_tls_listener_is_closed(secured, certificates):
    assert b"HTTP/1.1" not in exchange(secured, GET)
    with secure(secured, certificates[0]) as sock:
        sock.sendall(LAST)
        assert statuses(read_all(sock)) == [200]


def test_a_handshake_that_stalls_holds_up_nobody(certificates):
    one = tls.context(certificates[0], certificates[0])
    limits = ConnectionLimits(head_time=0.1)
    with (
        serving(listen("127.0.0.1:0", tls=one), limits=limits) as server,
        connect(server) as stalled,
        secure(server, certificates[0]) as sock,
    ):
        stalled.sendall(b"\x16\x03\x01\x02\x00")
        sock.sendall(LAST)
        assert statuses(read_all(sock)) == [200]
        assert read_all(stalled) == b""


def test_a_key_with_a_password_is_refused_without_a_question(certificates, tmp_path):
    locked = certify(tmp_path / "locked.pem", "-passout", "pass:secret")
    with pytest.raises(ssl.SSLError):
        tls.context(locked, locked)
    with pytest.raises(ssl.SSLError):
        tls.context(certificates[0], certificates[1])


def connect_unix(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(TIMEOUT)
    sock.connect(str(path))
    return sock


def test_a_socket_that_a_fork_still_holds_says_nothing_about_the_next_one(
    application, tmp_path
):
    path = tmp_path / "s"
    with serving(f"unix:{path}", application=application) as server:
        with connect_unix(path) as first:
            first.sendall(GET)
            read_answer(first)
            (number,) = server._connections
            held_by_a_fork = os.dup(number)
        until(lambda: not server._connections)
        with connect_unix(path) as second:
            second.sendall(GET.replace(b"/a", b"/wait"))
            application.wait_for(2)
            assert list(server._connections) == [number]
            assert not select.select([second], [], [], 0.1)[0]
            application.let_go()
            assert read_answer(second) == (200, b"let go")
        os.close(held_by_a_fork)


def until(true):
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline
