"""What cuts the way to a host: TLS, HTTP/1 and 2, SOCKS; in words of a real curl."""

import contextlib
import os
import socket
import ssl
import struct
import threading

import pytest

from gms_hookd.model import RunStatus
from tests.support.hosts import Handler, HttpHost, certificate
from tests.support.repositories import task

SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty frame (RFC 9113, section 6.5)
RESET = b"\0\0\4\3\0\0\0\0\1\0\0\0\2"  # stream 1: INTERNAL_ERROR (section 6.4)
GO_AWAY = b"\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\2"  # section 6.8


def hang_up(sock):
    sock.recv(65536)


def reset(sock):
    sock.recv(65536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(*parts):
    def said(sock):
        for part in parts:
            sock.recv(65536)
            sock.sendall(part)

    return said


HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
)
PLAIN = {
    "no answer": hang_up,
    "reset": reset,
    "half a head": say(b"HTTP/1.1 200 O"),
    "half a body": say(HEAD + b"Content-Length: 999\r\n\r\n001e# service=git-"),
    "half a chunk": say(HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n001e# ser"),
}
SECURE = {
    "half a head in TLS": say(b"HTTP/1.1 200 O"),
    "half a body in TLS": say(HEAD + b"Content-Length: 999\r\n\r\n001e# service=git-"),
    "no answer in TLS": hang_up,
}
HTTP2 = {
    "stream reset": say(SETTINGS, RESET),
    "go away": say(SETTINGS + GO_AWAY),
    "no frames": say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "hung up": hang_up,
}
SOCKS = {
    "hung up": hang_up,
    "general failure": say(b"\5\0", b"\5\1\0\1\0\0\0\0\0\0"),
    "host unreachable": say(b"\5\0", b"\5\4\0\1\0\0\0\0\0\0"),
    "cut": say(b"\5\0", b"\5\0\0"),
}
SOCKS_FINAL = {
    "not allowed": say(b"\5\0", b"\5\2\0\1\0\0\0\0\0\0"),
    "no login": say(b"\5\xff"),
}


@pytest.fixture
def serving():
    """Let each connection be handled by a function; gives the port."""
    servers = []

    def serve(handle, context=None):
        server = socket.create_server(("127.0.0.1", 0))

        def loop():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    with sock, contextlib.suppress(OSError):
                        sock.settimeout(20)
                        if context:
                            sock = context.wrap_socket(sock, server_side=True)
                        handle(sock)
                        sock.close()

        thread = threading.Thread(target=loop)
        thread.start()
        servers.append((server, thread))
        return server.getsockname()[1]

    yield serve
    for server, thread in servers:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.fixture(scope="module")
def vouched(tmp_path_factory):
    """A certificate, its key and the environment in which it is trusted."""
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    return cert, key, {"SSL_CERT_FILE": str(cert)}


def secured(vouched, *protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*vouched[:2])
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def passes(outcome):
    assert outcome.status is RunStatus.FAILED
    assert "unable to access" in outcome.error_message
    return outcome.transient


@pytest.mark.parametrize("handle", PLAIN.values(), ids=PLAIN)
def test_a_cut_of_http_passes(serving, target, opened, handle):
    url = f"http://127.0.0.1:{serving(handle)}/x.git"
    assert passes(opened().sync(task(url, target)))


@pytest.mark.parametrize("handle", [hang_up, reset])
def test_a_cut_within_the_handshake_of_tls_passes(serving, target, opened, handle):
    url = f"https://127.0.0.1:{serving(handle)}/x.git"
    assert passes(opened().sync(task(url, target)))


@pytest.mark.parametrize("handle", SECURE.values(), ids=SECURE)
def test_a_cut_of_tls_passes(serving, target, opened, vouched, handle):
    port = serving(handle, secured(vouched, "http/1.1"))
    bench = opened(vouched[2])
    assert passes(bench.sync(task(f"https://127.0.0.1:{port}/x.git", target)))


@pytest.mark.parametrize("handle", HTTP2.values(), ids=HTTP2)
def test_a_broken_stream_of_http_2_passes(serving, target, opened, vouched, handle):
    port = serving(handle, secured(vouched, "h2"))
    bench = opened(vouched[2])
    assert passes(bench.sync(task(f"https://127.0.0.1:{port}/x.git", target)))


@pytest.fixture
def breaking_http2(tmp_path, vouched):
    """Serve repositories by HTTP/1.1; who asks for HTTP/2 is broken off."""
    host = HttpHost(tmp_path, vouched[:2])
    host.socket.context.set_alpn_protocols(["h2", "http/1.1"])

    def breaking(handle):
        class Breaking(Handler):
            def handle(self):
                if self.connection.selected_alpn_protocol() == "h2":
                    handle(self.connection)
                    while self.connection.recv(65536):
                        pass
                else:
                    super().handle()

        host.RequestHandlerClass = Breaking
        return host

    yield breaking
    host.stop()


BROKEN_OFF = {
    "stream reset": HTTP2["stream reset"],
    "stream cancelled": say(SETTINGS, RESET[:-1] + b"\x08"),
    "go away": HTTP2["go away"],
}


@pytest.mark.parametrize(("way", "end"), [
    *((way, "source") for way in BROKEN_OFF),
    ("stream cancelled", "target"),
])  # fmt: skip
def test_a_host_that_breaks_off_http_2_is_spoken_to_by_http_1(
    breaking_http2, source, target, opened, vouched, way, end
):
    host, bench = breaking_http2(BROKEN_OFF[way]), opened(vouched[2])
    both = {"source": source, "target": target}
    it = task(*(host.url(r) if name == end else r for name, r in both.items()))
    assert passes(bench.sync(it))
    assert "HTTP/2 was broken off: HTTP/1.1 from now on" in bench.log.text()
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


def hang_up_unseen(request):
    """Answer, and close the connection as a host that has waited for long enough.

    What TLS says of it waits unread at the client, who takes that for a sign of life.
    """
    if "info/refs?service=git-receive-pack" not in request.path:
        return False
    request.wfile.write(request.carry_out())
    request.close_connection = True
    request.connection.setblocking(False)
    with contextlib.suppress(OSError):
        request.connection.unwrap()
    request.connection.close()
    return True


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_host_that_hangs_up_while_git_counts_gets_the_push(
    tmp_path, source, target, opened, vouched, size
):
    host = HttpHost(tmp_path, vouched[:2])
    host.faults.append(hang_up_unseen)
    source.commit(files={"noise": os.urandom(size).hex()})
    bench, it = opened(vouched[2]), task(source, host.url(target))
    first = bench.sync(it)
    again = first if first.status is RunStatus.SUCCESS else bench.sync(it)
    host.stop()
    assert first.transient or again is first
    assert again.status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


@pytest.mark.parametrize(("handle", "expected"), [
    *((handle, True) for handle in SOCKS.values()),
    *((handle, False) for handle in SOCKS_FINAL.values()),
], ids=[*SOCKS, *SOCKS_FINAL])  # fmt: skip
def test_a_socks_proxy_in_trouble_passes_one_that_refuses_does_not(
    serving, target, opened, handle, expected
):
    proxy = {"ALL_PROXY": f"socks5://127.0.0.1:{serving(handle)}", "no_proxy": ""}
    it = task("https://127.0.0.1:1/x.git", target)
    assert passes(opened(proxy).sync(it)) is expected
