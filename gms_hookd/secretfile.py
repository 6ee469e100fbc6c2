"""Secrets in files of their own: read with care, made with care."""

import os
import re
import stat
from pathlib import Path

LARGEST = 1 << 16


class SecretFileError(Exception):
    """A secret file that is not used; the text is one line and names the remedy."""


def read(path: Path) -> str:
    """Return the secret in a file, without the one newline that may end it.

    Raises SecretFileError: unreadable, no regular file, open to others, no UTF-8 text,
    empty.
    """
    try:
        text = _bytes(path).decode()
    except OSError as error:
        raise SecretFileError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SecretFileError(f"{path}: not UTF-8 text: use hex or base64") from None
    text = re.sub(r"\r?\n\Z", "", text)
    if not text.strip():
        raise SecretFileError(f"{path}: is empty: write the secret into it")
    return text


def check(path: Path, details: os.stat_result) -> None:
    """Raise SecretFileError if the file cannot be a secret one: a pipe, or open.

    A group may read a file that is not ours: that is how root shares one with us.
    """
    if not stat.S_ISREG(details.st_mode):
        raise SecretFileError(f"{path}: is not a regular file")
    closed = 0o077 if details.st_uid == os.geteuid() else 0o007
    if details.st_mode & closed:
        raise SecretFileError(f"{path}: is open to others: chmod 600 {path}")
    if details.st_size > LARGEST:
        raise SecretFileError(f"{path}: is larger than {LARGEST} bytes")


def make(path: Path) -> None:
    """Write a new secret, 32 random bytes in hex, unless there is one; durable.

    Whoever reads meanwhile finds no file or a whole one. Raises OSError.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        _write(partial, os.urandom(32).hex() + "\n")
        os.link(partial, path)
    except FileExistsError:
        return
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _bytes(path: Path) -> bytes:
    # Not blocking: a pipe in the file's place must not hold up the start.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        check(path, os.fstat(file))
        return os.read(file, LARGEST)
    finally:
        os.close(file)
