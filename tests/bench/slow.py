"""How others are served while slow peers hold very many connections.

    python3 tests/bench/slow.py

Each slow peer has sent half a head and sends one more byte a second. Meanwhile 400
signed triggers come from other addresses, each on a connection of its own.
"""

import multiprocessing
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from load import Job, Load, measured
from peers import SECRET, TASKS, Ours

HALF = b"POST /api/webhooks/task-sync HTTP/1.1\r\nHost: h\r\nX-Slow: "
ASKED = 400
CROWDS = {
    "nobody": [],
    "5,000 of one address": ["127.0.0.1"] * 5000,
    "10,000 of 250 addresses": [f"127.2.0.{1 + n % 250}" for n in range(10_000)],
}


class Crowd:
    """Slow peers, in a process of their own."""

    def __init__(self, port, addresses):
        self.port, self.addresses = port, addresses
        self.here, there = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.stand, args=(there,))

    def stand(self, told):
        """Connect, say so, then send a byte each second until told to go."""
        socks = [self.connect(address) for address in self.addresses]
        told.send("here")
        while not told.poll(1):
            for sock in socks:
                with suppress(OSError):
                    sock.send(b"x")
        told.send(sum(held(sock) for sock in socks))

    def connect(self, address):
        sock = socket.socket()
        sock.bind((address, 0))
        sock.connect(("127.0.0.1", self.port))
        sock.setblocking(False)
        with suppress(OSError):
            sock.send(HALF)
        return sock

    def leave(self):
        """Go; tells how many were still connected."""
        self.here.send("go")
        return self.here.recv()

    def __enter__(self):
        self.process.start()
        self.here.recv()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def held(sock):
    """Whether it was neither answered nor closed."""
    try:
        sock.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def asked(port):
    """Ask from addresses of good manners; gives answers and latencies."""
    job = Job(
        port=port,
        clients=4,
        seconds=0,
        keep_alive=False,
        secret=SECRET,
        path=Ours.path,
        tasks=TASKS,
        count=ASKED,
        addresses=100,
    )
    return measured(Load(job))


def beside(peer, name, addresses):
    """One row: what others get while this crowd stands there."""
    with Crowd(peer.port, addresses) as crowd:
        got, rss = asked(peer.port), peer.rss()
        left = crowd.leave()
    served = f"{got['answers']} of {ASKED}"
    print(
        f"{name:<26}{left:>8,}{served:>14}{got['p50']:>10.1f}{got['p99']:>10.1f}"
        f"{rss:>10.1f}",
        flush=True,
    )


def main():
    folder = Path(tempfile.mkdtemp(prefix="slow-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        peer = Ours(folder)
        stack.callback(peer.stop)
        peer.start()
        print(f"{'slow peers':<26}{'held':>8}{'served':>14}{'p50 ms':>10}{'p99 ms':>10}"
              f"{'RSS MiB':>10}")  # fmt: skip
        for name, addresses in CROWDS.items():
            beside(peer, name, addresses)
            time.sleep(1)
        ended = peer.process.poll()
        sys.exit("the server has ended" if ended is not None else 0)


if __name__ == "__main__":
    main()
