"""A vendor that takes notices: it counts them, and behaves as badly as it is told."""

import socket
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Got(NamedTuple):
    path: str
    headers: dict
    body: bytes


class Vendor:
    """An HTTP server on a port of its own; `answer` is its status and body."""

    def __init__(self):
        self.got, self.answer = [], (200, b"ok")
        self.headers, self.behaviour = {}, None
        self.ending = threading.Event()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                named = {name.lower(): value for name, value in self.headers.items()}
                vendor.got.append(Got(self.path, named, body))
                if vendor.behaviour:
                    self.close_connection = True
                    with suppress(OSError):
                        vendor.behaviour(self.connection, vendor.ending)
                    return
                status, said = vendor.answer
                self.send_response(status)
                for name, value in vendor.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        serve = partial(self.server.serve_forever, poll_interval=0.02)
        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/T0K3N-of-vendor"

    def stop(self):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def hangs(_connection, ending):
    ending.wait(30)


def drips(connection, ending):
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not ending.is_set():
        connection.sendall(b"x")
        time.sleep(0.05)


def drips_body(connection, ending):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    while not ending.is_set():
        connection.sendall(b"x")
        time.sleep(0.05)


def floods(connection, _ending):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
    for _ in range(64):
        connection.sendall(b"x" * (1 << 20))


def floods_headers(connection, _ending):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(1 << 16):
        connection.sendall(b"X-%d: %s\r\n" % (number, b"y" * 1000))


def announces(connection, _ending):
    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n")
    connection.sendall(b"Link: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def closes(connection, _ending):
    connection.shutdown(socket.SHUT_RDWR)


def closes_early(connection, _ending):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
    connection.shutdown(socket.SHUT_RDWR)
