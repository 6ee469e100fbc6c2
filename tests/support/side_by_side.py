"""Test files side by side: each of a few processes takes the next one when it is free.

Half of what the tests do is to wait for other processes. The order within a file stays,
and reports are pytest's. One file alone, or `--processes 1`, runs as it ever did.
"""

import os
import sys
from contextlib import suppress
from itertools import groupby, pairwise
from multiprocessing import connection, get_context

import pytest


def pytest_addoption(parser):
    told = "how many test files to run at the same time (default: %(default)s)"
    most = min(1 + len(os.sched_getaffinity(0)), 8)
    parser.addoption("--processes", type=int, default=most, help=told)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    option = session.config.option
    files = [list(items) for _, items in groupby(session.items, lambda item: item.path)]
    count = min(option.processes, len(files))
    if count < 2 or session.testsfailed or option.collectonly or option.usepdb:
        return None
    session.config._tmp_path_factory.getbasetemp()  # one for all, made once
    if reporter := session.config.pluginmanager.getplugin("terminalreporter"):
        reporter.showfspath = False  # their results come by turns
    turns, end = os.pipe()
    os.write(end, b"".join(number.to_bytes(2) for number in range(len(files))))
    os.close(end)
    fork, started = get_context("fork"), {}
    for _ in range(count):
        here, there = fork.Pipe()
        process = fork.Process(target=work, args=(session, files, turns, there))
        process.start()
        there.close()
        started[here] = process
    try:
        ended = sum(replay(session, list(started)))
    finally:
        for end in started:  # also where only this process was interrupted
            with suppress(OSError):
                end.send("stop")
        for process in started.values():
            process.join()
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    if ended < len(session.items) or any(p.exitcode for p in started.values()):
        session.shouldfail = session.shouldfail or "a process ended before its tests"
        raise session.Failed(session.shouldfail)
    return True


def replay(session, going):
    """Report here what is reported there; yield True for each test that has ended."""
    while going:
        for end in connection.wait(going):
            try:
                yield report(session, end.recv()) == "teardown"
            except (EOFError, ConnectionResetError):
                going.remove(end)
        if session.shouldfail or session.shouldstop:
            for end in going:
                with suppress(BrokenPipeError):
                    end.send("stop")


def report(session, data):
    hook = session.config.hook
    seen = hook.pytest_report_from_serializable(config=session.config, data=data)
    where = {"nodeid": seen.nodeid, "location": seen.location}
    if seen.when == "setup":
        hook.pytest_runtest_logstart(**where)
    hook.pytest_runtest_logreport(report=seen)
    if seen.when == "teardown":
        hook.pytest_runtest_logfinish(**where)
    return seen.when


class Reporter:
    """Sends each report to the process that shows it."""

    def __init__(self, config, parent):
        self.config, self.parent = config, parent

    def pytest_runtest_logreport(self, report):
        to_data = self.config.hook.pytest_report_to_serializable
        self.parent.send(to_data(config=self.config, report=report))


def work(session, files, turns, parent):
    plugins = session.config.pluginmanager
    plugins.unregister(name="terminalreporter")
    plugins.register(Reporter(session.config, parent))
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # or all would write into the same file
    capture.start_global_capturing()
    capture.suspend_global_capture()
    try:
        while not parent.poll() and (number := os.read(turns, 2)):
            for item, following in pairwise([*files[int.from_bytes(number)], None]):
                if not parent.poll():
                    call = item.config.hook.pytest_runtest_protocol
                    call(item=item, nextitem=following)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)
    finally:
        session._setupstate.teardown_exact(None)
        session.config._ensure_unconfigure()
