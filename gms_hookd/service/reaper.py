"""What a process with the number 1 owes to all others, as in a container without init.

Who loses its parent becomes a child of process 1, which alone can bury it: the ssh that
keeps a connection open, the helpers of a git that was killed. A daemon that waits for
children of its own cannot wait for any child, so it is a child itself there.
"""

import os
import signal
from collections.abc import Mapping

PASSED_ON = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1}
)
_BY_KERNEL = 0x80  # si_code of what a terminal sends, to the child as well


def stand_in(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Fork if this is process 1, and return in the child only.

    The parent passes signals on, buries the dead, and ends as the child did. Returns
    the environment, in which descriptors that were lent to process 1 are the child's.
    """
    if os.getpid() != 1:
        return environ
    watched = PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child:
        os._exit(_bury(child, watched))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    lent = {name: str(os.getpid()) for name in ("LISTEN_PID", "WATCHDOG_PID")}
    return {n: lent.get(n, v) if v == "1" else v for n, v in environ.items()}


def _bury(child: int, watched: frozenset[signal.Signals]) -> int:
    """Wait for every child until this one ends; return what its end is as a status."""
    while True:
        got = signal.sigwaitinfo(watched)
        if got.si_signo != signal.SIGCHLD and got.si_code != _BY_KERNEL:
            os.kill(child, got.si_signo)
        status = _dead().get(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _dead() -> dict[int, int]:
    """Return who has ended, with the status of each."""
    found: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found[pid] = status
