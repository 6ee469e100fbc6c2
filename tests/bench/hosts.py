"""Git hosts in a process of their own, each also behind a line with a delay.

    python3 hosts.py ROOT DELAY_MS...     prints one JSON object, then serves

{"http": {"0": port, "20": port ...}, "https": {...}, "locked": {...}, "cert": path,
 "ssh": {...}, "key": path, "known_hosts": path}; "locked" is https with an account
"""

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.hosts import SSHD, HttpHost, SshHost, certificate

ACCOUNT = ("bench", "s3cret of the bench")


class Line:
    """A TCP line that delivers each byte half a round trip later, in order."""

    def __init__(self, port, delay):
        self.port, self.half = port, delay / 2000

    async def carry(self, reader, writer):
        await asyncio.sleep(2 * self.half)  # the handshake
        there = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(
            self.one_way(reader, there[1]), self.one_way(there[0], writer)
        )

    async def one_way(self, reader, writer):
        loop, due = asyncio.get_running_loop(), asyncio.Queue()
        sender = asyncio.create_task(self.deliver(due, writer))
        while True:
            try:
                chunk = await reader.read(65536)
            except ConnectionError:
                chunk = b""
            due.put_nowait((loop.time() + self.half, chunk))
            if not chunk:
                break
        await sender

    async def deliver(self, due, writer):
        loop = asyncio.get_running_loop()
        while True:
            when, chunk = await due.get()
            await asyncio.sleep(max(when - loop.time(), 0))
            if not chunk:
                break
            writer.write(chunk)
        writer.close()


async def lines(ports, delays):
    """Open a line per host and delay; give the table of ports."""
    table = {}
    for name, port in ports.items():
        table[name] = {"0": port}
        for delay in delays:
            line = Line(port, delay)
            server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
            table[name][str(delay)] = server.sockets[0].getsockname()[1]
    return table


def web_hosts(root):
    """Start the three: plain, with TLS, and with TLS and an account."""
    (root / "tls").mkdir()
    tls = certificate(root / "tls")
    hosts = {
        "http": HttpHost(root),
        "https": HttpHost(root, tls),
        "locked": HttpHost(root, tls),
    }
    hosts["locked"].let_in(*ACCOUNT)
    return {name: host.server_port for name, host in hosts.items()}, str(tls[0])


async def main(root, delays):
    ports, cert = web_hosts(root)
    extra = {"cert": cert}
    ssh = None
    if SSHD.exists():
        (root / "sshd").mkdir()
        ssh = SshHost(root / "sshd")
        ports["ssh"] = ssh.port
        extra |= {"key": str(ssh.key), "known_hosts": str(ssh.known_hosts)}
    table = await lines(ports, delays)
    if ssh:
        words = ssh.known_hosts.read_text().split(" ", 1)[1]
        pins = (f"[127.0.0.1]:{port} {words}" for port in table["ssh"].values())
        ssh.known_hosts.write_text("".join(pins))
    print(json.dumps(table | extra), flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
    while not ended.is_set():
        await asyncio.sleep(0.1)
    if ssh:
        ssh.stop()
    os._exit(0)  # whatever still talks to a web host


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [int(d) for d in sys.argv[2:]]))
