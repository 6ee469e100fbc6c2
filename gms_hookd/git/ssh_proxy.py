"""The way of ssh through a proxy: SOCKS 5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110).

ssh starts it as its ProxyCommand, in an interpreter of its own: it connects its input
and output to a port behind the proxy. Where the proxy is, and what it wants to know,
stands in the environment, not among the arguments, which everybody can read.
"""

import base64
import os
import select
import shlex
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

VARIABLE = "SSH_PROXY"
SCHEMES = ("socks5", "socks5h", "http")
PATIENCE = 15.0  # seconds for the proxy to take us to the host
HEAD = 16384  # bytes of the answer to CONNECT
# RFC 1928, section 6; the others are troubles of the way.
REFUSED = {2: "does not allow it", 7: "does not know CONNECT", 8: "has no such address"}
PASSING = {
    1: "has a trouble of its own", 3: "network unreachable", 4: "host unreachable",
    5: "connection refused", 6: "timed out",
}  # fmt: skip
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main()"
)


class Proxy(NamedTuple):
    """Where a proxy is, and who we are there."""

    url: str
    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def place(self) -> str:
        """Return it as a URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class ProxyError(Exception):
    """The proxy does not take us there; the text says why."""


def parse(text: str) -> Proxy:
    """Return the proxy that a URL names. Raises ValueError with problem and remedy."""
    example = 'as in "socks5://proxy.example:1080" or "http://proxy.example:3128"'
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(f"is no URL of a proxy, {example}") from None
    if url.scheme not in SCHEMES or not host or not port:
        raise ValueError(f"must be a URL with host and port, {example}")
    if url.path.strip("/") or url.query or url.fragment or not text.isprintable():
        raise ValueError(f"must end after the port, {example}")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    if len(user.encode()) > 255 or len(password.encode()) > 255:
        raise ValueError("has a user or a password of more than 255 bytes")
    return Proxy(text, url.scheme, host, port, user, password)


def command() -> str:
    """Return the value of ssh's option ProxyCommand; its own names are %h and %p."""
    archive = str(Path(__file__).parents[2])
    start = _START.format(module=__name__)
    argv = (sys.executable or "python3", "-I", "-S", "-c", start, archive)
    return shlex.join(argv).replace("%", "%%") + " %h %p"


def connect(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Return a connection to a port behind a proxy. Raises ProxyError and OSError."""
    sock = socket.create_connection((proxy.host, proxy.port), PATIENCE)
    try:
        through = _connect if proxy.scheme == "http" else _socks
        through(sock, proxy, host, port)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(None)
    return sock


def _socks(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    _greet(sock, proxy)
    sock.sendall(b"\x05\x01\x00" + _address(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = _exactly(sock, 4)
    if reply:
        why = REFUSED.get(reply) or PASSING.get(reply, "failed")
        raise ProxyError(f"{why}: {host} port {port} ({reply})")
    size = {1: 4, 4: 16}.get(kind) or _exactly(sock, 1)[0]
    _exactly(sock, size + 2)


def _greet(sock: socket.socket, proxy: Proxy) -> None:
    """Agree on how to log in, and do it."""
    methods = b"\x00\x02" if proxy.user else b"\x00"
    sock.sendall(b"\x05" + bytes([len(methods)]) + methods)
    version, method = _exactly(sock, 2)
    if version != 5:
        raise ProxyError("is no SOCKS 5 proxy")
    if method == 2 and proxy.user:
        _log_in(sock, proxy)
    elif method != 0:
        raise ProxyError("wants a login that it is not given")


def _log_in(sock: socket.socket, proxy: Proxy) -> None:
    user, password = proxy.user.encode(), proxy.password.encode()
    named = bytes([len(user)]) + user + bytes([len(password)]) + password
    sock.sendall(b"\x01" + named)
    if _exactly(sock, 2)[1]:
        raise ProxyError("refused the login")


def _address(host: str) -> bytes:
    """Return an address as SOCKS has it; names are looked up by the proxy."""
    with suppress(ValueError):
        address = ip_address(host)
        return (b"\x01" if address.version == 4 else b"\x04") + address.packed
    name = host.encode("idna")
    return b"\x03" + bytes([len(name)]) + name


def _login(proxy: Proxy) -> list[str]:
    both = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    return [f"Proxy-Authorization: Basic {both}"] if proxy.user else []


def _connect(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *_login(proxy)]
    sock.sendall("\r\n".join((*lines, "", "")).encode())
    status = _status(_head(sock))
    if status == 407:
        raise ProxyError("refused the login" if proxy.user else "wants a login (407)")
    if not 200 <= status < 300:
        passing = status >= 500 or status in (408, 429)
        why = "has a trouble of its own" if passing else REFUSED[2]
        raise ProxyError(f"{why}: {host} port {port} ({status})")


def _status(head: bytes) -> int:
    words = head.split(b"\r\n")[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ProxyError("is no HTTP proxy")
    return int(words[1])


def _head(sock: socket.socket) -> bytes:
    """Read an answer up to its empty line, and not a byte of what ssh is to get."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < HEAD:
        head += _exactly(sock, 1)
    return head


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ProxyError("hung up")
        data += more
    return data


def _carry(sock: socket.socket) -> None:
    """Pass on what comes from either side, until the host has said all."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    sides: list[int | socket.socket] = [stdin, sock]
    while True:
        ready = select.select(sides, [], [])[0]
        if sock in ready and not _pass_out(sock, stdout):
            return
        if stdin in ready and not _pass_in(stdin, sock):
            sides.remove(stdin)
            sock.shutdown(socket.SHUT_WR)


def _pass_out(sock: socket.socket, stdout: int) -> bool:
    """Pass on what the host said; False if it has said all."""
    data = sock.recv(65536)
    _write(stdout, data)
    return bool(data)


def _pass_in(stdin: int, sock: socket.socket) -> bool:
    """Pass on what ssh says; False if it has said all."""
    data = os.read(stdin, 65536)
    sock.sendall(data)
    return bool(data)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Carry a connection to its end; return why that was not possible, or ""."""
    proxy = parse(environ[VARIABLE])
    host, port = arguments
    try:
        with connect(proxy, host, int(port)) as sock, suppress(OSError):
            _carry(sock)
    except (ProxyError, OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or "timed out"
        return f"ssh_proxy {proxy.place}: {why}"
    return ""


def main(environ: MutableMapping[str, str] = os.environ) -> None:
    """Be ssh's ProxyCommand: the arguments end with host and port."""
    with suppress(OSError):
        os.setsid()  # a kept connection outlives the process group that opened it
    if why := run(sys.argv[-2:], environ):
        sys.stderr.write(why + "\n")
        sys.exit(1)
