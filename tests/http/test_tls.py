"""The front over TLS, with certificates of the test's own."""

import shutil
import ssl
import subprocess

import pytest

from gms_hookd.http import tls
from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import listen
from tests.support.serving import (
    GET,
    LAST,
    connect,
    exchange,
    post,
    read_all,
    read_answer,
    serving,
    statuses,
)


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
