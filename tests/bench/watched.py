"""What it costs the senders of triggers that many people look at the status page.

    python3 tests/bench/watched.py [--seconds S] [--rounds N] [--people 100]

Rounds with and without people are interleaved; the median of the ratios is shown. Each
of them reloads /status or /metrics every five seconds, as a page that refreshes does.
"""

import argparse
import base64
import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from front import Load
from peers import Ours

TOKEN = "r3ad-r3ad-r3ad-r3ad"
EVERY = 5.0  # seconds


class Watched(Ours):
    """Ours, with a read token."""

    name = "watched"

    def command(self):
        command = super().command()
        config = self.folder / "config.toml"
        config.write_text(f'{config.read_text()}[api]\nread_token = "{TOKEN}"\n')
        return command


def person(port, number, people):
    """Reload for ever; the first time somewhere within the five seconds."""
    path = ("/status", "/metrics")[number % 2]
    login = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    time.sleep(EVERY * number / people)
    while True:
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        connection.close()
        time.sleep(max(EVERY - (time.monotonic() - started), 0))


def watch(port, people):
    """Be so many people, until killed."""
    for number in range(people):
        given = port, number, people
        threading.Thread(target=person, args=given, daemon=True).start()
    threading.Event().wait()


def measured(peer, options, people):
    """One burst of triggers while so many people look."""
    words = [sys.executable, __file__, "--port", peer.port, "--people", people]
    watching = subprocess.Popen([*map(str, words)]) if people else None
    try:
        load = Load("", [peer], options.clients, keep_alive=True)
        return load.measure(peer, options.seconds)
    finally:
        if watching:
            watching.kill()
            watching.wait()


def main():
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.port:
        watch(options.port, options.people)
    with tempfile.TemporaryDirectory() as folder:
        peer = Watched(Path(folder))
        peer.start()
        try:
            measured(peer, options, 0)
            rounds = [
                [measured(peer, options, people) for people in (0, options.people)]
                for _ in range(options.rounds)
            ]
        finally:
            peer.stop()
    for figure in ("req/s", "p50 ms", "p99 ms"):
        ratios = [seen[figure] / alone[figure] for alone, seen in rounds]
        median = statistics.median(ratios)
        print(f"{figure:7} {median:.2f}x with {options.people} people", flush=True)
        print("       ", " ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
