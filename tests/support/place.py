"""A task in a real store, between two real repositories, and a worker for its runs."""

import threading

from gms_hookd.git.url import cache_key
from gms_hookd.store import runs, tasks
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.worker import Rules, Worker
from tests.support.repositories import Repo

MAIN = ("refs/heads/main:refs/heads/main",)
BUSY = """touch busy; n=0
while [ ! -e go ] && [ $n -lt 600 ]; do sleep .05; n=$((n+1)); done
"""


class Place:
    """A task from one repository to another, and a worker."""

    def __init__(self, context, root, url=str, **draft):
        self.context, self.root = context, root
        self.source, self.target = (self.repo(n) for n in ("source", "target"))
        self.tip = self.source.commit()
        settings = EngineSettings(root / "home", allow_protocols=("http", "file"))
        self.engine = Engine(root / "caches", settings, {"PATH": "/usr/bin:/bin"})
        self.rules = Rules(self.engine, RetryPolicy())
        self.worker = Worker(context, lambda: self.rules, threading.Event())
        made = {"refspecs": MAIN} | draft
        self.draft = tasks.Draft("app", url(self.source), url(self.target), "", **made)
        self.task = self.do(tasks.add, self.filled(), 0)

    def repo(self, name):
        return Repo(self.root / name)

    def do(self, operation, *args):
        return self.context.store.write(operation, *args).result()

    def filled(self, **changes):
        self.draft = self.draft._replace(**changes)
        return self.draft._replace(cache=cache_key(self.draft.source))

    def change(self, **changes):
        self.do(tasks.change, self.task.id, self.filled(**changes), 1)

    def trigger(self, hint=None):
        new_run = runs.NewRun("webhook:github", hint=hint)
        return self.do(runs.trigger, self.task.id, new_run, self.context.now())

    def run(self, run_id):
        return self.do(runs.get, run_id, True)

    def changed_during_a_push(self, **changes):
        """Have a run under way at its push when the task is changed."""
        self.target.hook("pre-receive", BUSY)
        self.pushed = self.source.tip()
        run_id = self.trigger()
        thread = threading.Thread(target=self.worker.run_one)
        thread.start()
        try:
            wait_for(self.target.path / "busy")
            self.change(**changes)
        finally:
            (self.target.path / "go").touch()
            thread.join()
        return run_id


def wait_for(path):
    ticks = threading.Event()
    for _ in range(600):
        if path.exists():
            return
        ticks.wait(0.05)
    raise AssertionError(f"{path} did not come")
