#!/usr/bin/env python3
"""Count how often the way of one trigger, and of one first sync, changes files.

    python3 tests/bench/trace.py [CHECKOUT ...]

Starts the daemon of each checkout (default: this one) with a profile function that
notes the file of each call. A change of file is a call in another file of the package
than the call before it in the same thread: that of the front, or of the run. The less,
the fewer files somebody reads to follow the way.
"""

import collections
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the trace, long enough"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "GMS_"))}
NAMED = {
    "GIT_AUTHOR_NAME": "trace",
    "GIT_AUTHOR_EMAIL": "trace@example.org",
    "GIT_COMMITTER_NAME": "trace",
    "GIT_COMMITTER_EMAIL": "trace@example.org",
}
PROFILED = """
import os, runpy, sys, threading, time
calls, package = [], os.sep + "gms_hookd" + os.sep
def note(frame, event, _):
    if event == "call" and package in frame.f_code.co_filename:
        moment, thread = time.monotonic(), threading.get_ident()
        calls.append((moment, thread, frame.f_code.co_filename))
threading.setprofile(note)
sys.argv = ["gms-hookd", *sys.argv[2:]]
out = os.environ["TRACE_OUT"]
try:
    runpy.run_module("gms_hookd", run_name="__main__")
finally:
    with open(out, "w") as file:
        for moment, thread, path in calls:
            print(moment, thread, path.rpartition(package)[2], file=file)
"""


def git(*args: object) -> None:
    command = ["git", *map(str, args)]
    subprocess.run(command, env=CLEAN | NAMED, check=True, capture_output=True)


def repositories(home: Path) -> tuple[Path, Path]:
    source, target, work = home / "s.git", home / "t.git", home / "work"
    git("init", "-q", "--bare", "-b", "main", source)
    git("init", "-q", "--bare", "-b", "main", target)
    git("init", "-q", "-b", "main", work)
    git("-C", work, "commit", "-q", "--allow-empty", "-m", "one")
    git("-C", work, "push", "-q", source, "main")
    return source, target


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answered(port: int, method: str, path: str, body: bytes = b"") -> int:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json"}
    headers["x-hub-signature-256"] = f"sha256={signature}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def wait_until_ready(port: int, log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if answered(port, "GET", "/healthz") == 200:
                return
        time.sleep(0.05)
    raise SystemExit(f"the daemon does not answer: {log.read_text()[-1500:]}")


def changes(calls: list[tuple[float, int, str]]) -> int:
    last: dict[int, str] = {}
    count = 0
    for _, thread, file in calls:
        count += last.get(thread, file) != file
        last[thread] = file
    return count


def measured(checkout: Path) -> tuple[int, int, int]:
    """Return the changes of a trigger, of a first sync, and the files of the sync."""
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        source, target = repositories(home)
        config, out = home / "config.toml", home / "calls"
        config.write_text(
            f'[server]\nlisten = ["127.0.0.1:{port}"]\n[webhook]\nsecret = "{SECRET}"\n'
        )
        config.chmod(0o600)
        options = ["--config", str(config), "--state", str(home / "state")]
        environ = CLEAN | {"TRACE_OUT": str(out), "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-m", "gms_hookd", "task", "add", "app"]
        ends = ["--source", str(source), "--target", str(target)]
        subprocess.run(
            [*command, *ends, *options],
            env=environ,
            cwd=home,
            check=True,
            capture_output=True,
        )
        log = (home / "log").open("wb")
        daemon = subprocess.Popen(
            [sys.executable, "-c", PROFILED, "-", "serve", *options],
            env=environ,
            stdout=log,
            stderr=log,
            cwd=home,
        )
        wait_until_ready(port, home / "log")
        body = json.dumps({"task_id": 1}).encode()
        # The first one starts the sync, and is waited for until that is done; of the
        # others the least counts, in which nothing else happened beside it.
        began = time.monotonic()
        synced = answered(port, "POST", "/api/webhooks/task-sync?wait=60", body)
        ended = time.monotonic()
        spans = []
        for _ in range(5):
            time.sleep(1.0)
            before = time.monotonic()
            assert answered(port, "POST", "/api/webhooks/task-sync", body) == 200
            spans.append((before, time.monotonic()))
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        assert synced == 200, synced
        calls = [line.split(" ", 2) for line in out.read_text().splitlines()]
    noted = [(float(moment), int(thread), file) for moment, thread, file in calls]
    # The worker is the thread that comes into the modules of one attempt.
    attempt = ("sync", "plan", "outlet", "intake")
    workers = collections.Counter(
        thread for _, thread, file in noted if file.startswith(attempt)
    )
    worker = workers.most_common(1)[0][0]
    sync = [c for c in noted if began <= c[0] <= ended and c[1] == worker]
    fronts = {thread for _, thread, file in noted if file.endswith("http1.py")}
    triggers = [
        changes([c for c in noted if began <= c[0] <= ended and c[1] in fronts])
        for began, ended in spans
    ]
    return min(triggers), changes(sync), len({file for *_, file in sync})


def main() -> None:
    for name in sys.argv[1:] or [str(ROOT)]:
        trigger, sync, files = measured(Path(name).resolve())
        print(
            f"{name}: one accepted trigger {trigger} changes of file;"
            f" one first sync {sync}, over {files} files"
        )


if __name__ == "__main__":
    main()
