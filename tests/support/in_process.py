"""A service with its front in the test's own process."""

import json
import threading

from gms_hookd.config.load import load_config
from gms_hookd.http.listener import listen
from gms_hookd.http.server import Server
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from tests.support.process import PATIENCE, SECRET, ask
from tests.support.repositories import ENVIRON

WAITING = threading.Event()


def until(found):
    for _ in range(PATIENCE * 50):
        if result := found():
            return result
        WAITING.wait(0.02)
    raise AssertionError("not in time")


class Place:
    """A service with its front, in this process."""

    def __init__(self, folder, text="", workers=2):
        before = set(threading.enumerate())
        self.state = StateDirectory.open(folder / "state")
        (folder / "config.toml").write_text(f'[webhook]\nsecret = "{SECRET}"\n{text}')
        (folder / "config.toml").chmod(0o600)
        read = load_config({}, file=str(folder / "config.toml"), state=self.state.path)
        self.service = Service.open(read, self.state, ENVIRON)
        self.threads = self.service.threads
        self.socket = folder / "front.sock"
        self.control = folder / "control.sock"
        control = listen(f"unix:{self.control}", control=True)
        self.server = Server(
            [listen(f"unix:{self.socket}"), control],
            self.service.app.handle,
            threads=self.threads,
        )
        self.threads.start("front", self.server.run_forever)
        self.service.start(workers)
        self.running = {t.name: t for t in threading.enumerate() if t not in before}

    def reasons(self):
        return self.service.health.ask().result(PATIENCE)

    def api(self, method, call, **fields):
        """Call the API; returns status and JSON."""
        body = json.dumps(fields).encode() if fields else b""
        headers = {"Content-Type": "application/json"}
        path = "/api/v1/sync/" + call
        status, _, answer = ask(self.control, method, path, body, headers)
        return status, answer

    def order(self, name, source, target, **fields):
        """Add a task and queue a run; returns its number."""
        fields |= {"name": name, "source": str(source), "target": str(target)}
        task = self.api("POST", "task/create", **fields)[1]["data"]["id"]
        return self.api("POST", "run", task_id=task)[1]["data"]["id"]

    def ended(self, run):
        """Wait until a run is over; returns it."""

        def ended():
            found = self.api("GET", f"run?id={run}")[1]["data"]
            return found if found["end_time"] else None

        return until(ended)

    def close(self):
        self.server.drain(0.0)
        self.server.server_close()
        self.service.stop(0.0)
        self.service.close()
        self.state.close()
