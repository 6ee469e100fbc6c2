"""Secrets in files: what one may be, read with care, and made with care."""

import os
import re
import shlex
import stat
import unicodedata
from pathlib import Path

from gms_hookd.files import closed, flush_to_disk, narrowed, read_regular

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
        remedy = f"chmod 600 {quoted}" if user else narrowed(quoted)
        raise SecretFileError(f"{path}: is open to others: {remedy}")


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
