"""Git hosts for tests, on loopback: smart HTTP with accounts and faults, and sshd."""

import base64
import contextlib
import io
import os
import pwd
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

SSHD = Path("/usr/sbin/sshd")


class Handler(BaseHTTPRequestHandler):
    """git http-backend, behind what a host puts in front of it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body need not wait for the answer to its head
    server: "HttpHost"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._serve(b"")

    def do_POST(self):
        self._serve(self._body())

    def do_PUT(self):
        self._serve(self._body())

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _serve(self, body):
        host, self.body = self.server, body
        host.requests.append((self.command, self.path, dict(self.headers)))
        for fault in host.faults:
            if fault(self):
                return
        if host.accounts and self.headers.get("Authorization") not in host.accounts:
            self.answer(401, {"WWW-Authenticate": 'Basic realm="test"'})
            return
        self._backend(body)

    def carry_out(self):
        """Do what is asked, and leave it to the caller to answer."""
        wire, self.wfile = self.wfile, io.BytesIO()
        self._backend(self.body)
        said, self.wfile = self.wfile.getvalue(), wire
        return said

    def cut(self, said=b""):
        """Say so much, and hang up."""
        self.close_connection = True
        self.wfile.write(said)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status, headers=None, body=b""):
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.server.answered += len(body)

    def _backend(self, body):
        url = urlsplit(self.path)
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": unquote(url.path),
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "test",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get(self.server.protocol, ""),
            "GIT_CONFIG_COUNT": str(3 + len(self.server.settings)),
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true",
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
            "GIT_CONFIG_KEY_2": "core.fsync",
            "GIT_CONFIG_VALUE_2": "none",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
        }
        for number, (key, value) in enumerate(self.server.settings, 3):
            env[f"GIT_CONFIG_KEY_{number}"] = key
            env[f"GIT_CONFIG_VALUE_{number}"] = value
        backend = ("git", "http-backend")
        if self.server.settings:
            self._pass_on(backend, env, body)
            return
        done = subprocess.run(
            backend, input=body, env=env, capture_output=True, check=False
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        lines = (line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        headers = dict(lines)
        status = int(headers.pop("Status", "200").split()[0])
        headers["Content-Length"] = str(len(answer))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.answer(status, headers, answer)

    def _pass_on(self, backend, env, body):
        """Send on what the backend says as it says it."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(backend, env=env, **pipes) as process:
            process.stdin.write(body)
            process.stdin.close()
            self.send_response(200)
            while line := process.stdout.readline().strip():
                self.send_header(*line.decode().split(": ", 1))
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):
                while chunk := process.stdout.read1():
                    self.wfile.write(chunk)


class HttpHost(ThreadingHTTPServer):
    """Serves the repositories below a folder; faults may answer first."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(
        self,
        root: Path,
        tls: tuple[Path, Path] | None = None,
        clients: Path | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.root = root
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            if clients:
                context.load_verify_locations(clients)
                context.verify_mode = ssl.CERT_REQUIRED
                # By 1.3 the client is through before it hears that it may not be.
                context.maximum_version = ssl.TLSVersion.TLSv1_2
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.accounts: set[str] = set()
        self.faults: list = []
        self.settings: tuple = ()  # of the git that serves
        self.requests: list = []
        self.protocol = "Git-Protocol"  # the header where it looks for one
        self.answered = 0  # bytes
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def base(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def url(self, repo) -> str:
        return f"{self.base}/{Path(str(repo)).relative_to(self.root)}"

    def handle_error(self, request, client_address):
        """Say nothing: clients that hang up are what is tested."""

    def let_in(self, user: str, password: str) -> None:
        both = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.accounts.add(f"Basic {both}")

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


@cache
def penalties() -> str:
    """Let an address that failed come again at once, where sshd would not (9.8)."""
    argv = (str(SSHD), "-T", "-f", "/dev/null", "-o", "PerSourcePenalties=no")
    known = not subprocess.run(argv, check=False, capture_output=True).returncode
    return "PerSourcePenalties no\n" if known else ""


class SshHost:
    """An sshd of our own, with one key that gets in."""

    def __init__(self, root: Path, *settings: str) -> None:
        self.root = root
        self.settings = settings
        self.port = free_port()
        self.key, self.known_hosts = root / "id", root / "known_hosts"
        self.renew()
        keygen(self.key)
        shutil.copy(self.key.with_suffix(".pub"), root / "authorized")
        self.start()

    def renew(self) -> None:
        """Change the host key."""
        for old in self.root.glob("host*"):
            old.unlink()
        keygen(self.root / "host")

    def pin(self) -> None:
        words = (self.root / "host.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {words[0]} {words[1]}\n")

    def start(self) -> None:
        config = self.root / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.root}/host\n"
            f"AuthorizedKeysFile {self.root}/authorized\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin yes\nPidFile none\nAcceptEnv GIT_PROTOCOL\n"
            "SetEnv SHLVL=1\n"  # or bash would read the account's .bashrc each time
            + penalties()
            + "".join(f"{setting}\n" for setting in self.settings)
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.pin()
        argv = (str(SSHD), "-D", "-f", str(config), "-E", str(self.root / "log"))
        self._process = subprocess.Popen(argv)
        wait_for_port(self.port)

    def url(self, repo) -> str:
        return f"ssh://{user_name()}@127.0.0.1:{self.port}{repo}"

    def logins(self) -> int:
        return (self.root / "log").read_text().count("Accepted publickey")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Relay:
    """A way to a port which can drop the state of its connections, as a NAT does."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        self._most: int | None = None
        self._reset = False
        self._open: list[tuple[socket.socket, threading.Event]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._behind))
                forgotten = threading.Event()
                self.connections += 1
                self._open += [(here, forgotten), (there, forgotten)]
                args = (here, there, forgotten)
                threading.Thread(target=self._carry, args=args, daemon=True).start()

    def _carry(self, here, there, forgotten) -> None:
        # select(2) takes a socket that another thread has closed for a ValueError.
        with contextlib.suppress(OSError, ValueError):
            while True:
                for one in select.select([here, there], [], [])[0]:
                    data = one.recv(65536)
                    if forgotten.is_set():
                        return
                    if not data or not self._lets_through(one is there, len(data)):
                        self._cut(here, there)
                        return
                    (there if one is here else here).sendall(data)

    def _lets_through(self, from_host: bool, size: int) -> bool:
        if from_host and self._most is not None:
            self._most -= size
        return self._most is None or self._most >= 0

    def forget(self) -> None:
        """Let nothing more through on what is open, without a word to either end."""
        for _, forgotten in self._open:
            forgotten.set()

    def cut_after(self, size: int | None, *, reset: bool = False) -> None:
        """End connections once the host has sent so many bytes more."""
        self._most, self._reset = size, reset

    def _cut(self, client: socket.socket, host: socket.socket) -> None:
        if self._reset:
            now = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        client.close()
        host.close()

    def stop(self) -> None:
        # A thread that waits to accept may else take what comes to a later socket.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end, _ in self._open:
            end.close()


def keygen(path: Path, passphrase: str = "") -> None:
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path))
    subprocess.run(argv, check=True)


def user_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for_port(port: int, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.01)
        else:
            return


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)),
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def outdated(cert: Path, key: Path) -> None:
    """Put a certificate in the place of another that ended yesterday."""
    request = ("openssl", "req", "-new", "-key", str(key), "-subj", "/CN=127.0.0.1")
    made = subprocess.run(request, check=True, capture_output=True).stdout
    sign = ("openssl", "x509", "-req", "-signkey", str(key), "-out", str(cert))
    from_to = ("-not_before", "20200101000000Z", "-not_after", "20200102000000Z")
    for days in (("-days", "-1"), from_to):  # until OpenSSL 3.3, and since 3.4
        if not subprocess.run(
            (*sign, *days), check=False, input=made, capture_output=True
        ).returncode:
            return
    raise AssertionError("openssl makes no certificate of the past")


@dataclass
class Credential:
    url: str
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    ca_file: Path | None = None
    allow_fsck: tuple[str, ...] = ()
    ssh_options: tuple[str, ...] = ()
    ssh_proxy: None = None
