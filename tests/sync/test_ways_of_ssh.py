"""Hosts that ssh reaches only by a setting: old algorithms, a proxy in between."""

import base64
import contextlib
import os
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

import gms_hookd
from gms_hookd.git import ssh_proxy
from gms_hookd.git.credentials import Credential
from gms_hookd.model import RunStatus
from tests.support.hosts import SSHD, SshHost
from tests.support.processes import command_lines
from tests.support.repositories import task

USER, PASSWORD = "proxy-user", "pr0xy/c4n4ry:@%"
LOGIN = "proxy-user:pr0xy%2Fc4n4ry%3A%40%25@"
OLD = ("KexAlgorithms diffie-hellman-group14-sha1", "Ciphers aes128-cbc")


def credential(url, *options, proxy=None):
    prefix = "ssh://" + url.partition("@")[2].partition("/")[0]
    given = proxy and ssh_proxy.parse(proxy)
    return Credential(prefix, ssh_options=options, ssh_proxy=given)


@pytest.fixture
def old_host(tmp_path):
    if not SSHD.exists() or not os.access("/run", os.W_OK):
        pytest.skip("needs /usr/sbin/sshd (openssh-server), started as root")
    (tmp_path / "sshd").mkdir()
    host = SshHost(tmp_path / "sshd", *OLD)
    yield host
    host.stop()


def test_what_an_old_host_offers_is_named_with_the_setting_that_allows_it(
    old_host, source, target, opened
):
    url, options = old_host.url(source), []
    kex, cipher = "KexAlgorithms=+diffie-hellman-group14-sha1", "Ciphers=+aes128-cbc"
    for said, option in (
        ("no matching key exchange method", kex),
        ("no matching cipher found", cipher),
    ):
        outcome = sync_by(old_host, opened, task(url, target), *options)
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
        assert said in outcome.error_message
        table = f'[credentials."ssh://127.0.0.1:{old_host.port}"]'
        assert outcome.error_message.endswith(f'{table} ssh_options = ["{option}"]')
        options.append(option)
    outcome = sync_by(old_host, opened, task(url, target), *options)
    assert outcome.status is RunStatus.SUCCESS


def test_a_text_where_git_should_speak_is_named_with_the_way_to_see_it(
    tmp_path, source, target, opened
):
    if not SSHD.exists() or not os.access("/run", os.W_OK):
        pytest.skip("needs /usr/sbin/sshd (openssh-server), started as root")
    host = SshHost(tmp_path, "ForceCommand echo This account is for sftp only")
    try:
        outcome = sync_by(host, opened, task(host.url(source), target))
    finally:
        host.stop()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "a text instead, which begins with 'This'" in outcome.error_message
    user, _, _ = host.url(source).removeprefix("ssh://").partition("@")
    see = f"see sudo ssh -p {host.port} -i {host.key} {user}@127.0.0.1 true"
    assert outcome.error_message.endswith(see)


def sync_by(host, opened, it, *options, proxy=None):
    files = {"ssh_key_file": host.key, "ssh_known_hosts": host.known_hosts}
    bench = opened(credentials=[credential(it.source, *options, proxy=proxy)], **files)
    outcome = bench.sync(it)
    assert PASSWORD not in repr(outcome) + bench.log.text()
    return outcome


class Proxy:
    """A proxy on loopback that speaks both protocols and notes what it is asked."""

    def __init__(self, answer=0, login=False):
        self.answer, self.login = answer, login
        self.asked = []
        self.seen = ""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here):
        with here, contextlib.suppress(OSError, IndexError):  # the client hung up
            first = here.recv(1)
            place = self._socks(here) if first == b"\x05" else self._http(here, first)
            if place is None:
                return
            self.asked.append(place)
            self.seen += "\n".join(command_lines())
            with socket.create_connection(place) as there:
                back = threading.Thread(target=self._carry, args=(there, here))
                back.start()
                self._carry(here, there)
                back.join()

    def _carry(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def _socks(self, here):
        methods = here.recv(here.recv(1)[0])
        wanted = 2 if self.login else 0
        here.sendall(bytes([5, wanted if wanted in methods else 255]))
        if self.login:
            here.recv(1)
            user = here.recv(here.recv(1)[0])
            right = (user, here.recv(here.recv(1)[0])) == (
                USER.encode(),
                PASSWORD.encode(),
            )
            here.sendall(bytes([1, not right]))
            if not right:
                return None
        kind = here.recv(4)[3]
        size = 4 if kind == 1 else here.recv(1)[0]
        host = here.recv(size)
        name = ".".join(map(str, host)) if kind == 1 else host.decode()
        port = int.from_bytes(here.recv(2), "big")
        here.sendall(bytes([5, self.answer, 0, 1, 0, 0, 0, 0, 0, 0]))
        return None if self.answer else (name, port)

    def _http(self, here, first):
        head = first
        while b"\r\n\r\n" not in head:
            head += here.recv(65536)
        both = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        right = not self.login or b"Proxy-Authorization: Basic " + both in head
        status = self.answer or (200 if right else 407)
        here.sendall(b"HTTP/1.1 %d x\r\nX: y\r\n\r\n" % status)
        host, _, port = head.split()[1].decode().rpartition(":")
        return (host, int(port)) if status == 200 else None

    def stop(self):
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # or accept would take one more
        self._server.close()


@pytest.fixture
def proxied():
    made = []

    def make(scheme, user="", **settings):
        made.append(Proxy(**settings))
        return made[-1], f"{scheme}://{user}127.0.0.1:{made[-1].port}"

    yield make
    for proxy in made:
        proxy.stop()


@pytest.mark.parametrize("scheme", ["socks5", "http"])
@pytest.mark.parametrize("login", ["", LOGIN])
def test_ssh_goes_through_a_proxy_once(
    proxied, sshd, source, target, opened, scheme, login
):
    proxy, url = proxied(scheme, login, login=bool(login))
    files = {"ssh_key_file": sshd.key, "ssh_known_hosts": sshd.known_hosts}
    by = credential(sshd.url(source), proxy=url)
    bench = opened(credentials=[by], **files)
    it = task(sshd.url(source), sshd.url(target))
    for _ in range(2):
        source.commit(files={"big": os.urandom(100_000).hex()})
        assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    assert proxy.asked == [("127.0.0.1", sshd.port)], "the connection is kept"
    assert "ssh_proxy" in proxy.seen
    assert PASSWORD not in proxy.seen
    assert LOGIN not in proxy.seen


@pytest.mark.parametrize(("scheme", "settings", "login", "said", "passes"), [
    ("socks5", {"answer": 1}, "", "has a trouble of its own", True),
    ("socks5", {"answer": 4}, "", "host unreachable: 127.0.0.1 port ", True),
    ("socks5", {"answer": 2}, "", "does not allow it: 127.0.0.1 port ", False),
    ("socks5", {"login": True}, "", "wants a login that it is not given", False),
    ("socks5", {"login": True}, "a:b@", "refused the login", False),
    ("http", {"answer": 503}, "", "has a trouble of its own: 127.0.0.1 port ", True),
    ("http", {"answer": 403}, "", "does not allow it: 127.0.0.1 port ", False),
    ("http", {"login": True}, "", "wants a login (407)", False),
    ("http", {"login": True}, "a:b@", "refused the login", False),
])  # fmt: skip
def test_a_proxy_that_does_not_take_us_there_says_why(
    proxied, sshd, source, target, opened, scheme, settings, login, said, passes
):
    proxy, url = proxied(scheme, login, **settings)
    outcome = sync_by(sshd, opened, task(sshd.url(source), target), proxy=url)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, passes)
    place = f"ssh_proxy {scheme}://127.0.0.1:{proxy.port}"
    assert f"{place}: {said}" in outcome.error_message
    assert ("put user:password@ into" in outcome.error_message) is ("login" in said)


def test_a_proxy_that_is_down_is_transient(proxied, sshd, source, target, opened):
    proxy, url = proxied("socks5")
    proxy.stop()
    outcome = sync_by(sshd, opened, task(sshd.url(source), target), proxy=url)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert f"127.0.0.1:{proxy.port}: Connection refused" in outcome.error_message


def test_what_is_no_proxy_is_named(sshd, source, target, opened):
    url = f"socks5://127.0.0.1:{sshd.port}"
    outcome = sync_by(sshd, opened, task(sshd.url(source), target), proxy=url)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "is no SOCKS 5 proxy" in outcome.error_message


def test_a_name_is_looked_up_by_the_proxy(proxied):
    proxy, url = proxied("socks5h", answer=4)
    with pytest.raises(ssh_proxy.ProxyError, match=r"git\.example port 22"):
        ssh_proxy.connect(ssh_proxy.parse(url), "git.example", 22)
    proxy.stop()


def test_it_runs_from_an_archive_too(tmp_path, proxied):
    root = Path(gms_hookd.__file__).parent
    archive = tmp_path / "gms hookd%.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for path in root.rglob("*.py"):
            file.write(path, path.relative_to(root.parent))
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r});"
        "from gms_hookd.git.ssh_proxy import command; print(command())"
    )
    argv = (sys.executable, "-I", "-S", "-c", code)
    made = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    host = socket.create_server(("127.0.0.1", 0))
    _, url = proxied("http")
    shell = made.strip().replace("%h", "127.0.0.1").replace("%%", "%")
    shell = shell.replace("%p", str(host.getsockname()[1]))
    with subprocess.Popen(
        ("/bin/sh", "-c", "exec " + shell),
        env={"SSH_PROXY": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        there, _ = host.accept()
        there.sendall(b"SSH-2.0-x\r\n")
        assert process.stdout.readline() == b"SSH-2.0-x\r\n"
        process.stdin.write(b"hello")
        process.stdin.close()
        assert there.recv(100) == b"hello"
        assert there.recv(100) == b""
        there.close()
        host.close()
        assert process.stdout.read() == b""
