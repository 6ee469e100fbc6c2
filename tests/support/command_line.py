"""The command line in a process of its own."""

import subprocess
import sys
from contextlib import contextmanager

from gms_hookd.contract import control_socket
from gms_hookd.http.control import listens
from tests.support.process import ROOT
from tests.support.seen import CANARY, look

SECRET = f"a secret of more than sixteen letters {CANARY}"


def process(*arguments, **options):
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gms_hookd", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(*arguments, **options):
    """Run it to its end; return status, stdout and stderr."""
    running = process(*arguments, **options)
    out, err = running.communicate(timeout=60)
    look(f"output of {arguments}", out + err)
    return running.returncode, out, err


@contextmanager
def serving(state, port, **options):
    with process("serve", "--listen", f"127.0.0.1:{port}", **options) as daemon:
        try:
            while not listens(control_socket(state)):
                assert daemon.poll() is None, daemon.stderr.read()
            yield daemon
        finally:
            daemon.terminate()
            daemon.communicate(timeout=30)
