"""Slow hosts that talk are waited for, silent ones are given up."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from gms_hookd.git.stall import Silence
from gms_hookd.model import RunStatus
from tests.support.repositories import Bench, Repo, task

# Echoes lines; a line "work" costs it time of the processor instead.
LISTENER = """
import sys, time
for line in sys.stdin.buffer:
    while line == b"work\\n" and time.process_time() < 0.2: pass
    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()
"""


class Talk:
    """A process that hears from its host what a test says."""

    def __init__(self, *argv):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, bufsize=0, start_new_session=True
        )

    def say(self, line):
        self.process.stdin.write(line)
        assert self.process.stdout.readline() == line

    def close(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def talk():
    with closing(Talk(sys.executable, "-c", LISTENER)) as it:
        it.say(b"ready\n")
        yield it


def test_nothing_for_all_the_patience_is_silence(talk):
    silence = Silence(talk.process.pid, 60.0, 0.0)
    assert not silence.too_long(20.0)  # the first look finds out what there is
    assert not silence.too_long(79.0)
    assert silence.too_long(88.0)


@pytest.mark.parametrize("word", [b"\n", b"0005\n", b"work\n"])
def test_a_single_byte_breaks_the_silence_and_so_does_own_work(talk, word):
    silence = Silence(talk.process.pid, 60.0, 0.0)
    assert not silence.too_long(20.0)
    for minute in (1, 2, 3):
        talk.say(word)
        assert not silence.too_long(20.0 + 60.0 * minute)
        word = b"\n"
    assert silence.too_long(20.0 + 60.0 * 4)


def test_what_it_prints_breaks_the_silence(talk):
    silence = Silence(talk.process.pid, 60.0, 0.0)
    assert not silence.too_long(20.0)
    silence.broken(79.0)
    assert not silence.too_long(100.0)
    assert not silence.too_long(138.0)
    assert silence.too_long(147.0)


def test_keep_alives_of_ssh_itself_are_no_word_of_the_host(tmp_path):
    ssh = tmp_path / "ssh"
    ssh.symlink_to("/bin/cat")  # its name is what counts
    with closing(Talk(str(ssh))) as it:
        it.say(b"ready\n")
        silence = Silence(it.process.pid, 60.0, 0.0)
        silence.too_long(20.0)
        it.say(b"are you there?\n")
        assert silence.too_long(81.0)


def test_a_process_that_ended_is_no_error(talk):
    pid = talk.process.pid
    talk.close()
    assert not Silence(pid, 60.0, 0.0).too_long(20.0)


@pytest.fixture
def disarm():
    """The port of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "https", "ssh"])
def test_a_host_that_says_nothing_is_given_up_and_tried_again(
    disarm, target, opened, scheme
):
    outcome = opened(stall=0.4).sync(task(f"{scheme}://127.0.0.1:{disarm}/x", target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "no byte from the host for 0.4 s (sync.stall)" in outcome.error_message


def test_a_host_that_goes_silent_in_a_push_is_given_up(
    http_host, source, target, opened
):
    over = threading.Event()
    http_host.faults.append(lambda r: r.command == "POST" and (over.wait(30) or True))
    outcome = opened(stall=0.4).sync(task(source, http_host.url(target)))
    over.set()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "no byte" in outcome.error_message


@pytest.fixture
def slow(http_host, tmp_path):
    """Make the host send keep-alives only while it packs, for 3.2 s."""
    script = tmp_path / "slow"
    script.write_text('#!/bin/sh\nsleep 3.2\nexec "$@"\n')
    script.chmod(0o755)
    http_host.settings = (
        ("uploadpack.packObjectsHook", str(script)),
        ("uploadpack.keepAlive", "1"),
    )
    return http_host


def test_keep_alives_and_progress_of_a_slow_host_are_life(
    slow, source, target, opened, tmp_path
):
    other = Repo(tmp_path / "other.git")
    other.hook("pre-receive", "for n in 1 2 3 4; do echo checking; sleep 0.8; done\n")
    bench = opened(stall=2.0)
    pushing = Bench(tmp_path, engine=bench.engine)
    jobs = [
        (bench, task(slow.url(source), target)),
        (pushing, task(target, slow.url(other))),
    ]
    target.set(other=target.commit("x"))
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda job: job[0].sync(job[1]).status, jobs))
    assert ended == [RunStatus.SUCCESS] * 2, bench.log.text() + pushing.log.text()
    assert time.monotonic() - began > 3
    assert "checking" in pushing.log.text()


def test_a_hook_of_a_local_target_may_be_silent(source, target, opened):
    target.hook("pre-receive", "sleep 0.6\n")
    outcome = opened(stall=0.1).sync(task(source, target))
    assert outcome.status is RunStatus.SUCCESS
