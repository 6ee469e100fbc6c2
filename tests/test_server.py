"""The front over real sockets, with an application of the test's own."""

import json
import socket
import stat
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from gms_hookd.message import Request, Response
from gms_hookd.server import Limits, Server, listen

TIMEOUT = 10.0
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Application:
    """Answers with what was asked; /wait is answered by `let_go`."""

    def __init__(self):
        self.seen: list[Request] = []
        self.held: list[Future[Response]] = []
        self.came = threading.Condition()

    def __call__(self, request):
        future = Future()
        with self.came:
            self.seen.append(request)
            if request.path == "/wait":
                self.held.append(future)
            self.came.notify_all()
        if request.path == "/broken":
            raise RuntimeError("broken on purpose")
        if request.path != "/wait":
            future.set_result(self.echo(request))
        return future

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
        return Response(status, body, (("X-Request-Id", request.id),))

    def wait_for(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.seen) >= count, TIMEOUT)

    def let_go(self):
        for future in self.held:
            future.set_result(Response(200, b"let go"))


@contextmanager
def serving(*specs, application=None, limits=None):
    """A server in a thread of its own; yields it and where it listens."""
    listeners = [listen(s) if isinstance(s, str) else s for s in specs]
    server = Server(listeners, application or Application(), limits)
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


def connect(server):
    sock = socket.create_connection(server.server_address, TIMEOUT)
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
    with serving("127.0.0.1:0", limits=Limits(body=1000)) as server:
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
                assert (seen["peer"], seen["control"]) == ("", is_control)
    assert not open_one.exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_left(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    live = listen(f"unix:{path}")
    with pytest.raises(OSError, match="in use"):
        listen(f"unix:{path}")
    live.close()


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
