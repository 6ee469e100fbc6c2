"""A load generator that costs little: one process, one epoll loop, raw sockets.

Run as a process of its own; prints one line of JSON: how many answers were right, how
many were not, the seconds it took, and percentiles of the latency in milliseconds.
"""

import hashlib
import hmac
import itertools
import json
import re
import select
import socket
import sys
import time
from dataclasses import dataclass

LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """What to send, where, how many at a time, for how long."""

    port: int
    clients: int
    seconds: float
    keep_alive: bool
    secret: str
    path: str
    tasks: int
    size: int = 0
    count: int = 0
    addresses: int = 0  # as many of 127.1.0.x are the clients'; 0: 127.0.0.1 is


def signed(job, task):
    """Return one POST with a real signature."""
    payload = {"task_id": task}
    if job.size:
        payload["filler"] = "x" * job.size
    body = json.dumps(payload).encode()
    digest = hmac.new(job.secret.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST {job.path} HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\n"
        "User-Agent: GitHub-Hookshot/044aadd\r\nAccept: */*\r\n"
        "X-GitHub-Event: push\r\n"
        f"X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc{task:04x}\r\n"
        "Content-Type: application/json\r\n"
        f"X-Hub-Signature-256: sha256={digest}\r\nContent-Length: {len(body)}\r\n"
    )
    if not job.keep_alive:
        head += "Connection: close\r\n"
    return head.encode() + b"\r\n" + body


class Load:
    """`clients` requests under way at any time; `halfway` is called once, then."""

    def __init__(self, job, halfway=None):
        self.job = job
        self.halfway = halfway
        self.requests = itertools.cycle([signed(job, n + 1) for n in range(job.tasks)])
        self.epoll = select.epoll()
        self.open = {}
        self.times = []
        self.sent = 0
        self.errors = 0

    def run(self):
        start = time.perf_counter()
        end = start + self.job.seconds
        for _ in range(min(self.job.clients, self.job.count or self.job.clients)):
            self.connect()
        while self.open:
            for descriptor, _ in self.epoll.poll(5):
                self.take(descriptor, self.more(end))
        return time.perf_counter() - start

    def more(self, end):
        if self.job.count:
            return self.sent < self.job.count
        return time.perf_counter() < end

    def connect(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if self.job.addresses:
            sock.bind((f"127.1.0.{1 + self.sent % self.job.addresses}", 0))
        started = time.perf_counter()
        sock.connect(("127.0.0.1", self.job.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(sock)
        self.open[sock.fileno()] = (sock, started)
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def send(self, sock):
        sock.send(next(self.requests))
        self.sent += 1
        if self.halfway and 2 * self.sent == self.job.count:
            self.halfway()

    def take(self, descriptor, going_on):
        sock, started = self.open[descriptor]
        answer = self.receive(sock)
        if b" 200 " in answer[:16]:
            self.times.append(time.perf_counter() - started)
        else:
            self.errors += 1
        if self.job.keep_alive and answer and going_on:
            self.open[descriptor] = (sock, time.perf_counter())
            self.send(sock)
            return
        del self.open[descriptor]
        sock.close()
        if going_on:
            self.connect()

    def receive(self, sock):
        """Read one answer; nearly always it comes in one piece."""
        try:
            answer = sock.recv(65536)
            while answer and not whole(answer):
                piece = sock.recv(65536)
                answer = answer + piece if piece else b""
        except ConnectionResetError:
            return b""
        return answer


def whole(answer):
    end = answer.find(b"\r\n\r\n") + 4
    length = LENGTH.search(answer, 0, end)
    return end > 3 and length and len(answer) - end >= int(length[1])


def main():
    job = Job(**json.loads(sys.argv[1]))
    print(json.dumps(measured(Load(job))))


def measured(load):
    """Run a load; give its figures."""
    seconds = load.run()
    times = sorted(load.times) or [0.0]
    return {
        "answers": len(load.times),
        "errors": load.errors,
        "seconds": seconds,
        "p50": times[len(times) // 2] * 1000,
        "p99": times[len(times) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    main()
