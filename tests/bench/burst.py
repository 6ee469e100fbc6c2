"""What a burst of signed triggers costs until all that it asked for is synced.

    python3 tests/bench/burst.py [--rounds N] [--clients N]
                                 [--rows 300/10,500/100,10000/100]

Beside ours stands Debian's webhook, which runs a git script per trigger, as is common:
one that only fetches and pushes, and one that looks before it pushes, as GMS does.
Each source gets a commit before the first trigger and another one halfway. A burst is
over when each target has its source's tip and nothing runs any more. Rounds are
interleaved, medians are shown: on a busy machine only the ratios count.
"""

import argparse
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent)]

from load import Job, Load, measured  # noqa: E402
from peers import SECRET, Ours, Webhook  # noqa: E402

from tests.support.repositories import Repo  # noqa: E402

FIGURES = (
    "seconds", "CPU s", "git runs", "failed", "current", "processes", "accepted in s",
    "accept p99 ms",
)  # fmt: skip
OURS_ONLY = 1000  # triggers beyond which the peer would take minutes
PATIENCE = 300
WIDTH = 15

SCRIPT = """#!/bin/sh
exec 2>>{folder}/errors
echo start >>{folder}/runs
cd {caches}/$1.git
source={sources}/$1.git target={targets}/$1.git
{steps}
echo "end $?" >>{folder}/runs
"""
# One cache a task, fetched and pushed for each trigger: the least that does it.
LEAST = "git fetch -q $source +main:main && git push -q $target main:main"
# What GMS does, and what it takes to tell why a push would be refused.
CHECKED = """git fetch -q $source +refs/heads/main:refs/remotes/source/main &&
git fetch -q $target +refs/heads/main:refs/remotes/target/main &&
new=$(git rev-parse refs/remotes/source/main) &&
old=$(git rev-parse refs/remotes/target/main) &&
[ "$(git merge-base $new $old)" = $old ] &&
git push -q $target $new:refs/heads/main"""


class Field:
    """Sources with two commits to come, and targets that have all but those."""

    def __init__(self, root, tasks):
        self.sources, self.targets, self.caches = (
            root / name for name in ("sources", "targets", "caches")
        )
        old, new, self.commits = self.history(root / "first.git")
        for number in range(1, tasks + 1):
            shutil.copytree(new, self.source(number))
            for folder in (self.targets, self.caches):
                shutil.copytree(old, folder / f"{number}.git")
        self.tasks = range(1, tasks + 1)
        self.commit(0)

    def history(self, path):
        """A repository now and two commits later, and the ids of all three."""
        repo, later = Repo(path, "--template="), path.with_name("later.git")
        for _ in range(3):
            repo.commit()
        shutil.copytree(path, later)
        new = Repo(later)
        return path, later, [repo.tip(), new.commit(), new.commit()]

    def source(self, number):
        return self.sources / f"{number}.git"

    def target(self, number):
        return self.targets / f"{number}.git"

    def commit(self, number):
        """Move every source to the first or the second commit, in next to no time."""
        for task in self.tasks:
            # In place: what replaces a file may be flushed to the disk first.
            with (self.source(task) / "refs/heads/main").open("r+") as ref:
                ref.write(self.commits[number])

    def current(self):
        """Count the targets that are at their source's tip."""
        return sum(tip(self.target(n)) == tip(self.source(n)) for n in self.tasks)


def tip(repo):
    with suppress(FileNotFoundError):
        return (repo / "refs/heads/main").read_text().strip()


class OursInBurst(Ours):
    """The daemon as it is installed, with four workers; it has synced all before."""

    before = 0
    settings = 'workers = 4\nallow_protocols = ["file"]\n'

    def start(self, field):
        self.launch()
        for number in field.tasks:
            self.ask(
                "task/create",
                name=f"t{number}",
                source=str(field.source(number)),
                target=str(field.target(number)),
                source_branch="main",
                target_branch="main",
            )
            self.ask("run", task_id=number)
        await_rest(self, 0)
        self.before = self.runs()[0]

    def stop(self):
        self.halt()

    def at_rest(self, _triggers):
        return not any(
            self.ask(f"history?status={status}&limit=1")
            for status in ("queued", "running")
        )

    def runs(self):
        """Tell how many runs there were, and how many of them failed."""
        ended = Counter(run["status"] for run in self.ask("history?limit=1000"))
        return ended.total() - self.before, ended.total() - ended["success"]


class WebhookInBurst(Webhook):
    """Debian's adnanh/webhook with a script that syncs by git."""

    steps = LEAST

    def start(self, field):
        script = self.folder / "sync"
        text = SCRIPT.format(
            folder=self.folder,
            caches=field.caches,
            sources=field.sources,
            targets=field.targets,
            steps=self.steps,
        )
        script.write_text(text)
        script.chmod(0o755)
        self.launch()

    def hook(self):
        number = {"source": "payload", "name": "task_id"}
        return {
            "id": "hook",
            "execute-command": str(self.folder / "sync"),
            "pass-arguments-to-command": [number],
        }

    def lines(self):
        with suppress(FileNotFoundError):
            return Counter((self.folder / "runs").read_text().splitlines())
        return Counter()

    def at_rest(self, triggers):
        lines = self.lines()
        return lines["start"] >= triggers and lines.total() == 2 * lines["start"]

    def runs(self):
        lines = self.lines()
        return lines["start"], lines["start"] - lines["end 0"]


class WebhookAsGms(WebhookInBurst):
    """The same with the steps that GMS takes."""

    name = "webhook-gms"
    steps = CHECKED


class Census:
    """Counts the processes of a server now and then, in a process of its own."""

    def __init__(self, root):
        self.root = root
        self.here, there = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.count, args=(there,))

    def count(self, told):
        peak, pause = 0, 0.0
        while not told.poll(pause):
            started = time.perf_counter()
            peak = max(peak, len(self.family()))
            pause = max(0.1, 10 * (time.perf_counter() - started))
        told.send(peak)

    def family(self):
        """The server, its children, theirs."""
        children = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(stat.parent.name))
        found = [self.root]
        for process in found:
            found += children.get(process, [])
        return found

    def peak(self):
        self.here.send("enough")
        return self.here.recv()

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def send(peer, field, triggers, clients):
    """Send triggers, each of them answered by 200, with a commit halfway."""
    job = Job(
        port=peer.port,
        clients=clients,
        seconds=0,
        keep_alive=False,
        secret=SECRET,
        path=peer.path,
        tasks=len(field.tasks),
        count=triggers,
    )
    sent = measured(Load(job, halfway=lambda: field.commit(2)))
    assert (sent["answers"], sent["errors"]) == (triggers, 0), sent
    return sent


def burst(peer, field, triggers, options):
    """One burst against a server that is ready; what it took."""
    field.commit(1)
    before = peer.settled_cpu()
    with Census(peer.process.pid) as census:
        started = time.perf_counter()
        sent = send(peer, field, triggers, options.clients)
        await_rest(peer, triggers)
        seconds = time.perf_counter() - started
        peak = census.peak()
    runs, failed = peer.runs()
    return {
        "seconds": seconds,
        "CPU s": peer.settled_cpu() - before,
        "git runs": runs,
        "failed": failed,
        "current": field.current(),
        "processes": peak,
        "accepted in s": sent["seconds"],
        "accept p99 ms": sent["p99"],
    }


def await_rest(peer, triggers):
    """Wait until nothing is left to run."""
    deadline = time.perf_counter() + PATIENCE
    while not peer.at_rest(triggers):
        assert time.perf_counter() < deadline, f"{peer.name}: not over in time"
        time.sleep(0.02)


def one(kind, triggers, tasks, options):
    """Set everything up afresh, and measure one burst."""
    folder = Path(tempfile.mkdtemp(prefix="burst-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        field, peer = Field(folder, tasks), kind(folder)
        stack.callback(peer.stop)
        peer.start(field)
        return burst(peer, field, triggers, options)


def row(triggers, tasks, options):
    """Median of each figure over the rounds, server by server."""
    kinds = [OursInBurst]
    if WebhookInBurst.available() and triggers <= OURS_ONLY:
        kinds += [WebhookInBurst, WebhookAsGms]
    rounds = [
        {kind.name: one(kind, triggers, tasks, options) for kind in kinds}
        for _ in range(options.rounds)
    ]
    return {
        kind.name: {
            f: statistics.median(r[kind.name][f] for r in rounds) for f in FIGURES
        }
        for kind in kinds
    }


def show(triggers, tasks, figures):
    print(f"\n{triggers:,} triggers / {tasks} tasks")
    print(" " * 20 + "".join(f"{head:>{WIDTH}}" for head in FIGURES))
    for name, values in figures.items():
        print(f"{name:<20}" + "".join(f"{values[f]:>{WIDTH},.4g}" for f in FIGURES))
    ours = figures.pop(Ours.name)
    for name, peer in figures.items():
        ratios = (f"{ours[f] / max(peer[f], 1e-9):.3f}x" for f in FIGURES)
        print(f"ours / {name:<13}" + "".join(f"{ratio:>{WIDTH}}" for ratio in ratios))
    if not figures and WebhookInBurst.available():
        print(f"({Webhook.name} would take minutes, so it is left out)")
    sys.stdout.flush()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rows", default="300/10,500/100,10000/100")
    return parser.parse_args()


def main():
    options = parse()
    if not WebhookInBurst.available():
        print("webhook is not installed: ours only")
    for given in options.rows.split(","):
        triggers, tasks = map(int, given.split("/"))
        show(triggers, tasks, row(triggers, tasks, options))


if __name__ == "__main__":
    main()
