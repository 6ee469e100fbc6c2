"""A server over real sockets, with an application of the tests' own."""

import json
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

from gms_hookd.http.listener import listen
from gms_hookd.http.message import Request, Response
from gms_hookd.http.server import Server

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


def wait_until(condition):
    """Poll; there is no event to wait on in what a peer only sees from outside."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.005)


def open_connections(server):
    return len(server._connections)
