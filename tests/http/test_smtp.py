"""Mail reaches a real server over TLS only; what the server says is believed.

AIOSMTPD names a Python that has aiosmtpd; without it the tests are skipped.
"""

import base64
import json
import os
import socket
import subprocess
import threading
from email.message import EmailMessage

import pytest

from gms_hookd.errors import ClientError
from gms_hookd.http import smtp
from gms_hookd.http.smtp import MailServer, deliver
from tests.support import hosts

PYTHON = os.environ.get("AIOSMTPD", "")
SERVER = """
import json, ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

mode, cert, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)

class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such user"
        if address.startswith("later"):
            return "451 come back"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "tls": mode == "tls" or session.ssl is not None,
            "login": session.authenticated,
            "to": envelope.rcpt_tos, "text": envelope.content.decode(),
        }), flush=True)
        return "250 taken"

def login(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"user", b"pass word")
    return AuthResult(success=good, handled=False)

class Own(Controller):
    def factory(self):
        more = {} if mode != "starttls" else {"tls_context": context,
                                             "require_starttls": True}
        return SMTP(self.handler, authenticator=login, auth_require_tls=mode != "tls",
                    auth_required=mode != "plain", **more)

own = Own(Handler(), hostname="127.0.0.1", port=int(sys.stdin.readline()),
          ssl_context=context if mode == "tls" else None)
own.start()
print("ready", flush=True)
sys.stdin.read()
own.stop()
"""


def message(to="ops@example.org"):
    made = EmailMessage()
    made["From"], made["To"] = "hookd@example.org", to
    made["Subject"] = "[失败] app"
    made.set_content("reason\n")
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return hosts.certificate(tmp_path_factory.mktemp("smtp"))


@pytest.fixture
def serve(certificate, tmp_path):
    started = []

    def start(mode):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [PYTHON, "-c", SERVER, mode, *certificate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.stdin.write(f"{port}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        return process, port

    yield start
    for process in started:
        process.kill()
        process.communicate()


def place(port, certificate, mode, **more):
    given = {"username": "user", "password": "pass word", "ca_file": certificate[0]}
    return MailServer("127.0.0.1", port, implicit=mode == "tls", **given | more)


needs_server = pytest.mark.skipif(not PYTHON, reason="AIOSMTPD names no Python")


@needs_server
@pytest.mark.parametrize("mode", ["tls", "starttls"])
def test_a_mail_is_handed_over_in_tls_with_the_login(serve, certificate, mode):
    process, port = serve(mode)
    said = deliver(message(), place(port, certificate, mode), 15.0)
    assert said == (f"127.0.0.1:{port} has taken it", "")
    got = json.loads(process.stdout.readline())
    assert (got["tls"], got["login"]) == (True, True)
    assert got["to"] == ["ops@example.org"]
    assert "reason" in got["text"]


@needs_server
@pytest.mark.parametrize(
    ("mode", "to", "more", "final"),
    [
        ("starttls", "nobody@example.org", {}, True),
        ("starttls", "later@example.org", {}, False),
        ("starttls", "ops@example.org", {"password": "wrong"}, True),
        ("starttls", "ops@example.org", {"ca_file": None}, False),
        ("plain", "ops@example.org", {}, True),
    ],
)
def test_what_the_server_says_is_believed(serve, certificate, mode, to, more, final):
    _, port = serve(mode)
    with pytest.raises(ClientError) as raised:
        deliver(message(to), place(port, certificate, mode, **more), 15.0)
    assert isinstance(raised.value, smtp.RefusedError) == final
    assert "pass word" not in str(raised.value)


@needs_server
def test_who_alone_is_refused_is_named_and_the_others_have_it(serve, certificate):
    process, port = serve("starttls")
    both = message("nobody@example.org, ops@example.org, later@example.org")
    said, refused = deliver(both, place(port, certificate, "starttls"), 15.0)
    assert refused == "not for nobody@example.org and 1 more: 550 no such user"
    assert said == f"127.0.0.1:{port} has taken it, but {refused}"
    assert json.loads(process.stdout.readline())["to"] == ["ops@example.org"]


@needs_server
def test_a_server_without_tls_is_for_who_says_so(serve, certificate):
    process, port = serve("plain")
    server = place(port, certificate, "plain", insecure=True, username="")
    deliver(message(), server, 15.0)
    assert json.loads(process.stdout.readline())["tls"] is False


@pytest.mark.parametrize("greeting", [b"", b"220-", b"220 x\r\n", b"554 no\r\n"])
def test_a_server_that_says_nothing_to_the_point_is_left_in_time(greeting):
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            peer, _ = listening.accept()
            with peer:
                peer.sendall(greeting)
                while not ending.wait(0.1) and greeting == b"220-":
                    peer.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        server = MailServer("127.0.0.1", listening.getsockname()[1])
        with pytest.raises(ClientError) as raised:
            deliver(message(), server, 1.0)
        ending.set()
        thread.join(10)
    assert "\n" not in str(raised.value)


class Scripted:
    """A server without TLS that takes all, and keeps what it was told."""

    def __init__(self, before_taking=lambda: None):
        self.told = []
        self._before_taking = before_taking
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        peer, _ = self._listening.accept()
        with peer, peer.makefile("rb") as lines:
            peer.sendall(b"220 here\r\n")
            for line in lines:
                self.told.append(line.decode().rstrip())
                peer.sendall(self._answer(line))

    def _answer(self, line):
        if line == b".\r\n":
            self._before_taking()
            return b"250 taken\r\n"
        answers = {
            b"EHLO": b"250-here\r\n250 AUTH PLAIN LOGIN\r\n", b"AUTH": b"235 in\r\n",
            b"MAIL": b"250 go on\r\n", b"RCPT": b"250 go on\r\n",
            b"DATA": b"354 go on\r\n",
        }  # fmt: skip
        return answers.get(line[:4].upper(), b"")

    def stop(self):
        self._thread.join(10)
        self._listening.close()


def test_a_server_that_looks_into_a_mail_for_long_has_taken_it():
    looked, within = threading.Event(), 1.0
    server = Scripted(lambda: looked.wait(30))
    threading.Timer(1.5 * within, looked.set).start()
    place = MailServer("127.0.0.1", server.port, insecure=True)
    assert "has taken it" in deliver(message(), place, within).said
    server.stop()


@pytest.mark.parametrize("password", ["pass word", "paß wörd 密码"])
def test_a_login_may_have_any_character(password):
    server = Scripted()
    user = {"username": "jürgen" if not password.isascii() else "user"}
    place = MailServer(
        "127.0.0.1", server.port, insecure=True, password=password, **user
    )
    deliver(message(), place, 15.0)
    server.stop()
    (said,) = (line for line in server.told if line.startswith("AUTH PLAIN "))
    given = base64.b64decode(said.removeprefix("AUTH PLAIN ")).decode()
    assert given == f"\0{user['username']}\0{password}"


@pytest.mark.parametrize(("name", "said"), [
    ("vm", "[127.0.0.1]"), ("vm.example.org", "vm.example.org"),
])  # fmt: skip
def test_a_machine_without_a_whole_name_gives_its_address(monkeypatch, name, said):
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    server = Scripted()
    deliver(message(), MailServer("127.0.0.1", server.port, insecure=True), 15.0)
    server.stop()
    assert server.told[0] == f"ehlo {said}"
