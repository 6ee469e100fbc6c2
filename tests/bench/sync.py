"""How long a sync takes, from the signed trigger to its recorded result.

    python3 tests/bench/sync.py [--rounds N] [--delays 0,20,100] [--refs 1000,20000]
                                [--workers 1,2,8,16] [--tasks 100]

Beside it, interleaved, in the same run: the floor, one bare `git fetch` and one bare
`git push` of the same change; and the naive sequence of seven commands. Figures are
medians in ms; ratios are medians of the ratios of each round, since machines swing.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from gitkit import ENVIRON, Repo  # noqa: E402
from peers import ROOT, SECRET, free_port, wait_for  # noqa: E402

MAIN = "refs/heads/main"
ALL = "+refs/heads/*:refs/heads/*"


class World:
    """Repositories, their hosts, a daemon, and the clone of its rivals."""

    def __init__(self, root, delays, workers=8):
        self.root = root
        self.stack = ExitStack()
        (root / "repos").mkdir()
        self.hosts = self.serve_hosts(delays)
        self.rival = Repo(root / "rival.git")
        self.start(workers)

    def serve_hosts(self, delays):
        command = [sys.executable, HERE / "hosts.py", self.root / "repos"]
        delayed = [str(d) for d in delays if d]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([*command, *delayed], **pipes)
        self.stack.callback(process.wait)
        self.stack.callback(process.stdin.close)
        return json.loads(process.stdout.readline())

    def start(self, workers):
        self.port = free_port()
        config = self.root / "config.toml"
        ssh = "".join(
            f'ssh_{name} = "{self.hosts[key]}"\n'
            for name, key in (("key_file", "key"), ("known_hosts", "known_hosts"))
            if key in self.hosts
        )
        config.write_text(
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'[webhook]\nsecret = "{SECRET}"\nrate_limit = 0\n'
            f'[sync]\nworkers = {workers}\nallow_protocols = ["http","ssh","file"]\n'
            + ssh
        )
        config.chmod(0o600)
        log = (self.root / "log").open("ab")
        self.daemon = subprocess.Popen(self.words("serve"), cwd=ROOT, stderr=log)
        log.close()
        wait_for(self.port)

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()

    def close(self):
        self.stop()
        self.stack.close()

    def words(self, *words):
        given = ("--config", self.root / "config.toml", "--state", self.root / "state")
        return [sys.executable, "-m", "gms_hookd", *words, *given]

    def repo(self, name):
        return Repo(self.root / "repos" / name)

    def url(self, repo, kind, delay):
        if kind == "file":
            return str(repo)
        port = self.hosts[kind][str(delay)]
        path = repo.path.name if kind == "http" else str(repo).lstrip("/")
        return f"{kind}://{'root@' if kind == 'ssh' else ''}127.0.0.1:{port}/{path}"

    def task(self, name, source, target, *more):
        words = ("task", "add", name, "--source", source, "--target", target, *more)
        done = subprocess.run(
            self.words(*words), cwd=ROOT, capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[-1])

    def trigger(self, number, wait=""):
        body = json.dumps({"task_id": number}).encode()
        mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={mac}",
        }
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        line.request("POST", f"/api/webhooks/task-sync{wait}", body, headers)
        answer = line.getresponse()
        text = answer.read()
        line.close()
        return answer.status, json.loads(text)

    def sync(self, number):
        status, answer = self.trigger(number, "?wait=300")
        assert status == 200, answer

    def git(self, *args):
        environ = dict(ENVIRON)
        if "key" in self.hosts:
            environ["GIT_SSH_COMMAND"] = (
                f"ssh -F /dev/null -i {self.hosts['key']} -o IdentitiesOnly=yes"
                f" -o UserKnownHostsFile={self.hosts['known_hosts']}"
            )
        command = ("git", f"--git-dir={self.rival}", *args)
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def floor(self, source, target, fetched=f"+{MAIN}:{MAIN}", pushed=MAIN):
        self.git("fetch", "-q", source, fetched)
        self.git("push", "-q", target, f"{pushed}:{pushed}")

    def naive(self, source, target):
        self.git("fetch", "-q", source, f"+{MAIN}:{MAIN}")
        self.git("fetch", "-q", target, f"+{MAIN}:refs/target/main")
        self.git("rev-parse", MAIN)
        self.git("rev-parse", "refs/target/main")
        self.git("merge-base", MAIN, "refs/target/main")
        self.git("push", "-q", target, f"{MAIN}:{MAIN}")


def timed(act):
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def interleaved(rounds, prepare, acts):
    """Time each act in each round, in turning order; prepare names the change."""
    figures = {name: [] for name in acts}
    names = list(acts)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            prepare(name)
            figures[name].append(timed(acts[name]))
    return figures


def line(title, figures):
    ours = figures["ours"]
    cells = [f"{title:<28}{statistics.median(ours):>9.1f}"]
    for peer in ("floor", "naive"):
        if peer not in figures:
            cells.append(" " * 18)
            continue
        ratios = [a / b for a, b in zip(ours, figures[peer], strict=True)]
        middle = statistics.median(figures[peer])
        cells.append(f"{middle:>10.1f}{statistics.median(ratios):>8.2f}")
    print("".join(cells), flush=True)


def one_branch(world, kind, delay, rounds):
    """One new commit and no change, over one transport."""
    name = f"{kind}{delay}"
    sources = {peer: world.repo(f"{name}-{peer}-s.git") for peer in ("ours", "floor")}
    sources["naive"] = world.repo(f"{name}-naive-s.git")
    targets = {peer: world.repo(f"{name}-{peer}-t.git") for peer in sources}
    urls = {
        peer: [world.url(r[peer], kind, delay) for r in (sources, targets)]
        for peer in sources
    }
    number = world.task(name, *urls["ours"], "--branch", "main")
    for source in sources.values():
        for count in range(20):
            source.commit(files={f"f{count}": os.urandom(200).hex()})
    acts = {
        "ours": lambda: world.sync(number),
        "floor": lambda: world.floor(*urls["floor"]),
        "naive": lambda: world.naive(*urls["naive"]),
    }
    world.floor(*urls["naive"])
    acts["floor"](), acts["ours"]()

    def change(peer):
        sources[peer].commit(files={"f": os.urandom(50).hex()})

    where = kind + (f" + {delay} ms" if delay else "")
    line(f"{where}, one commit", interleaved(rounds, change, acts))
    for act in acts.values():
        act()
    line(f"{where}, no change", interleaved(rounds, lambda _: None, acts))


def many_refs(world, count, rounds):
    """A mirror of very many refs of which one is changed; the floor moves that one."""
    repos = {peer: world.repo(f"many{count}-{peer}.git") for peer in ("ours", "floor")}
    targets = {peer: world.repo(f"many{count}-{peer}-t.git") for peer in repos}
    for repo in (*repos.values(), targets["floor"]):
        fill(repo, repos["ours"], count)
    number = world.task(
        f"many{count}", str(repos["ours"]), str(targets["ours"]), "--timeout", "900"
    )
    world.git("fetch", "-q", str(repos["floor"]), ALL)
    world.git("pack-refs", "--all")
    first = timed(lambda: world.sync(number))
    print(f"{f'{count:,} refs, first mirror':<28}{first:>9.1f}", flush=True)
    for target in targets.values():
        target.git("pack-refs", "--all")
    ref = "refs/heads/r000001"
    acts = {
        "ours": lambda: world.sync(number),
        "floor": lambda: world.floor(
            str(repos["floor"]), str(targets["floor"]), f"+{ref}:{ref}", ref
        ),
    }

    def change(peer):
        repos[peer].commit(ref)

    line(f"{count:,} refs, one changed", interleaved(rounds, change, acts))
    line(f"{count:,} refs, no change", interleaved(rounds, lambda _: None, acts))


def fill(repo, first, count):
    """Give a repository so many refs at once, all on one commit."""
    if repo.path != first.path:
        repo.git("fetch", "-q", str(first), "main:main")
    else:
        repo.commit()
    lines = (f"{repo.tip()} refs/heads/r{n:06}\n" for n in range(count))
    head = "# pack-refs with: peeled fully-peeled sorted \n"
    (repo.path / "packed-refs").write_text(head + "".join(lines))


def concurrent(world, workers, tasks, delay):
    """So many tasks at once, by so many workers: syncs a second."""
    numbers = []
    for n in range(tasks):
        source, target = world.repo(f"c{n}-s.git"), world.repo(f"c{n}-t.git")
        source.commit()
        urls = [world.url(r, "http", delay) for r in (source, target)]
        numbers.append(world.task(f"c{delay}-{n}", *urls, "--branch", "main"))
    rates = {}
    for count in workers:
        world.stop()
        world.start(count)
        all_at_once(world, numbers)
        for n in range(tasks):
            world.repo(f"c{n}-s.git").commit()
        rates[count] = tasks / (timed(lambda: all_at_once(world, numbers)) / 1000)
    for count, rate in rates.items():
        ratio = rate / rates[workers[0]]
        title = f"{tasks} tasks, {count} workers" + (f" + {delay} ms" if delay else "")
        print(f"{title:<28}{rate:>7.1f}/s{ratio:>17.2f} of {workers[0]} worker's")
    sys.stdout.flush()


def all_at_once(world, numbers):
    for number in numbers:
        assert world.trigger(number)[0] == 200
    for number in numbers:
        world.sync(number)


def whole(text):
    return [int(part) for part in text.split(",") if part]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--delays", type=whole, default=[0, 20, 100])
    parser.add_argument("--refs", type=whole, default=[1000, 20000])
    parser.add_argument("--workers", type=whole, default=[1, 2, 8, 16])
    parser.add_argument("--tasks", type=int, default=100)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the hosts, too
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        world = World(Path(folder), options.delays)
        try:
            run(world, options)
        finally:
            world.close()


def run(world, options):
    print(f"{'':<28}{'ours ms':>9}{'floor':>10}{'ratio':>8}{'naive':>10}{'ratio':>8}")
    one_branch(world, "file", 0, options.rounds)
    for kind in ("http", "ssh"):
        for delay in options.delays if kind in world.hosts else ():
            one_branch(world, kind, delay, options.rounds)
    for count in options.refs:
        many_refs(world, count, options.rounds)
    if options.tasks:
        concurrent(world, options.workers, options.tasks, 0)


if __name__ == "__main__":
    main()
