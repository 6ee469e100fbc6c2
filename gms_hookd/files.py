"""Files that somebody else put there: read without waiting for what is no file."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, largest: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file, and what the system says about it.

    Raises OSError: unreadable, no regular file (a pipe, a device, a folder), or of more
    than `largest` bytes.
    """
    # A pipe without a writer would hold up whoever opens it until one comes.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        details = os.fstat(file)
        if not stat.S_ISREG(details.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        content = os.read(file, largest + 1)
    finally:
        os.close(file)
    if len(content) > largest:
        limit = f"{largest >> 20} MiB" if largest >> 20 else f"{largest >> 10} KiB"
        raise OSError(errno.EFBIG, f"is larger than {limit}", str(path))
    return content, details
