"""How fast a signed trigger is taken, beside others, in the same run.

    python3 tests/bench/front.py [--seconds S] [--rounds N] [--clients 1,16,64,256]

Ours commits each trigger to disk before it answers; the others store nothing. Rounds
are interleaved, medians are shown: on a busy machine only the ratios count.
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
from dataclasses import asdict
from pathlib import Path

from load import Job
from peers import ROOT, SECRET, TASKS, Go, Ours, Plain, Webhook

LOAD = Path(__file__).with_name("load.py")
HEADS = ("req/s", "p50 ms", "p99 ms", "CPU us", "RSS MiB", "errors")
FLOOR = "import http.server, sqlite3, subprocess, json"


def measure(peer, job):
    """One burst of load; what it gave and what it cost."""
    before = peer.settled_cpu()
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


def job_for(peer, clients, keep_alive, options, **more):
    return Job(
        port=peer.port,
        clients=clients,
        seconds=options.seconds,
        keep_alive=keep_alive,
        secret=SECRET,
        path=peer.path,
        tasks=TASKS,
        **more,
    )


def interleaved(peers, clients, keep_alive, options, **more):
    """Median of each figure over the rounds, peer by peer."""
    rounds = {peer.name: [] for peer in peers}
    for _ in range(options.rounds):
        for peer in peers:
            job = job_for(peer, clients, keep_alive, options, **more)
            rounds[peer.name].append(measure(peer, job))
    return {
        name: {head: statistics.median(r[head] for r in runs) for head in HEADS}
        for name, runs in rounds.items()
    }


def show(title, figures):
    print(f"\n{title}")
    print(" " * 14 + "".join(f"{head:>10}" for head in HEADS))
    for name, row in figures.items():
        print(f"{name:<14}" + "".join(f"{row[head]:>10,.1f}" for head in HEADS))
    sys.stdout.flush()


def ratios(title, figures):
    ours = figures[Ours.name]
    for name, row in figures.items():
        if name != Ours.name:
            parts = [f"{h} {ours[h] / max(row[h], 1e-9):.2f}x" for h in HEADS[:4]]
            print(f"{title:<32} ours / {name:<12} {'  '.join(parts)}")


def held_half_sent(peer, count, options):
    """Ours with `count` half-sent requests held and without: p50 and RSS."""
    job = job_for(peer, 16, False, options)
    free = measure(peer, job)
    with ExitStack() as stack:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", peer.port))
            stack.enter_context(sock)
            sock.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nX-Half: ")
        held = measure(peer, job)
    slower = held["p50 ms"] / free["p50 ms"]
    grown = held["RSS MiB"] - free["RSS MiB"]
    print(f"\n{count} half-sent requests held: p50 {slower:.2f}x, RSS +{grown:.1f} MiB")


def many_triggers(peer, count, options):
    """RSS of ours before, halfway and after `count` triggers."""
    sizes = [peer.rss()]
    for _ in range(2):
        measure(peer, job_for(peer, 64, False, options, count=count // 2))
        sizes.append(peer.rss())
    print(f"RSS over {count} triggers: {' '.join(f'{size:.1f}' for size in sizes)} MiB")


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
        place = folder / f"start{number}"
        place.mkdir()
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", FLOOR], check=True)
        floor = time.perf_counter() - started
        peer = Built(place, archive)
        started = time.perf_counter()
        peer.launch()
        with urllib.request.urlopen(f"http://127.0.0.1:{peer.port}/healthz") as answer:
            answer.read()
        ours.append(time.perf_counter() - started)
        ratios.append(ours[-1] / floor)
        peer.halt()
    ratio = statistics.median(ratios)
    print(f"start to /healthz {statistics.median(ours) * 1000:.0f} ms, {ratio:.2f}x of")
    print(f"  python3 -c '{FLOOR}'")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each burst")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--clients", default="1,16,64,256")
    parser.add_argument("--triggers", type=int, default=100_000)
    return parser.parse_args()


def main():
    options = parse()
    folder = Path(tempfile.mkdtemp(prefix="front-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        peers = [kind(folder) for kind in (Ours, Webhook, Plain, Go)]
        peers = [peer for peer in peers if peer.available()]
        for peer in peers:
            stack.callback(peer.stop)
            peer.start()
        compare(peers, options)
        held_half_sent(peers[0], 1000, options)
        many_triggers(peers[0], options.triggers, options)
        start_up(folder, options.rounds)


def compare(peers, options):
    tables = {}
    for keep_alive in (False, True):
        for clients in (int(c) for c in options.clients.split(",")):
            kind = "keep-alive" if keep_alive else "new connection"
            title = f"{kind}, {clients} clients"
            tables[title] = interleaved(peers, clients, keep_alive, options)
            show(title, tables[title])
    title = "new connection, 64 clients, 20 KB"
    tables[title] = interleaved(peers, 64, False, options, size=20_000)
    show(title, tables[title])
    print("\nratios")
    for title, figures in tables.items():
        ratios(title, figures)


if __name__ == "__main__":
    main()
