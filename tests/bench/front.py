"""How fast a signed trigger is taken, beside others, in the same run.

    python3 tests/bench/front.py [--seconds S] [--rounds N] [--clients 1,16,64,256]

Ours commits each trigger to disk before it answers; only "commit each" does that, too.
What is not installed here is left out; FLASK_PYTHON names a Python that has Flask and
gunicorn. Rounds are interleaved, medians are shown: on a busy machine only the ratios
count. The last table holds what is to be reached, and what was.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from load import Job
from marks import HEADS, HELD, NONE_HELD, ONE_SYNC, SLOW, compared, show_marks
from peers import (
    ROOT,
    SECRET,
    TASKS,
    Committing,
    Flask,
    Go,
    Ours,
    Peer,
    Plain,
    Storeless,
    Webhook,
    slow_disk,
)

LOAD = Path(__file__).with_name("load.py")
FLOOR = "import http.server, sqlite3, subprocess, json"
SYNCED = """
import os, statistics, sys, time
times = []
with open(sys.argv[1], "wb", 0) as file:
    for _ in range(30):
        file.write(bytes(4096))
        started = time.perf_counter()
        os.fdatasync(file.fileno())
        times.append(time.perf_counter() - started)
print(statistics.median(times) * 1000)
"""


@dataclass(frozen=True)
class Load:
    """What servers get in turns."""

    title: str
    peers: list[Peer]
    clients: int
    keep_alive: bool = False
    size: int = 0

    def measure(self, peer, seconds, count=0):
        """One burst; what it gave and what it cost."""
        job = Job(
            port=peer.port,
            clients=self.clients,
            seconds=seconds,
            keep_alive=self.keep_alive,
            secret=SECRET,
            path=peer.path,
            tasks=TASKS,
            size=self.size,
            count=count,
        )
        before = peer.cpu()
        load = [sys.executable, LOAD, json.dumps(asdict(job))]
        ran = subprocess.run(load, check=True, capture_output=True)
        result = json.loads(ran.stdout)
        answers = max(1, result["answers"])
        return {
            "req/s": result["answers"] / result["seconds"],
            "p50 ms": result["p50"],
            "p99 ms": result["p99"],
            "CPU us": (peer.settled_cpu() - before) / answers * 1e6,
            "RSS MiB": peer.rss(),
            "errors": result["errors"],
        }

    def interleaved(self, options):
        """Each figure of all rounds, peer by peer; all are warm when it begins."""
        for peer in self.peers:
            self.measure(peer, options.seconds)
        rounds = [
            {peer.name: self.measure(peer, options.seconds) for peer in self.peers}
            for _ in range(options.rounds)
        ]
        return {peer.name: column(rounds, peer.name) for peer in self.peers}


def column(rounds, name):
    """What one server had in each round, figure by figure."""
    return {head: [each[name][head] for each in rounds] for head in rounds[0][name]}


def show(title, figures):
    heads = (*HEADS, "errors")
    print(f"\n{title}")
    print(" " * 14 + "".join(f"{head:>10}" for head in heads))
    for name, row in figures.items():
        cells = (
            statistics.median(row[head]) if head in row else None for head in heads
        )
        shown = ("-" if cell is None else f"{cell:,.1f}" for cell in cells)
        print(f"{name:<14}" + "".join(f"{cell:>10}" for cell in shown))
    ours = figures[Ours.name]
    for name, row in figures.items():
        if name != Ours.name:
            parts = (
                f"{compared(ours, row, h):.2f}x" if h in row else "-" for h in HEADS
            )
            print(f"/ {name:<12}" + "".join(f"{part:>10}" for part in parts))
    sys.stdout.flush()


class Servers:
    """All that are measured, each started once."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.usual = self.started(folder, Ours, Webhook, Plain, Go)
        self.seldom = self.started(folder, Flask, Storeless)
        self.delay = slow_disk(folder)
        slow = (Ours, Committing) if self.delay else ()
        self.slow = self.started(folder / "slow", *slow, **self.delay or {})

    def started(self, folder, *kinds, **environ):
        peers = [kind(folder, **environ) for kind in kinds if kind.available()]
        for peer in peers:
            self.stack.callback(peer.stop)
            peer.start()
        return peers

    def loads(self, clients):
        for count in clients:
            peers = self.usual + (self.seldom if count == 64 else [])
            yield Load(f"new connection, {count} clients", peers, count)
        yield Load("new connection, 64 clients, 20 KB", self.usual, 64, size=20_000)
        yield Load("keep-alive, 16 clients", self.usual, 16, keep_alive=True)
        if self.slow:
            for title, count in zip(SLOW, (1, 64, 256), strict=True):
                yield Load(title, self.slow, count)

    def one_sync(self):
        """Milliseconds that one sync of one page takes on the slow disk."""
        command = [sys.executable, "-c", SYNCED, self.folder / "synced"]
        environ = self.slow[0].environ
        return float(subprocess.check_output(command, env=environ))


def compare(servers, options):
    """Show each load as it is done; gives all the tables."""
    tables = {}
    for load in servers.loads(int(c) for c in options.clients.split(",")):
        tables[load.title] = load.interleaved(options)
        if load.title == SLOW[0]:
            allowed = [servers.one_sync() + 3 for _ in range(options.rounds)]
            tables[load.title][ONE_SYNC] = {"p50 ms": allowed}
        show(load.title, tables[load.title])
    tables[HELD] = held_half_sent(servers.usual[0], 1000, options)
    show(HELD, tables[HELD])
    return tables


def held_half_sent(peer, count, options):
    """Ours with `count` half-sent requests held and without."""
    load = Load(HELD, [peer], 16)
    rounds, rss = [], load.measure(peer, options.seconds)["RSS MiB"]
    for _ in range(options.rounds):
        # Memory that was needed once may stay: the first is what the others grow from.
        free = load.measure(peer, options.seconds) | {"RSS MiB": rss}
        with ExitStack() as stack:
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", peer.port))
                stack.enter_context(sock)
                sock.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nX-Half: ")
            held = load.measure(peer, options.seconds)
        rounds.append({Ours.name: held, NONE_HELD: free})
    return {name: column(rounds, name) for name in (Ours.name, NONE_HELD)}


def many_triggers(peer, count):
    """RSS of ours before, halfway and after `count` triggers."""
    sizes = [peer.rss()]
    for _ in range(2):
        Load("many", [peer], 64).measure(peer, 0, count // 2)
        sizes.append(peer.rss())
    print(
        f"\nRSS over {count} triggers: {' '.join(f'{size:.1f}' for size in sizes)} MiB"
    )


class Built(Ours):
    """The daemon run from its archive."""

    def __init__(self, folder, archive):
        super().__init__(folder)
        self.archive = archive

    def hookd(self, *words):
        return [sys.executable, self.archive, *super().hookd(*words)[3:]]


def start_up(folder, rounds):
    """Seconds from exec to the first answered /healthz, against bare imports."""
    archive = folder / "gms-hookd.pyz"
    build = [sys.executable, "-m", "gms_hookd.pyz", archive]
    subprocess.run(build, cwd=ROOT, check=True)
    ratios, ours = [], []
    for number in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", FLOOR], check=True)
        floor = time.perf_counter() - started
        peer = Built(folder / f"start{number}", archive)
        started = time.perf_counter()
        peer.launch()
        with urllib.request.urlopen(f"http://127.0.0.1:{peer.port}/healthz") as answer:
            answer.read()
        ours.append(time.perf_counter() - started)
        ratios.append(ours[-1] / floor)
        peer.halt()
    ratio = statistics.median(ratios)
    print(f"start to /healthz {statistics.median(ours) * 1000:.0f} ms, {ratio:.2f}x of")
    print(f"  python3 -c '{FLOOR}'\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="of each burst")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", default="1,16,64,256")
    parser.add_argument("--triggers", type=int, default=50_000)
    return parser.parse_args()


def main():
    options = parse()
    folder = Path(tempfile.mkdtemp(prefix="front-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        servers = Servers(folder, stack)
        tables = compare(servers, options)
        many_triggers(servers.usual[0], options.triggers)
        start_up(folder, options.rounds)
        show_marks(tables)


if __name__ == "__main__":
    main()
