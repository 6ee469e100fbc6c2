"""What a process says is in the log soon, in few pieces, whole and without secrets."""

import os
import subprocess
import sys
import threading
import time

import pytest

from gms_hookd.git.errors import ErrorKind
from gms_hookd.git.process import Limits, Stop, execute
from gms_hookd.runlog import RunLog
from gms_hookd.safetext.mask import Mask

LONG = 30.0
SECRET = "hunter2-hunter2-hunter2"


class Counted(Mask):
    """A mask that counts how often it is asked."""

    calls = 0

    def __call__(self, text):
        self.calls += 1
        return super().__call__(text)


@pytest.fixture
def said():
    """Run a shell script; what it did, its log, and how often that was masked."""

    def run(script, log=None):
        mask = Counted([SECRET])
        log = log or RunLog(mask)
        limits = Limits(time.monotonic() + LONG, Stop(), log)
        done = execute(("sh", "-c", script), dict(os.environ), limits)
        return done, log.text(), mask.calls

    return run


def test_what_is_said_within_a_moment_is_masked_together(said):
    words = "".join(f"echo word {n} >&2; sleep .002; " for n in range(40))
    done, text, calls = said(words)
    assert text == "".join(f"  word {n}\n" for n in range(40))
    assert done.err == "".join(f"word {n}\n" for n in range(40))
    assert calls <= 12, "40 on their own"


def test_a_secret_in_pieces_and_a_line_without_an_end_are_known(said):
    done, text, _ = said(
        "printf 'a hunter2-'>&2; sleep .05; printf 'hunter2-hunter2'>&2"
    )
    assert (text, done.err) == ("  a ***\n", "a ***\n")


def test_of_a_line_that_is_written_over_the_last_is_kept(said):
    done, text, _ = said(r"printf '10%%\r50%%\r100%%, done.\n' >&2; printf 'x\r' >&2")
    assert (text, done.err) == ("  100%, done.\n", "100%, done.\n")


def test_what_is_said_by_who_goes_on_is_shown_meanwhile(said, tmp_path):
    log, go = RunLog(), tmp_path / "go"
    shown = threading.Event()
    log.call(0, shown.set)

    def let_go():
        if shown.wait(LONG):
            go.touch()

    thread = threading.Thread(target=let_go)
    thread.start()
    done, text, _ = said(f"echo first >&2; until [ -e {go} ]; do sleep .01; done", log)
    thread.join()
    assert (done.status, done.ended, text) == (0, None, "  first\n")


def test_who_closes_its_pipes_and_goes_on_is_waited_for(said):
    done, _, _ = said("exec >&- 2>&-; sleep .3; exit 7")
    assert (done.status, done.ended) == (7, None)


def test_who_closes_its_pipes_and_goes_on_too_long_is_ended():
    limits = Limits(time.monotonic() + 0.3, Stop(), RunLog(), grace=0.1)
    script = "trap '' TERM; exec >&- 2>&-; sleep 60"
    done = execute(("sh", "-c", script), dict(os.environ), limits)
    assert (done.status, done.ended) == (-9, ErrorKind.TIMEOUT)


def test_a_flood_is_bounded_and_its_end_is_what_is_kept_for_the_error(said):
    flood = "head -c 3000000 /dev/zero | tr '\\0' '\\n' | sed s/^/line/ >&2"
    done, text, _ = said(f"{flood}; echo 'fatal: the end' >&2; exit 1")
    assert done.err.endswith("fatal: the end\n")
    assert "[the rest is left out]" in text
    assert len(text) < 3_000_000


ASKS = (
    "cut -d' ' -f5,6 /proc/$$/stat; echo $$;"
    " if (: </dev/tty) 2>/dev/null; then echo asks; else echo mute; fi"
)
STARTS = f"""
import os, sys, time
from gms_hookd.git.process import Limits, Stop, execute
from gms_hookd.runlog import RunLog
for name in sys.argv[2:]:  # of who leads a session it becomes the terminal
    os.open(name, os.O_RDWR)
limits = Limits(time.monotonic() + 30, Stop(), RunLog())
out = execute(("sh", "-c", {ASKS!r}), dict(os.environ), limits).out
open(sys.argv[1], "wb").write(out + str(os.getsid(0)).encode())
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_command_is_a_group_and_can_ask_nobody(tmp_path, terminal):
    told, ends = tmp_path / "told", os.openpty()
    named = [os.ttyname(ends[1])] if terminal else []
    argv = (sys.executable, "-c", STARTS, str(told), *named)
    subprocess.run(argv, start_new_session=True, check=True, timeout=LONG)
    for end in ends:
        os.close(end)
    group, session, own, asked, ours = told.read_text().split()
    assert (group, asked) == (own, "mute")
    assert session == (own if terminal else ours)
