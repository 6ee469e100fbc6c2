"""A gms-hookd in a process of its own, seen as systemd and a client see it."""

import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.support.seen import CANARY, look

ROOT = Path(__file__).parents[2]
SECRET = f"a-secret-of-the-test-{CANARY}"
PATIENCE = 60
PAUSE = threading.Event()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=PATIENCE):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method, target, body=b"", headers=None):
    """One request over a unix socket; returns (status, headers, JSON)."""
    connection = UnixConnection(path)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        look(f"answer of {path} to {method} {target}", text)
        return answer.status, answer.headers, json.loads(text) if text else None
    finally:
        connection.close()


def trigger_request(task, secret=SECRET):
    """Return the method, path, body and headers of a signed trigger."""
    body = json.dumps({"task_id": task}).encode()
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Hub-Signature-256": f"sha256={mac}",
    }
    return "POST", "/api/webhooks/task-sync", body, headers


def _without_settings():
    ours = ("GMS_HOOKD_", "WEBHOOK_SECRET", "CREDENTIALS_DIRECTORY")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)}


class Daemon:
    """`gms-hookd serve` on the folder `home`; its listener is a unix socket."""

    def __init__(self, home, command=(sys.executable, "-m", "gms_hookd"), prefix=()):
        self.home = home
        self.state = home / "state"
        self.socket = home / "web.sock"
        self.config = home / "config.toml"
        self.command = (*prefix, *command)
        self.process = None
        self.spawn_options = {}
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(home / "notify"))
        self.manager.settimeout(0.2)
        self.environ = _without_settings() | {
            "NOTIFY_SOCKET": str(home / "notify"),
            "PYTHONPATH": str(ROOT),
        }
        self.configure()

    def configure(self, text="", secret=SECRET):
        self.config.write_text(
            f'[webhook]\nsecret = "{secret}"\nrate_limit = 0\n'
            f'[server]\nlisten = ["unix:{self.socket}"]\n{text}\n'
        )
        self.config.chmod(0o600)

    def spawn(self, **environ):
        with (self.home / "log").open("ab") as stderr:
            self.process = subprocess.Popen(
                [
                    *self.command,
                    "serve",
                    "--config",
                    self.config,
                    "--state",
                    self.state,
                ],
                env=self.environ | environ,
                **{"stderr": stderr} | self.spawn_options,
            )

    def start(self, **environ):
        self.forget()
        self.spawn(**environ)
        self.told("READY=1")
        return self

    def forget(self):
        """Drop what an earlier process said."""
        self.manager.setblocking(False)
        try:
            while True:
                self.manager.recv(4096)
        except BlockingIOError:
            self.manager.settimeout(0.2)

    def told(self, line):
        """Wait until the daemon tells its manager `line`; returns the whole message."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            message = self._message()
            if any(said.startswith(line) for said in message):
                return message
        raise AssertionError(f"never told {line}:\n{self.log()[-3000:]}")

    def _message(self):
        try:
            return self.manager.recv(4096).decode().split("\n")
        except TimeoutError:
            assert self.process.poll() is None, self.log()[-3000:]
            return []

    def log(self):
        return (self.home / "log").read_text()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(PATIENCE)

    def kill(self):
        self.process.kill()
        return self.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        self.manager.close()

    def trigger(self, task, secret=SECRET, query=""):
        """Post as the GMS documentation says; returns (status, headers, JSON)."""
        method, target, body, headers = trigger_request(task, secret)
        return ask(self.socket, method, target + query, body, headers)

    def api(self, method, call, **fields):
        """Call the API over the control socket; returns `data`."""
        body = json.dumps(fields).encode() if fields else b""
        headers = {"Content-Type": "application/json"}
        path = "/api/v1/sync/" + call
        status, _, answer = ask(
            self.state / "control.sock", method, path, body, headers
        )
        assert status == 200, answer
        return answer["data"]

    def add_task(self, name, source, target, **fields):
        fields |= {"name": name, "source": str(source), "target": str(target)}
        return self.api("POST", "task/create", **fields)["id"]

    def run(self, number):
        return self.api("GET", f"run?id={number}")

    def ended(self, number):
        """Wait until a run is over; returns it."""
        return self.until(
            lambda: run if (run := self.run(number))["end_time"] else None
        )

    def until(self, found):
        """Ask again and again, within the patience; returns what was found."""
        deadline = time.monotonic() + PATIENCE
        while not (result := found()):
            assert time.monotonic() < deadline, f"not in time:\n{self.log()[-3000:]}"
            assert self.process.poll() is None, self.log()[-3000:]
            PAUSE.wait(0.02)
        return result


def run_number(headers):
    """The run's id out of an answer's Location."""
    return int(headers["Location"].rsplit("/", 1)[1])
