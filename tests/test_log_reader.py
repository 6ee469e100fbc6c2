"""A log reader that stalls or goes away holds up nothing; what it loses is counted."""

import fcntl
import logging
import os
import pty
import re
import signal
import socket
import sys
import threading
import tty
from contextlib import ExitStack, suppress

import pytest

from gms_hookd import log
from tests.support.process import PATIENCE, ask
from tests.test_log import logging_as_before  # noqa: F401

events = logging.getLogger("events")
TOTAL = 6_000


class Ends:
    """A stream to log to, and the descriptor at its other end."""

    def __init__(self, stack, kind):
        if kind == "socket":
            mine, theirs = socket.socketpair()
            self.write, self.read = mine.detach(), theirs.detach()
        elif kind == "terminal":
            self.read, self.write = pty.openpty()
            tty.setraw(self.write)
        else:
            self.read, self.write = os.pipe()
        self.stream = stack.enter_context(os.fdopen(self.write, "w"))
        self.open = True
        stack.callback(self.hang_up)

    def hang_up(self):
        if self.open:
            os.close(self.read)
        self.open = False


KINDS = ("pipe", "shared", "socket", "terminal")


@pytest.fixture(params=KINDS)
def ends(request, logging_as_before, monkeypatch):  # noqa: F811
    if request.param == "shared":
        # As where another user has made the pipe, and it cannot be opened anew.
        monkeypatch.setattr("gms_hookd.log._OWN", os.O_WRONLY | os.O_DIRECTORY)
    with ExitStack() as stack:
        ends = Ends(stack, request.param)
        stack.callback(log.setup(ends.stream, {}).close)
        yield ends


def say(number):
    events.info("%d %s", number, "x" * 100)


def numbers(text):
    return [int(n) for n in re.findall(r"INFO (\d+) x{100}\n", text)]


def read_to_the_end(ends):
    """Let go of what is kept, as often as there is room; returns all that came."""
    said = b""
    while not said.endswith(b" end\n"):
        said += os.read(ends.read, 65536)
        log.release()
    return said.decode()


def test_a_reader_that_stalls_gets_the_newest_lines_and_the_count_of_those_lost(ends):
    for number in range(TOTAL):
        say(number)
    assert log.dropped() > 0
    events.warning("end")
    text = read_to_the_end(ends)
    counts = re.findall(r"WARNING log lines dropped count=(\d+)\n", text)
    lost = sum(map(int, counts))
    found = numbers(text)
    assert len(found) + lost == TOTAL
    assert lost > 0
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == TOTAL - 1
    assert log.dropped() == 0
    assert not re.search(r"\n(?!\d{4}-)[^\n]", text), "no line is torn"


def test_a_reader_that_is_slow_loses_nothing(ends):
    end = threading.Thread(target=lambda: said.append(read_all(ends)))
    said = []
    end.start()
    for number in range(1000):
        say(number)
    events.warning("end")
    log.finish(PATIENCE)
    end.join(PATIENCE)
    assert numbers(said[0]) == list(range(1000))


def read_all(ends):
    text = b""
    while not text.endswith(b" end\n"):
        text += os.read(ends.read, 100)
    return text.decode()


def test_a_reader_that_goes_away_is_no_error_and_what_it_missed_is_counted(ends):
    say(1)
    ends.hang_up()
    for number in range(500):
        say(number)
        log.event(events, "as well")
    assert 990 <= log.dropped() <= 1001
    log.finish(PATIENCE)


def test_what_others_have_open_waits_as_before(ends):
    for number in range(TOTAL):
        say(number)
    assert not fcntl.fcntl(ends.write, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_full_disk_is_no_error_and_is_counted(logging_as_before):  # noqa: F811
    with open("/dev/full", "w") as stream:
        handler = log.setup(stream, {})
        for number in range(10):
            say(number)
        assert log.dropped() == 10
        handler.close()


BRIEF = """
from gms_hookd import log
from gms_hookd.cli import main
log.MOST_KEPT = 20
raise SystemExit(main.main())
"""


def test_a_daemon_whose_log_nobody_reads_serves_and_ends(daemon):
    with ExitStack() as stack:
        ends = Ends(stack, "socket")
        os.set_blocking(ends.write, False)
        with suppress(BlockingIOError):
            while True:
                os.write(ends.write, b"full" * 1024)
        os.set_blocking(ends.write, True)
        daemon.command = (sys.executable, "-c", BRIEF)
        daemon.spawn_options = {"stderr": ends.write}
        daemon.start()
        task = daemon.add_task("one", "/source", "/target")
        for _ in range(20):
            assert daemon.trigger(task)[0] == 200
        for _ in range(100):
            daemon.trigger(0)
        assert ask(daemon.socket, "GET", "/healthz")[0] == 200
        daemon.until(lambda: "log lines dropped" in daemon.told("STATUS=")[1])
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
