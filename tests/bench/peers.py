"""The servers that are measured: ours and what else takes a webhook.

Each listens on 127.0.0.1, takes a signed POST at `path`, and is one process that may
have children.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.process import ask

ROOT = Path(__file__).parents[2]
SECRET = "correct horse battery staple"
TASKS = 50
TICKS = os.sysconf("SC_CLK_TCK")

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status(self.headers, body))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass

# As it comes, but for the backlog of 5, with which connecting is all that is measured.
ThreadingHTTPServer.request_queue_size = 1024
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

PLAIN = """
def status(headers, body):
    return 200
"""

COMMITTING = """
import hashlib, hmac, json, sqlite3, sys, threading

db = sqlite3.connect(sys.argv[2], check_same_thread=False, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE triggers(id INTEGER PRIMARY KEY, task_id INTEGER)")
one = threading.Lock()

def status(headers, body):
    digest = hmac.new(sys.argv[3].encode(), body, hashlib.sha256).hexdigest()
    given = headers.get("X-Hub-Signature-256", "")
    if not hmac.compare_digest(given, "sha256=" + digest):
        return 401
    with one:
        query = "INSERT INTO triggers(task_id) VALUES(?)"
        db.execute(query, (json.loads(body)["task_id"],))
    return 200
"""

FLASK = """
import hashlib, hmac
from flask import Flask, jsonify, request

app = Flask(__name__)

@app.post("/hook")
def hook():
    digest = hmac.new(SECRET, request.get_data(), hashlib.sha256).hexdigest()
    given = request.headers.get("X-Hub-Signature-256", "")
    if not hmac.compare_digest(given, "sha256=" + digest):
        return jsonify(error="wrong signature"), 401
    task_id = request.get_json()["task_id"]
    return jsonify(message="Sync triggered successfully", task_id=task_id)
"""

SLOW_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int late(const char *name, int file)
{
    usleep(5000);
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return late("fsync", file); }
int fdatasync(int file) { return late("fdatasync", file); }
"""

GO = """
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
)

func main() {
	secret := []byte(os.Args[2])
	http.HandleFunc("/hook", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		want := "sha256=" + hex.EncodeToString(mac.Sum(nil))
		given := r.Header.Get("X-Hub-Signature-256")
		var payload struct{ TaskId int `json:"task_id"` }
		if !hmac.Equal([]byte(given), []byte(want)) {
			w.WriteHeader(401)
		} else if json.Unmarshal(body, &payload) != nil {
			w.WriteHeader(400)
		} else {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"message": "Sync triggered successfully"}`))
		}
	})
	http.ListenAndServe("127.0.0.1:"+os.Args[1], nil)
}
"""


class Peer:
    """One server: how it is started, and what it has used."""

    name = ""
    path = "/hook"
    end = signal.SIGTERM

    def __init__(self, folder, **environ):
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self.environ = {**os.environ, **environ}
        self.port = free_port()
        self.process = None

    @classmethod
    def available(cls):
        return True

    def command(self):
        raise NotImplementedError

    def launch(self):
        """Start the process and wait until it accepts."""
        log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            self.command(),
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=self.environ,
            start_new_session=True,
        )
        log.close()
        wait_for(self.port)

    def start(self):
        """Launch it and make it ready to be measured."""
        self.launch()

    def halt(self):
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, self.end)
            self.process.wait(30)

    def stop(self):
        """Undo `start`."""
        self.halt()

    def processes(self):
        """The ids of those that serve."""
        return [self.process.pid]

    def cpu(self):
        """Seconds of the processes and of their children that have ended."""
        return sum(ticks(process) for process in self.processes()) / TICKS

    def settled_cpu(self):
        """The same when it has done what it answered for before it did it."""
        before = -1.0
        while (now := self.cpu()) != before:
            before = now
            time.sleep(0.1)
        return now

    def rss(self):
        """MiB."""
        return sum(kilobytes(process) for process in self.processes()) / 1024


class Ours(Peer):
    """The daemon as it is installed; its worker waits for a host that says nothing."""

    name = "gms-hookd"
    path = "/api/webhooks/task-sync"
    settings = 'workers = 1\ntimeout = "1h"\nallow_protocols = ["http", "file"]\n'

    def command(self):
        config = self.folder / "config.toml"
        config.write_text(
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'[webhook]\nsecret = "{SECRET}"\nrate_limit = 0\n'
            f"[sync]\n{self.settings}"
        )
        config.chmod(0o600)
        return self.hookd("serve")

    def hookd(self, *words):
        given = ["--config", self.folder / "config.toml", "--state", self.folder / "s"]
        return [sys.executable, "-m", "gms_hookd", *words, *given]

    def start(self):
        self.hole = socket.create_server(("127.0.0.1", 0))
        super().start()
        host = f"http://127.0.0.1:{self.hole.getsockname()[1]}"
        # Each of them: git gives up after a minute, and the worker takes the next.
        for number in range(TASKS):
            ends = {"source": f"{host}/{number}.git", "target": "/nonexistent/target"}
            self.ask("task/create", name=f"t{number}", **ends)
        self.ask("run", task_id=1)

    def ask(self, call, **fields):
        """Call the API over the control socket; gives its data."""
        socket, path = self.folder / "s" / "control.sock", f"/api/v1/sync/{call}"
        method, body = ("POST", json.dumps(fields).encode()) if fields else ("GET", b"")
        kind = {"Content-Type": "application/json"}
        status, _, answer = ask(socket, method, path, body, kind)
        assert status == 200, answer
        return answer["data"]

    def stop(self):
        super().stop()
        self.hole.close()


class Storeless(Ours):
    """The same daemon, but its store keeps nothing and answers at once."""

    name = "no store"
    end = signal.SIGKILL  # its worker waits for ever

    def hookd(self, *words):
        module = "tests.bench.storeless"
        return [sys.executable, "-m", module, *super().hookd(*words)[3:]]

    def start(self):
        self.launch()

    def stop(self):
        self.halt()


class Webhook(Peer):
    """Debian's adnanh/webhook: checks the HMAC, runs /bin/true, stores nothing."""

    name = "webhook"
    path = "/hooks/hook"

    @classmethod
    def available(cls):
        return shutil.which("webhook") is not None

    def command(self):
        signed = {"source": "header", "name": "X-Hub-Signature-256"}
        match = {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": signed}
        hook = self.hook() | {"trigger-rule": {"match": match}}
        hooks = self.folder / "hooks.json"
        hooks.write_text(json.dumps([hook]))
        listen = ["-ip", "127.0.0.1", "-port", str(self.port)]
        return ["webhook", "-hooks", hooks, *listen]

    def hook(self):
        """What is done for each trigger."""
        return {"id": "hook", "execute-command": "/bin/true"}


class Plain(Peer):
    """The standard library's server: answers 200, checks nothing, stores nothing."""

    name = "http.server"

    def command(self):
        return [sys.executable, "-c", PLAIN + SERVER, str(self.port)]


class Committing(Peer):
    """The same with HMAC and JSON checked, and a commit to disk for each request."""

    name = "commit each"

    def command(self):
        store, script = self.folder / "store.db", COMMITTING + SERVER
        return [sys.executable, "-c", script, str(self.port), store, SECRET]


class Flask(Peer):
    """Flask in gunicorn, two workers: checks HMAC and JSON, stores nothing.

    Its Python is what FLASK_PYTHON names, or the first python3 on the PATH.
    """

    name = "flask"
    python = os.environ.get("FLASK_PYTHON", "python3")

    @classmethod
    def available(cls):
        return runs(cls.python, "-c", "import flask, gunicorn")

    def command(self):
        (self.folder / "app.py").write_text(f"SECRET = {SECRET.encode()}\n{FLASK}")
        listen = ["-b", f"127.0.0.1:{self.port}", "--pythonpath", self.folder]
        return [self.python, "-m", "gunicorn", "-w", "2", *listen, "app:app"]

    def processes(self):
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text()
        return [main, *map(int, children.split())]


class Go(Peer):
    """Go's net/http: checks HMAC and JSON, stores nothing."""

    name = "go"

    @classmethod
    def available(cls):
        return shutil.which("go") is not None

    def command(self):
        source = self.folder / "main.go"
        source.write_text(GO)
        built = self.folder / "server"
        subprocess.run(["go", "build", "-o", built, source], check=True)
        return [built, str(self.port), SECRET]


def runs(*command):
    """Whether a command is there and does not fail."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def slow_disk(folder):
    """What makes each fsync of a server take 5 ms more; None without a C compiler."""
    if shutil.which("cc") is None:
        return None
    source, built = folder / "slow.c", folder / "slow.so"
    source.write_text(SLOW_DISK)
    options = ["-shared", "-fPIC", "-o", built, source, "-ldl"]
    subprocess.run(["cc", *options], check=True)
    return {"LD_PRELOAD": str(built)}


def ticks(process):
    """CPU time that a process and its ended children have used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
    return sum(int(field) for field in fields.split()[11:15])


def kilobytes(process):
    """Memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(x for x in status.splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
