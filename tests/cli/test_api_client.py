"""The thin client against real sockets, and against an application in this process."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gms_hookd.cli.api_client import (
    ApiError,
    ApiRequest,
    OverSocket,
    get,
    post,
)
from gms_hookd.cli.in_process import InProcess
from gms_hookd.contract import NO_PATH
from gms_hookd.errors import ClientError, SilentError, UnreachableError
from gms_hookd.http.client import post_signed
from gms_hookd.http.message import Response
from tests.support.hosts import HttpHost, certificate, free_port


class Recorder(BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = (self.command, self.path, dict(self.headers), body)
        self.server.seen.append(seen)
        status, headers, answer = self.server.answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *args):
        pass

    def address_string(self):
        return "test"


class UnixServer(HTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0


@contextmanager
def serving(kind, address, answer):
    with kind(address, Recorder) as server:
        server.seen, server.answer = [], answer
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def envelope(data=None, code=0, **more):
    return json.dumps({"code": code, "msg": "success", "data": data, **more}).encode()


@pytest.fixture
def control(tmp_path):
    with serving(UnixServer, str(tmp_path / "c.sock"), (200, {}, envelope(7))) as it:
        yield it


@pytest.fixture
def web():
    answer = (200, {"Location": "/api/webhooks/runs/3"}, b'{"task_id": 1}')
    with serving(HTTPServer, ("127.0.0.1", 0), answer) as it:
        it.url = f"http://127.0.0.1:{it.server_port}/api/webhooks/task-sync"
        yield it


def api(server):
    return OverSocket(server.server_address)


def test_a_call_over_the_socket_is_path_query_and_json(control):
    assert get(api(control), "history", task_id=1, status="a b") == 7
    assert post(api(control), "run", {"task_id": 1}) == 7
    (_, first, _, _), (method, second, headers, body) = control.seen
    assert first == "/api/v1/sync/history?task_id=1&status=a+b"
    assert (method, second) == ("POST", "/api/v1/sync/run")
    assert json.loads(body) == {"task_id": 1}
    assert headers["content-type"] == "application/json"


def test_a_call_in_process_is_the_same_request_from_the_control_socket():
    seen = []

    def handle(request, reply):
        seen.append(request)
        reply(Response(200, envelope([1])))

    assert get(InProcess(handle), "tasks", id=5) == [1]
    assert post(InProcess(handle), "run", {"task_id": 2}) == [1]
    assert (seen[0].path, seen[0].query) == ("/api/v1/sync/tasks", "id=5")
    assert seen[0].control
    assert (seen[1].method, json.loads(seen[1].body)) == ("POST", {"task_id": 2})


def test_a_refusal_carries_status_and_reason(control):
    control.answer = (404, {}, envelope(None, 404, error="no such task"))
    with pytest.raises(ApiError, match=r"^no such task$") as caught:
        get(api(control), "task", id=9)
    assert caught.value.status == 404


@pytest.mark.parametrize("raw", [b"<html>", b"[1]", b"[" * 100_000, b"\xff"])
def test_an_answer_of_something_else_is_one_line(control, raw):
    control.answer = (200, {}, raw)
    with pytest.raises(ClientError, match="is not gms-hookd"):
        get(api(control), "tasks")


def test_no_socket_and_a_dead_socket_are_unreachable(tmp_path):
    path = tmp_path / "c.sock"
    with pytest.raises(UnreachableError, match="No such file"):
        get(OverSocket(path), "tasks")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(UnreachableError, match="Connection refused"):
        get(OverSocket(path), "tasks")


def test_a_silent_daemon_is_given_up_after_the_patience(tmp_path):
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(ClientError, match=r"no answer within 0\.05 s"):
            OverSocket(path).ask(ApiRequest("GET", "tasks", patience=0.05))


def test_a_silent_application_is_given_up_after_the_patience():
    with pytest.raises(ClientError, match=r"no answer within 0\.01 s"):
        InProcess(lambda *_: None).ask(ApiRequest("GET", "tasks", patience=0.01))


def test_a_signed_post_sends_exactly_body_and_signature(web, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    posted = post_signed(web.url + "?wait=1", b'{"task_id": 1}', "sha256=00", 5)
    assert (posted.status, posted.body) == (200, {"task_id": 1})
    assert posted.location == "/api/webhooks/runs/3"
    ((_, path, headers, body),) = web.seen
    assert (path, body) == ("/api/webhooks/task-sync?wait=1", b'{"task_id": 1}')
    assert headers["x-hub-signature-256"] == "sha256=00"
    assert headers["content-type"] == "application/json"


def test_a_signed_post_goes_to_a_unix_socket_as_well(control):
    url = f"unix:{control.server_address}:/api/webhooks/task-sync?wait=2"
    assert post_signed(url, b"{}", "sha256=00", 5).status == 200
    assert control.seen[0][1] == "/api/webhooks/task-sync?wait=2"


def test_an_answer_that_is_not_json_is_kept_as_text(web):
    web.answer = (502, {}, b"<h1>Bad Gateway</h1>")
    posted = post_signed(web.url, b"{}", "sha256=00", 5)
    assert (posted.status, posted.body) == (502, None)
    assert posted.text == "<h1>Bad Gateway</h1>"


def test_a_redirect_is_not_followed(web):
    web.answer = (302, {"Location": web.url}, b"")
    assert post_signed(web.url, b"{}", "sha256=00", 5).status == 302
    assert len(web.seen) == 1


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://h/", "http://", "http://[::1/", "http://h/a b", "unix:",
     "http://h/\n", "http://h/é", "http://h:0x1/", "http://h:99999/", "file:/x"],
)  # fmt: skip
def test_what_is_no_url_is_refused_before_anything_is_sent(url):
    with pytest.raises(ClientError, match="URL"):
        post_signed(url, b"{}", "sha256=00", 1)


def test_errors_of_the_network_are_one_line_without_the_password():
    url = f"http://user:hunter2@127.0.0.1:{free_port()}/"
    with pytest.raises(UnreachableError, match=r"^127.*: Connection refused$"):
        post_signed(url, b"{}", "sha256=00", 1)
    with pytest.raises(UnreachableError, match=r"^no\.invalid: "):
        post_signed("http://no.invalid/", b"{}", "sha256=00", 1)


def test_plain_http_where_tls_was_asked_is_one_line(web):
    with pytest.raises(ClientError) as caught:
        post_signed(web.url.replace("http:", "https:"), b"{}", "sha256=00", 5)
    assert "\n" not in str(caught.value)


def hang_up(listener):
    listener.accept()[0].close()


def test_a_server_that_hangs_up_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with ThreadPoolExecutor() as pool:
            pool.submit(hang_up, listener)
            with pytest.raises(ClientError) as caught:
                post_signed(url, b"{}", "sha256=00", 5)
    assert "\n" not in str(caught.value)


def test_a_certificate_of_our_own_is_believed_as_it_stands(tmp_path):
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, key = certificate(tmp_path / "own")
    other, _ = certificate(tmp_path / "other")
    host = HttpHost(tmp_path, (own, key))
    url = f"{host.base}/"
    try:
        assert post_signed(url, b"{}", "sha256=00", 5, own).status == 404
        with pytest.raises(ClientError, match="certificate: self-signed"):
            post_signed(url, b"{}", "sha256=00", 5, other)
    finally:
        host.stop()


def test_a_daemon_that_many_wait_for_already_is_silent(tmp_path):
    path = str(tmp_path / "c.sock")
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as waiting:
        listener.bind(path)
        listener.listen(0)
        refused = 0
        while not refused:
            one = waiting.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            refused = one.connect_ex(path)
        with pytest.raises(SilentError, match="too many wait"):
            get(OverSocket(path), "tasks")


def test_a_daemon_that_does_not_know_a_call_is_to_be_restarted(control):
    said = json.dumps({"code": 404, "msg": NO_PATH, "error": NO_PATH}).encode()
    control.answer = (404, {}, said)
    with pytest.raises(ClientError, match=r"older .*: systemctl restart gms-hookd"):
        get(OverSocket(control.server_address), "parcels")


CUT = "in the middle of its answer"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", CUT),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}", "is not gms-hookd"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0", "is not gms-hookd"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200, "is not gms-hookd"),
        (b"HTTP/1.1 OK\r\n\r\n{}", "is not gms-hookd"),
        (b"220 mail.example.org ESMTP\r\n\r\n", "is not gms-hookd"),
    ],
)
def test_a_broken_answer_is_one_line(tmp_path, raw, said):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "c.sock"))
        listener.listen()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(get, OverSocket(tmp_path / "c.sock"), "tasks")
            answerer, _ = listener.accept()
            with answerer:
                while not answerer.recv(65536).endswith(b"\r\n\r\n"):
                    pass
                answerer.sendall(raw)
            with pytest.raises(ClientError, match=said):
                asked.result(30)


def test_an_answer_without_a_length_ends_with_the_connection(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "c.sock"))
        listener.listen()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(get, OverSocket(tmp_path / "c.sock"), "tasks")
            answerer, _ = listener.accept()
            with answerer:
                answerer.recv(65536)
                answerer.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + envelope([1]))
            assert asked.result(30) == [1]
