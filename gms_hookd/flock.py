"""Advisory locks on files: taken at once or not at all, gone with their holder."""

import fcntl
import os
from pathlib import Path


def lock_file(path: Path) -> int | None:
    """Lock the file, making it if needed; None if another holds it.

    The descriptor is the lock: no child inherits it, and closing it lets go. Raises
    OSError where the file cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    held = os.open(path, flags, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    except BaseException:
        os.close(held)
        raise
    if _is(path, held):
        return held
    os.close(held)  # removed since it was opened: a lock on it would be worth nothing
    return None


def _is(path: Path, held: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(held))
    except FileNotFoundError:
        return False
