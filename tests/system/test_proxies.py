"""Behind a real nginx and a real HAProxy that keep their connections to us.

What a proxy forbids must not reach us inside another request, each answer must belong
to its request, and who is asking must be who connected to the proxy. PROXY_REQUESTS
says how many requests each proxy carries.
"""

import hashlib
import hmac
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest

from gms_hookd.cli.manual import topic
from tests.support.hosts import free_port, wait_for_port
from tests.support.process import SECRET, Daemon

REQUESTS = int(os.environ.get("PROXY_REQUESTS", "200"))
CLIENTS = 4
TASKS = 10  # one more is the canary
CANARY = TASKS + 1
PATH = "/api/webhooks/task-sync"
PROXY = "127.0.0.9"  # where it connects to us from

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  underscores_in_headers on; ignore_invalid_headers off;
  large_client_header_buffers 4 64k; client_max_body_size 0;
  upstream hookd {{ server 127.0.0.1:{there}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{here};
    keepalive_requests 1000000;
    location / {{
      if ($args ~ canary) {{ return 403; }}
      proxy_pass http://hookd; proxy_bind {source};
      proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_next_upstream off;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 512
  tune.bufsize 65536
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  option http-keep-alive
frontend front
  bind 127.0.0.1:{here}
  option accept-invalid-http-request
  http-request deny if {{ url_sub canary }}
  default_backend hookd
backend hookd
  http-reuse always
  option forwardfor
  source {source}
  server hookd 127.0.0.1:{there}
"""


class Nginx:
    """Its most permissive settings: what it would refuse is to reach us."""

    program, template = "/usr/sbin/nginx", NGINX

    def argv(self, config):
        return (self.program, "-p", config.parent, "-c", config)


class Haproxy:
    """The same."""

    program, template = "/usr/sbin/haproxy", HAPROXY

    def argv(self, config):
        return (self.program, "-db", "-f", config)


def recipe(kind):
    """Return what the manual has for a proxy, without TLS, as a template."""
    block = re.search(rf"```{kind}\n(.*?)```", topic("install"), re.DOTALL)[1]
    text = block.replace("{", "{{").replace("}", "}}")
    text = re.sub(r"listen 443 ssl|(bind) :443 ssl crt \S+", _here, text)
    return re.sub(" *ssl_.*\n", "", text).replace(":38080", ":{there}")


def _here(found):
    return f"{found[1] or 'listen'} 127.0.0.1:{{here}}"


class NginxOfTheManual(Nginx):
    """As the manual has it."""

    template = NGINX.partition("  upstream")[0] + recipe("nginx") + "}}\n"


class HaproxyOfTheManual(Haproxy):
    """The same."""

    template = HAPROXY.partition("frontend")[0] + recipe("haproxy")


@pytest.fixture
def daemon(tmp_path):
    """A daemon that trusts the proxy; a test says the rest and starts it."""
    made = Daemon(tmp_path)
    made.port = free_port()
    yield made
    made.close()


def configure(daemon, webhook, proxy=PROXY):
    listen = f'["unix:{daemon.socket}", "127.0.0.1:{daemon.port}"]'
    daemon.config.write_text(
        f'[webhook]\nsecret = "{SECRET}"\n{webhook}\n'
        f'[server]\nlisten = {listen}\ntrusted_proxies = ["{proxy}"]\n'
        'max_body = "64KiB"\n'
    )
    daemon.start()


@pytest.fixture(params=[Nginx, Haproxy], ids=["nginx", "haproxy"])
def proxy(request, tmp_path, daemon):
    """The port of a proxy in front of the daemon."""
    with serving(request.param(), tmp_path, daemon) as here:
        yield here


@contextmanager
def serving(kind, tmp_path, daemon):
    """Start a proxy; gives its port."""
    if shutil.which(kind.program) is None:
        pytest.skip(f"needs {kind.program}")
    folder, here = tmp_path / "proxy", free_port()
    folder.mkdir()
    config = folder / "config"
    places = {"folder": folder, "here": here, "there": daemon.port, "source": PROXY}
    config.write_text(kind.template.format(**places))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(kind.argv(config), stdout=log, stderr=log)
    try:
        wait_for_port(here)
        yield here
    finally:
        process.kill()
        process.wait()


def signature(body):
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return b"X-Hub-Signature-256: sha256=" + digest.encode() + b"\r\n"


def post(number, *lines, sign=True, path=PATH):
    """The head of a trigger up to its last lines, and its body."""
    body = json.dumps({"task_id": number}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    signed = signature(body) if sign else b""
    return head.encode() + signed + b"".join(line + b"\r\n" for line in lines), body


def whole(number, **how):
    head, body = post(number, **how)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(number):
    head, body = post(number, b"Transfer-Encoding: chunked")
    parts = (body[:5], body[5:])
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + b"\r\n" + pieces + b"0\r\n\r\n"


# Rightly signed, and forbidden by the proxy: it runs only if it is smuggled past.
SMUGGLED = whole(CANARY, path=PATH + "?canary=1")


def good(chance, serial):
    """A request, and the status and body that only its own answer has."""
    task, unknown = chance.randint(1, TASKS), 1_000_000 + serial
    told = {"message": "Sync triggered successfully", "task_id": task}
    missing = {"error": f"no task {unknown}"}
    return chance.choice(
        [
            (whole(task), 200, told),
            (chunked(task), 200, told),
            (whole(unknown), 404, missing),
            (chunked(unknown), 404, missing),
            (wrapped(unknown), 401, None),
            (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200, None),
        ]
    )


def wrapped(number):
    """A request whose body looks like further requests."""
    head, _ = post(number, sign=False)
    body = SMUGGLED * 3
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


CHUNKED = b"Transfer-Encoding: chunked"
TRICKS = [
    b"3\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3;\rabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n", b"fffffffff\r\n", b"3 \r\nabc\r\n0\r\n\r\n",
    b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", b"-1\r\n0\r\n\r\n",
    b"00000000000000000\r\n\r\n",
    b"0\r\nContent-Length: 400\r\n\r\n", b"0\n\n", b"0\r\n\r",
]  # fmt: skip
CODINGS = [
    b"xchunked", b"chunked, identity", b"\x0bchunked", b"identity, chunked",
    b"chunked\r\nTransfer-Encoding: identity", b"chunked\r\nTransfer-encoding: chunked",
    b"\r\n chunked", b"chunked\n", b"gzip, chunked", b'"chunked"', b"CHUNKED\x00",
]  # fmt: skip
LENGTHS = [
    b"Content-Length: +%d", b"Content-Length: %d,%d", b"Content-Length : %d",
    b"Content_Length: %d", b"Content-Length: 0\r\nContent-Length: %d",
    b"Content-Length: %d\r\nContent-Length: 0", b"X: y\rContent-Length: %d",
    b"X: y\nContent-Length: %d", b"Content-Length: 0x%x", b"\tContent-Length: %d",
    b"Content-Length:\r\n %d", b"Content-Length: %d\x00", b"Content-Length: -%d",
]  # fmt: skip


def hostile(chance, serial):
    """Bytes in which different readers may see different requests."""
    bait = b"Content-Length: %d" % (5 + len(SMUGGLED))
    lengths = chance.choice(LENGTHS)
    sizes = (len(SMUGGLED),) * lengths.count(b"%")
    prefix, _ = post(serial, sign=chance.random() < 0.5)
    huge = b"Content-Length: 100000\r\n\r\n" + SMUGGLED * 3
    return chance.choice(
        [
            # CL.TE, TE.CL, TE.TE
            prefix + bait + b"\r\n" + CHUNKED + b"\r\n\r\n0\r\n\r\n" + SMUGGLED,
            prefix + CHUNKED + b"\r\nContent-Length: 4\r\n\r\n1\r\nZ\r\n0\r\n\r\n"
            + SMUGGLED,
            prefix + b"Transfer-Encoding: " + chance.choice(CODINGS)
            + b"\r\n\r\n0\r\n\r\n" + SMUGGLED,
            prefix + lengths % sizes + b"\r\n\r\n" + SMUGGLED,
            prefix + CHUNKED + b"\r\n\r\n" + chance.choice(TRICKS) + SMUGGLED,
            prefix + b"Transfer_Encoding: chunked\r\n" + bait + b"\r\n\r\n" + SMUGGLED,
            # pipelined, bare line feeds, a second head within the first
            whole(serial, sign=False) + SMUGGLED + SMUGGLED,
            b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n" + SMUGGLED,
            SMUGGLED.replace(b"\r\n", b"\n"),
            b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".replace(b"\r", b"") + SMUGGLED,
            b"GET /healthz\r\n\r\n" + SMUGGLED,
            b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n" + SMUGGLED,
            # what must not be waited for, and too much
            prefix + b"Expect: 100-continue\r\n" + huge,
            prefix + huge,
            prefix + b"X-Long: " + b"x" * 40_000 + b"\r\n\r\n" + SMUGGLED,
            prefix + b"Connection: close, Content-Length\r\n" + bait + b"\r\n\r\n"
            + SMUGGLED,
            prefix + b"Upgrade: h2c\r\nConnection: Upgrade\r\n" + bait + b"\r\n\r\n"
            + SMUGGLED,
        ]
    )  # fmt: skip


class Client:
    """One of the proxy's clients, on a connection that is kept while it can be."""

    def __init__(self, port, source="127.0.0.1"):
        self.port, self.source = port, source
        self.sock = None

    def send(self, raw, timeout=30.0):
        if self.sock is None:
            place = ("127.0.0.1", self.port)
            self.sock = socket.create_connection(place, 30, (self.source, 0))
            self.rest = b""
        self.sock.settimeout(timeout)
        self.sock.sendall(raw)

    def ask(self, raw):
        """Send a request; gives status, head and body of the answer."""
        self.send(raw)
        head = self._head()
        size = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1])
        while len(self.rest) < size:
            self._more()
        body, self.rest = self.rest[:size], self.rest[size:]
        assert not self.rest, "an answer to nothing"
        if re.search(rb"(?i)\r\nconnection: *close", head):
            self.close()
        return int(head.split()[1]), head, body

    def _head(self):
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head

    def _more(self):
        piece = self.sock.recv(65536)
        assert piece, "closed without an answer"
        self.rest += piece

    def throw(self, raw):
        """Send what may be answered anyhow; look at it for a moment and hang up."""
        self.close()
        with suppress(OSError):
            self.send(raw, 0.05)
            while self.sock.recv(65536):
                pass
        self.close()

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None


def mixed(port, seed):
    """One client's requests, good and hostile; gives what was asked and answered."""
    chance, client = random.Random(seed), Client(port)
    told = []
    for number in range(REQUESTS // CLIENTS):
        serial = seed * 1_000_000 + number
        if chance.random() < 0.4:
            client.throw(hostile(chance, serial))
        else:
            raw, status, text = good(chance, serial)
            told.append((status, text, client.ask(raw)))
    client.close()
    return told


def test_each_answer_is_its_requests_own_and_nothing_forbidden_runs(daemon, proxy):
    configure(daemon, "rate_limit = 0")
    for number in range(1, CANARY + 1):
        daemon.add_task(f"t{number}", "/nonexistent/source", "/nonexistent/target")
    with ThreadPoolExecutor(CLIENTS) as pool:
        seeds = range(1, CLIENTS + 1)
        told = [t for each in pool.map(lambda s: mixed(proxy, s), seeds) for t in each]
    assert len(told) > REQUESTS // 3
    for status, text, (answered, head, body) in told:
        assert (answered, text) == (status, json.loads(body) if text else None), head
    ids = {
        re.search(rb"(?i)x-request-id: (\w+)", head)[1] for _, _, (_, head, _) in told
    }
    assert len(ids) == len(told)
    assert daemon.api("GET", f"history?task_id={CANARY}") == []
    wanted = sum(status == 200 and text is not None for status, text, _ in told)
    assert accepted(daemon) == wanted
    # The bait is alive: it runs for who gets past the proxy.
    past = Client(daemon.port)
    assert past.ask(SMUGGLED)[0] == 200
    past.close()


def accepted(daemon):
    """Count the deliveries that started something."""
    with closing(sqlite3.connect(daemon.state / "gms-hookd.db")) as db:
        query = "SELECT count(*) FROM deliveries WHERE status=200"
        return db.execute(query).fetchone()[0]


SPOOFED = [
    b"127.0.0.2", b"127.0.0.2, 127.0.0.2", b"127.0.0.2,127.0.0.9", b"127.0.0.9",
    b"::ffff:127.0.0.2", b"127.0.0.2:80", b'"127.0.0.2"', b", ", b"unknown",
    b"127.0.0.2\r\nX-Forwarded-For: 127.0.0.2", b"1.1.1.1" * 900,
    b"127.0.0.2" + b"," * 900,
    b"127.0.0.2\r\nForwarded: for=127.0.0.2\r\nX-Real-IP: 127.0.0.2",
]  # fmt: skip


def spoofed(text):
    head, body = post(1, b"X-Forwarded-For: " + text)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_who_is_let_in_is_who_connected_to_the_proxy(daemon, proxy):
    configure(daemon, 'rate_limit = 0\nip_whitelist = ["127.0.0.2"]')
    daemon.add_task("t", "/nonexistent/source", "/nonexistent/target")
    friend, outsider = Client(proxy, "127.0.0.2"), Client(proxy, "127.0.0.4")
    assert [friend.ask(spoofed(text))[0] for text in SPOOFED] == [200] * len(SPOOFED)
    assert [outsider.ask(spoofed(text))[0] for text in SPOOFED] == [403] * len(SPOOFED)
    friend.close()
    outsider.close()
    kept = daemon.api("GET", "deliveries?limit=100")
    assert {(d["client"], d["status"]) for d in kept} == {
        ("127.0.0.2", 200),
        ("127.0.0.4", 403),
    }


def test_no_spoofed_address_has_a_share_of_its_own_or_uses_up_anothers(daemon, proxy):
    configure(daemon, "rate_limit = 5")
    daemon.add_task("t", "/nonexistent/source", "/nonexistent/target")
    greedy, modest = Client(proxy, "127.0.0.4"), Client(proxy, "127.0.0.2")
    statuses = [greedy.ask(spoofed(text))[0] for text in SPOOFED]
    assert 5 <= statuses.count(200) < 8  # a token may come back meanwhile
    assert set(statuses) == {200, 429}
    assert [modest.ask(whole(1))[0] for _ in range(5)] == [200] * 5
    greedy.close()
    modest.close()


@pytest.mark.parametrize("kind", [NginxOfTheManual, HaproxyOfTheManual])
def test_behind_a_proxy_as_the_manual_has_it_a_delivery_has_its_sender(
    daemon, tmp_path, kind
):
    configure(daemon, "", proxy="127.0.0.1")
    daemon.add_task("t", "/nonexistent/source", "/nonexistent/target")
    with serving(kind(), tmp_path, daemon) as here:
        client = Client(here, "127.0.0.2")
        assert client.ask(spoofed(b"192.0.2.1"))[0] == 200
        client.close()
    assert [d["client"] for d in daemon.api("GET", "deliveries")] == ["127.0.0.2"]
