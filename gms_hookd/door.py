"""The way into one repository: opened at its first use, closed with the run."""

import os
import threading
from contextlib import ExitStack
from pathlib import Path

from gms_hookd.access import Access, Keys, access
from gms_hookd.git import Limits
from gms_hookd.giturl import GitUrl
from gms_hookd.ssh import Masters

BASE = "[gc]\n\tautoDetach = false\n"


class Trust:
    """The file of git settings that children of git read too: whom we trust here.

    A repository that another user owns is used only if this file names it; neither
    arguments nor environment reach the git that serves a local path.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._paths: set[str] = set()

    def ready(self) -> None:
        """See that the file is there; what dead processes left is removed with that."""
        with self._lock:
            if not self._file.exists():
                self._clear()
                self._write()

    def _clear(self) -> None:
        for left in self._file.parent.glob("gitconfig-*"):
            if not left.name.startswith(f"gitconfig-{os.getpid()}-"):
                left.unlink(missing_ok=True)

    def add(self, path: str) -> None:
        """Trust a local repository, whoever owns it."""
        with self._lock:
            if path not in self._paths:
                self._paths |= {path, f"{path.rstrip('/')}/.git"}
                self._write()

    def close(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        lines = (f"\tdirectory = {_quoted(p)}\n" for p in sorted(self._paths))
        fresh = self._file.with_name(self._file.name + ".new")
        fresh.write_text(BASE + "[safe]\n" + "".join(lines), errors="surrogateescape")
        fresh.rename(self._file)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Doors:
    """Opens doors; remembers which hosts wanted the second key."""

    def __init__(self, keys: Keys, masters: Masters, trust: Trust) -> None:
        self.keys = keys
        self.masters = masters
        self.trust = trust
        self.second: set[str] = set()

    def door(self, url: GitUrl, limits: Limits, stack: ExitStack) -> "Door":
        """Make a door for a run; the stack closes it."""
        return Door(self, url, limits, stack)


class Door:
    """One repository's door in one run."""

    def __init__(
        self, doors: Doors, url: GitUrl, limits: Limits, stack: ExitStack
    ) -> None:
        self.url = url
        self._doors = doors
        self._limits = limits
        self._stack = stack
        self._access: Access | None = None

    def access(self) -> Access:
        """Say what opens it; raises GitError where a secret cannot be used."""
        if self._access is None:
            found = self._find()
            other = found.other if self.url.canonical in self._doors.second else None
            self._access = other or found
            self._limits.log.hide(found.secrets)
            self._limits.log.hide(other.secrets if other else ())
        return self._access

    def other(self) -> bool:
        """Turn to the second key after the first was refused; False if none is left."""
        other = self.access().other
        if other is None:
            return False
        self._limits.log.hide(other.secrets)
        self._limits.log.line("refused as a bearer token, tried as a password")
        self._doors.second.add(self.url.canonical)
        self._access = other
        return True

    def _find(self) -> Access:
        if self.url.local:
            self._doors.trust.add(self.url.path)
            return Access()
        keys, masters = self._doors.keys, self._doors.masters
        if self.url.scheme != "ssh":
            return access(self.url, keys)
        session = masters.session(self.url, keys, self._limits)
        return access(self.url, keys, self._stack.enter_context(session))
