"""The front over real sockets, with an application of the test's own."""

import json
import os
import random
import select
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import listen
from gms_hookd.http.server import LOOKS, Server
from gms_hookd.threads import Threads
from tests.http.test_http1 import mutated, pieces
from tests.support.serving import (
    CHUNKED,
    GET,
    LAST,
    TIMEOUT,
    Application,
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


class Turns:
    """Notes what was asked for between `hold` and `release`."""

    def __init__(self, application):
        self.application = application
        self.held = None
        self.ended = 0
        self.swept = 0
        self.turns = []

    def sweep(self):
        assert self.held is not None, "what it asks for now is not released"
        self.swept += 1

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
    assert turns.swept
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


@pytest.fixture
def watched(application):
    server = Server([listen("127.0.0.1:0")], application)
    server._epoll = epoll = Watched(server._epoll)
    thread = threading.Thread(target=server.serve_forever, args=(TIMEOUT,))
    with ExitStack() as stack:
        stack.callback(server.server_close)
        thread.start()
        stack.callback(thread.join, TIMEOUT)
        stack.callback(server.shutdown)
        wait_until(lambda: epoll.patience)
        del epoll.patience[:]
        yield server, epoll


def test_the_loop_stays_awake_for_a_moment_only(watched):
    server, epoll = watched
    with connect(server) as sock:
        sock.sendall(GET)
        assert read_answer(sock)[0] == 200
        wait_until(lambda: 0 in epoll.patience and epoll.patience[-1] == TIMEOUT)
    assert set(epoll.patience) == {0, TIMEOUT}
    assert epoll.patience.count(0) <= LOOKS + 1


def test_the_loop_sleeps_where_no_next_request_can_come(watched, application):
    server, epoll = watched
    exchange(server, LAST)
    with connect(server) as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        application.wait_for(2)
        exchange(server, LAST)
    assert epoll.patience.count(0) == 0


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
