"""Advisory locks on files: taken at once or not at all, gone with their holder.

Files that somebody else put there: read without waiting for what is no file. And where
a path leads.
"""

import errno
import fcntl
import os
import pwd
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from gms_hookd.contract import SERVICE


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


def leads_to(path: Path, folder: Path, names: Callable[[str], bool]) -> bool:
    """Return whether a path is a file of these names in a folder, or a link to one.

    A symbolic link, a hard link and another way to the folder count as well.
    """
    place = os.path.realpath(folder)
    here = os.path.realpath(path.parent), path.name
    there = os.path.split(os.path.realpath(path))
    if any(parent == place and names(name) for parent, name in (here, there)):
        return True
    return any(names(each.name) and _is_same(each, path) for each in folder.glob("*"))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def check_replaceable(path: Path) -> None:
    """Raise OSError where a path is a device, a pipe or a socket.

    To rename a file over it would put that in its place: /dev/null for all the machine.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


def closed(path: Path) -> str:
    """Return why this user cannot read a file, with the remedy that root can paste."""
    who = user_name()
    if who != SERVICE:
        remedy = "run this as root or as the user of the daemon"
        return f"user {who} may not read it: {remedy}"
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK):
            return f"user {who} may not enter {folder}: move it to /etc/gms-hookd"
    return f"user {who} may not read it: {shared(shlex.quote(str(path)))}"


def narrowed(quoted: str) -> str:
    """Return how a file of root's is closed to others, and stays readable here."""
    if user_name() == SERVICE:
        return shared(quoted)
    return f"chmod {'o=' if os.geteuid() else '600'} {quoted}"


def shared(quoted: str) -> str:
    """Return how root shares a file of its own with the service."""
    return f"chgrp {SERVICE} {quoted} && chmod 640 {quoted}"


def user_name() -> str:
    """Return as whom this process runs, by number where the user has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def flush_to_disk(path: Path) -> None:
    """Have a file, or what was renamed into a folder, survive a power cut (fsync(2)).

    Raises OSError.
    """
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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
        raise _too_large(path, largest)
    return content, details


def _too_large(path: Path, largest: int) -> OSError:
    limit = f"{largest >> 20} MiB" if largest >> 20 else f"{largest >> 10} KiB"
    return OSError(errno.EFBIG, f"is larger than {limit}", str(path))
