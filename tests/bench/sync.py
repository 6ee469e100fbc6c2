"""How long a sync takes, from the signed trigger to its recorded result.

    python3 tests/bench/sync.py [--only PART...] [--rounds N] [--delays 0,20,100]
                                [--refs 1000,20000] [--workers 1,2,8,16] [--tasks 40]
                                [--large REPOSITORY]

Beside it, interleaved, in the same run, is what it is measured against: the floor, one
bare `git fetch` and one bare `git push` of the same change; or the same daemon without
what is told apart. Figures are medians in ms; a ratio is the median of the ratios of
each round, since machines swing.
"""

import argparse
import hashlib
import hmac
import http.client
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent)]

from hosts import ACCOUNT  # noqa: E402
from peers import ROOT, SECRET, free_port, wait_for  # noqa: E402

from tests.support.repositories import ENVIRON, Repo  # noqa: E402

MAIN = "refs/heads/main"
TOKEN = "token-of-the-bench"
KINDS = ("file", "http", "https", "ssh")

# Declines to hold a connection open; all else is ssh's.
LONE_SSH = '#!/bin/sh\ncase " $* " in *" -fNM "*) exit 1;; esac\nexec {ssh} "$@"\n'


class Daemon:
    """One gms-hookd of our own, and what a client does with it."""

    def __init__(self, root, hosts, **environ):
        self.root, self.hosts = root, hosts
        self.environ = {**os.environ, "SSL_CERT_FILE": hosts["cert"], **environ}
        root.mkdir()

    def start(self, workers=8):
        self.port = free_port()
        config = self.root / "config.toml"
        config.write_text(self.settings(workers))
        config.chmod(0o600)
        words = ("--config", config, "--state", self.root / "state")
        argv = (sys.executable, "-m", "gms_hookd", "serve", *words)
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, cwd=ROOT, stderr=log, env=self.environ
            )
        wait_for(self.port)
        return self

    def settings(self, workers):
        password = self.root / "password"
        password.write_text(ACCOUNT[1])
        password.chmod(0o600)
        ssh = "".join(
            f'ssh_{name} = "{self.hosts[key]}"\n'
            for name, key in (("key_file", "key"), ("known_hosts", "known_hosts"))
            if key in self.hosts
        )
        return (
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'[webhook]\nsecret = "{SECRET}"\nrate_limit = 0\n'
            f'[api]\ntoken = "{TOKEN}"\n[sync]\nworkers = {workers}\n'
            f'allow_protocols = ["https","http","ssh","file"]\n{ssh}'
        ) + "".join(
            f'[credentials."https://127.0.0.1:{port}"]\n'
            f'username = "{ACCOUNT[0]}"\npassword_file = "{password}"\n'
            for port in self.hosts["locked"].values()
        )

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def post(self, path, content, **headers):
        body = json.dumps(content).encode()
        mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={mac}",
            "Authorization": f"Bearer {TOKEN}",
        }
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        line.request("POST", path, body, headers)
        answer = line.getresponse()
        text = answer.read()
        line.close()
        assert answer.status in (200, 202), text
        return answer.status, json.loads(text)

    def task(self, name, source, target, **more):
        draft = {"name": name, "source": source, "target": target, **more}
        return self.post("/api/v1/sync/task/create", draft)[1]["data"]["id"]

    def sync(self, number):
        path = "/api/webhooks/task-sync?wait=300"
        while self.post(path, {"task_id": number})[0] == 202:
            pass


class World:
    """Repositories, their hosts, daemons, and the clone of the floor."""

    def __init__(self, root, delays):
        self.root = root
        self.stack = ExitStack()
        (root / "repos").mkdir()
        self.hosts = self.serve_hosts(delays)
        self.rival = Repo(root / "rival.git")
        self.daemon = self.start("ours")
        self.caches = self.daemon.root / "state" / "caches"

    def serve_hosts(self, delays):
        command = [sys.executable, HERE / "hosts.py", self.root / "repos"]
        delayed = [str(d) for d in delays if d]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([*command, *delayed], **pipes)
        self.stack.callback(process.wait)
        self.stack.callback(process.stdin.close)
        return json.loads(process.stdout.readline())

    def start(self, name, **environ):
        daemon = Daemon(self.root / name, self.hosts, **environ).start()
        self.stack.callback(daemon.stop)
        return daemon

    def close(self):
        self.stack.close()

    def repo(self, name):
        return Repo(self.root / "repos" / name)

    def pair(self, name, kind, delay):
        """Make a source and a target; give both and their URLs."""
        repos = [self.repo(f"{name}-{end}.git") for end in "st"]
        for count in range(20):
            repos[0].commit(files={f"f{count}": os.urandom(200).hex()})
        return repos[0], [self.url(repo, kind, delay) for repo in repos]

    def url(self, repo, kind, delay):
        if kind == "file":
            return str(repo)
        port = self.hosts[kind][str(delay)]
        if kind == "ssh":
            return f"ssh://root@127.0.0.1:{port}{repo}"
        scheme = "http" if kind == "http" else "https"
        return f"{scheme}://127.0.0.1:{port}/{repo.path.name}"

    def git(self, *args):
        environ = {**ENVIRON, "GIT_SSL_CAINFO": self.hosts["cert"]}
        if "key" in self.hosts:
            environ["GIT_SSH_COMMAND"] = (
                f"ssh -F /dev/null -i {self.hosts['key']} -o IdentitiesOnly=yes"
                f" -o UserKnownHostsFile={self.hosts['known_hosts']}"
            )
        command = ("git", f"--git-dir={self.rival}", *args)
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def floor(self, source, target, ref=MAIN):
        self.git("fetch", "-q", source, f"+{ref}:{ref}")
        self.git("push", "-q", target, f"{ref}:{ref}")


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
    """Print the first figure beside each of the others."""
    (_, ours), *peers = figures.items()
    for peer, theirs in peers:
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        middles = (statistics.median(ours), statistics.median(theirs))
        row(title, f"{middles[0]:.1f}", peer, f"{middles[1]:.1f}", f"{ratio:.2f}")


def row(title, ours, peer="", theirs="", ratio=""):
    print(f"{title:<32}{ours:>9}   {peer:<24}{theirs:>9}{ratio:>8}", flush=True)


def nothing(_):
    """Change nothing."""


def compared(title, rounds, sources, acts):
    """Time one new commit, then no change, after a first round for all."""
    for act in acts.values():
        act()

    def change(peer):
        sources[peer].commit(files={"f": os.urandom(50).hex()})

    line(f"{title}, one commit", interleaved(rounds, change, acts))
    for act in acts.values():
        act()
    line(f"{title}, no change", interleaved(rounds, nothing, acts))


def spelled(kind, delay):
    return kind + (f" + {delay} ms" if delay else "")


def transports(world, options):
    """One branch over each transport, beside bare git."""
    for kind in KINDS:
        delays = options.delays if kind != "file" else [0]
        for delay in delays if kind == "file" or kind in world.hosts else ():
            one_branch(world, kind, delay, options.rounds)


def one_branch(world, kind, delay, rounds):
    name = f"{kind}{delay}"
    source, urls = world.pair(f"{name}-ours", kind, delay)
    floors, floor_urls = world.pair(f"{name}-floor", kind, delay)
    number = world.daemon.task(name, *urls, source_branch="main")
    acts = {
        "ours": lambda: world.daemon.sync(number),
        "bare fetch + push": lambda: world.floor(*floor_urls),
    }
    sources = {"ours": source, "bare fetch + push": floors}
    compared(spelled(kind, delay), rounds, sources, acts)


def credentials(world, options):
    """A host that wants a password, beside one that does not."""
    for delay in options.delays:
        acts, sources = {}, {}
        for peer, kind in (("with", "locked"), ("no credentials", "https")):
            name = f"{kind}-auth{delay}"
            sources[peer], urls = world.pair(name, kind, delay)
            number = world.daemon.task(name, *urls, source_branch="main")
            acts[peer] = lambda number=number: world.daemon.sync(number)
        title = f"credentials, {spelled('https', delay)}"
        compared(title, options.rounds, sources, acts)


def reuse(world, options):
    """Connections that stay open, beside the same daemon when it may not keep them."""
    if "ssh" not in world.hosts:
        return
    real = subprocess.check_output(("sh", "-c", "command -v ssh"), text=True).strip()
    shim = world.root / "bin" / "ssh"
    shim.parent.mkdir()
    shim.write_text(LONE_SSH.format(ssh=real))
    shim.chmod(0o755)
    lone = world.start("lone", PATH=f"{shim.parent}:{os.environ['PATH']}")
    for delay in options.delays:
        acts, sources = {}, {}
        for peer, daemon in (("kept", world.daemon), ("a login each time", lone)):
            name = f"{daemon.root.name}-ssh{delay}"
            sources[peer], urls = world.pair(name, "ssh", delay)
            number = daemon.task(name, *urls, source_branch="main")
            acts[peer] = lambda d=daemon, n=number: d.sync(n)
        title = f"kept open, {spelled('ssh', delay)}"
        compared(title, options.rounds, sources, acts)


def mirrors(world, options):
    """Mirrors of very many refs of which one is changed; the floor moves that one."""
    for count in options.refs:
        many_refs(world, count, options.rounds)


def many_refs(world, count, rounds):
    peers = ("ours", "bare fetch + push of one")
    repos = {peer: world.repo(f"many{count}-{peer[:4]}.git") for peer in peers}
    targets = {peer: world.repo(f"many{count}-{peer[:4]}-t.git") for peer in peers}
    ours, floor = peers
    for repo in (*repos.values(), targets[floor], world.rival):
        fill(repo, repos[ours], count)
    ends = (str(repos[ours]), str(targets[ours]))
    number = world.daemon.task(f"many{count}", *ends, timeout=900)
    first = timed(lambda: world.daemon.sync(number))
    row(f"{count:,} refs, first mirror", f"{first:.1f}")
    for target in targets.values():
        target.git("pack-refs", "--all")
    ref = "refs/heads/r000001"
    ends = (str(repos[floor]), str(targets[floor]))
    acts = {
        ours: lambda: world.daemon.sync(number),
        floor: lambda: world.floor(*ends, ref),
    }

    def change(peer):
        repos[peer].commit(ref)

    line(f"{count:,} refs, one changed", interleaved(rounds, change, acts))
    line(f"{count:,} refs, no change", interleaved(rounds, nothing, acts))


def large(world, options):
    """The first mirror of a large repository by http, and the disk it takes."""
    source = world.repo("large.git")
    if options.large:
        source.git("fetch", "-q", str(options.large), "+refs/*:refs/*")
    else:
        source.git("fast-import", "--quiet", stdin=b"".join(history(2000, 8)))
    count = itertools.count()
    sizes = {}

    def ends():  # under a name of its own, since caches of one source are one
        name = f"large{next(count)}"
        (source.path.parent / f"{name}-s.git").symlink_to(source.path)
        repos = [world.repo(f"{name}-{end}.git") for end in "st"]
        return name, [world.url(repo, "http", 0) for repo in repos]

    def ours():
        name, urls = ends()
        before = used(world.caches)
        world.daemon.sync(world.daemon.task(name, *urls, timeout=900))
        sizes["ours"] = used(world.caches) - before

    def floor():
        name, urls = ends()
        clone = world.root / name
        world.git("clone", "-q", "--mirror", urls[0], str(clone))
        world.git(f"--git-dir={clone}", "push", "-q", "--mirror", urls[1])
        sizes["floor"] = used(clone)

    acts = {"ours": ours, "clone + push --mirror": floor}
    line("large, first mirror", interleaved(options.rounds, nothing, acts))
    figures = [f"{size / 1e6:.1f}" for size in (sizes["ours"], sizes["floor"])]
    ratio = f"{sizes['ours'] / sizes['floor']:.2f}"
    row("large, MB on disk", figures[0], "clone --mirror", figures[1], ratio)


def history(commits, files):
    """Give a stream for fast-import: each commit changes files of 4 KB of their own."""
    dice = random.Random(1)
    for count in range(commits):
        yield f"commit {MAIN}\ncommitter b <b@c> {count} +0000\ndata 1\nx\n".encode()
        for _ in range(files):
            text = dice.randbytes(2000).hex()
            name = f"d{dice.randrange(100)}/f{dice.randrange(100)}"
            yield f"M 644 inline {name}\ndata {len(text)}\n{text}\n".encode()


def used(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_blocks * 512 for path in files)


def fill(repo, first, count):
    """Give a repository so many refs at once, all on one commit."""
    if repo.path != first.path:
        repo.git("fetch", "-q", str(first), "+main:main")
    else:
        repo.commit()
    tip = repo.tip()
    lines = (f"{tip} refs/heads/r{n:06}\n" for n in range(count))
    head = "# pack-refs with: peeled fully-peeled sorted \n"
    (repo.path / "packed-refs").write_text(head + "".join(lines))


def refused(world, options):
    """One ref of 1,000 that a pre-receive hook declines, with all that came along."""
    source, target = world.repo("refused-s.git"), world.repo("refused-t.git")
    fill(source, source, 1000)
    hook = "grep -q ' refs/heads/r000765$' && exit 1; exit 0"
    target.hook("pre-receive", f"echo >> {target}/pushes; {hook}")
    number = world.daemon.task("refused", str(source), str(target), timeout=900)

    def sync():
        with suppress(AssertionError):  # of its status: the run fails, as it should
            world.daemon.sync(number)

    took = timed(sync)
    count = len((target.path / "pushes").read_text())
    row("1 refused of 1,000, first", f"{took:.1f}", f"{count} pushes")


def foreign(world, options):
    """One branch beside 450,000 refs that nobody asked for, by http."""
    source, urls = world.pair("foreign", "http", 0)
    tip = source.tip()
    names = sorted(f"refs/changes/{n % 100:02}/{n}/1" for n in range(450_000))
    lines = "".join(f"{tip} {name}\n" for name in (*names, MAIN))
    head = "# pack-refs with: peeled fully-peeled sorted \n"
    (source.path / "packed-refs").write_text(head + lines)
    number = world.daemon.task("foreign", *urls, source_branch="main")
    acts = {
        "ours": lambda: world.daemon.sync(number),
        "bare fetch": lambda: world.git("fetch", "-q", urls[0], f"+{MAIN}:{MAIN}"),
    }
    line("450,000 foreign refs", interleaved(options.rounds, nothing, acts))


def concurrent(world, options):
    """So many tasks at once, by so many workers: syncs a second."""
    for delay in {0: 0, options.delays[-1]: 0}:
        at_once(world, options.workers, options.tasks, delay)


def at_once(world, workers, tasks, delay):
    numbers, sources = [], []
    for n in range(tasks):
        source, target = (world.repo(f"c{delay}-{n}-{end}.git") for end in "st")
        source.commit()
        urls = [world.url(r, "http", delay) for r in (source, target)]
        numbers.append(world.daemon.task(f"c{delay}-{n}", *urls, source_branch="main"))
        sources.append(source)
    all_synced(world.daemon, numbers)
    rates = {}
    for count in workers:
        world.daemon.stop()
        world.daemon.start(count)
        for source in sources:
            source.commit()
        seconds = timed(lambda: all_synced(world.daemon, numbers)) / 1000
        rates[count] = tasks / seconds
        title = f"{tasks} tasks, workers: {count}" + (f" + {delay} ms" if delay else "")
        peer = f"{workers[0]} worker" + "s" * (workers[0] > 1)
        first = rates[workers[0]]
        ratio = f"{rates[count] / first:.2f}"
        row(title, f"{rates[count]:.1f}/s", peer, f"{first:.1f}/s", ratio)


def all_synced(daemon, numbers):
    """Trigger all at once, each once, and wait for each run."""
    with ThreadPoolExecutor(len(numbers)) as pool:
        list(pool.map(daemon.sync, numbers))


PARTS = {
    "transports": transports,
    "credentials": credentials,
    "reuse": reuse,
    "mirrors": mirrors,
    "large": large,
    "concurrent": concurrent,
    "refused": refused,
    "foreign": foreign,
}


def whole(text):
    return [int(part) for part in text.split(",") if part]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--delays", type=whole, default=[0, 20, 100])
    parser.add_argument("--refs", type=whole, default=[1000, 20000])
    parser.add_argument("--workers", type=whole, default=[1, 2, 8, 16])
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--large", type=Path, help="mirror this one, not a made one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the hosts, too
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        world = World(Path(folder), options.delays)
        try:
            row("", "ours ms", "beside", "ms", "ratio")
            for part in options.only:
                PARTS[part](world, options)
        finally:
            world.close()


if __name__ == "__main__":
    main()
