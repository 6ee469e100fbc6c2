"""Advisory locks on files: taken at once or not at all, gone with their holder.

Secrets: what one may be, read from files with care, and made with care.

Files that somebody else put there: read without waiting for what is no file. And where
a path leads.
"""

import errno
import fcntl
import os
import pwd
import re
import shlex
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

from gms_hookd.paths import SERVICE


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


LARGEST_SECRET = 1 << 16
_QUOTES = ('""', "''", "``", "“”", "”“", "„“", "‘’", "«»", "「」", "『』")  # noqa: RUF001


class SecretFileError(Exception):
    """A secret file that is not used; the text is one line and names the remedy."""


def checked_secret(text: str) -> str:
    """Return a secret as it is.

    Raises ValueError: empty, begins with a byte order mark, or holds a control
    character. No sender signs with these: they come from editors, web pages and
    environment files with CRLF.
    """
    if not text.strip():
        raise ValueError("is empty: set one (openssl rand -hex 32), or leave it out")
    if "\ufeff" in text:
        raise ValueError("holds a byte order mark (U+FEFF): remove it")
    for char in text:
        if unicodedata.category(char) in ("Cc", "Zl", "Zp"):
            name = {"\r": "carriage return", "\n": "line break"}.get(char, "character")
            raise ValueError(f"holds a control {name} (U+{ord(char):04X}): remove it")
    return text


def secret_doubt(secret: str) -> str:
    """Return what is probably not meant to be part of a secret, "" if nothing is."""
    if len(secret) > 1 and secret[0] + secret[-1] in _QUOTES:
        return "the secret is in quotes, which count as part of it: remove them"
    if secret != secret.strip():
        return "the secret begins or ends with a space, which counts: remove it"
    hidden = [char for char in secret if unicodedata.category(char) == "Cf"]
    if hidden:
        code = f"U+{ord(hidden[0]):04X}"
        return f"the secret holds an invisible character ({code}): remove it"
    return ""


def read_secret(path: Path) -> str:
    """Return the secret in a file, without the one newline that may end it.

    Raises SecretFileError: unreadable, no regular file, of another user, open to
    others, no UTF-8 text, or no secret.
    """
    try:
        content, details = read_regular(path, LARGEST_SECRET)
        check_secret(path, details)
        return checked_secret(re.sub(r"\r?\n\Z", "", content.decode()))
    except OSError as error:
        refused = isinstance(error, PermissionError)
        why = closed(path) if refused else error.strerror or error
        raise SecretFileError(f"{path}: {why}") from None
    except UnicodeDecodeError:
        raise SecretFileError(f"{path}: not UTF-8 text: use hex or base64") from None
    except ValueError as error:
        raise SecretFileError(f"{path}: {error}") from None


def check_secret(path: Path, details: os.stat_result) -> None:
    """Raise SecretFileError if the file cannot be a secret one: a pipe, or open.

    It is ours, or root's, who may share one with us by its group: root itself cannot
    tell what that group is, and takes it as well.
    """
    ours, user = os.geteuid(), details.st_uid
    quoted = shlex.quote(str(path))
    if not stat.S_ISREG(details.st_mode):
        raise SecretFileError(f"{path}: is not a regular file")
    if ours and user not in (0, ours):
        why = f"belongs to user {user}, who could change it: chown {ours} {quoted}"
        raise SecretFileError(f"{path}: {why}")
    if details.st_mode & (0o077 if user else 0o007):
        remedy = f"chmod 600 {quoted}" if user else _narrowed(quoted)
        raise SecretFileError(f"{path}: is open to others: {remedy}")


def closed(path: Path) -> str:
    """Return why this user cannot read a file, with the remedy that root can paste."""
    who = _user()
    if who != SERVICE:
        remedy = "run this as root or as the user of the daemon"
        return f"user {who} may not read it: {remedy}"
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK):
            return f"user {who} may not enter {folder}: move it to /etc/gms-hookd"
    return f"user {who} may not read it: {_shared(shlex.quote(str(path)))}"


def _narrowed(quoted: str) -> str:
    """Return how a file of root's is closed to others, and stays readable here."""
    if _user() == SERVICE:
        return _shared(quoted)
    return f"chmod {'o=' if os.geteuid() else '600'} {quoted}"


def _shared(quoted: str) -> str:
    """Return how root shares a file of its own with the service."""
    return f"chgrp {SERVICE} {quoted} && chmod 640 {quoted}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def make_secret(path: Path) -> None:
    """Write a new secret, 32 random bytes in hex, unless there is one; durable.

    Whoever reads meanwhile finds no file or a whole one. Raises OSError.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        _write_secret(partial, os.urandom(32).hex() + "\n")
        os.link(partial, path)
    except FileExistsError:
        return
    finally:
        partial.unlink(missing_ok=True)
    flush_to_disk(path.parent)


def _write_secret(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


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
