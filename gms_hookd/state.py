"""The state directory: who holds it may touch the store; nobody else at that time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gms_hookd.failure import Failure
from gms_hookd.flock import lock_file

# A lock or a WAL on these is a promise that the other side may not keep.
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "fuse.sshfs"}


class StateError(Failure):
    """The state directory cannot be used; the text is one line for the user."""


class StateBusy(StateError):
    """Another process holds the state directory."""

    exit_status = 75


@dataclass(frozen=True, slots=True)
class State:
    """The directory and what is in it; `open` takes the lock, `close` gives it back."""

    path: Path
    held: int

    @classmethod
    def open(cls, path: Path) -> "State":
        """Make the directory (mode 0700) if needed, and lock it.

        StateBusy if another process holds it; StateError if it cannot be used.
        """
        try:
            _prepare(path)
            held = lock_file(path / "lock")
        except OSError as error:
            raise StateError(f"{path}: {error.strerror or error}") from None
        if held is None:
            raise StateBusy(f"{path}: another gms-hookd holds this state directory")
        return cls(path, held)

    @property
    def database(self) -> Path:
        """Name the store's file."""
        return self.path / "gms-hookd.db"

    @property
    def control(self) -> Path:
        """Name the control socket."""
        return control_socket(self.path)

    @property
    def caches(self) -> Path:
        """Name the folder of the caches."""
        return self.path / "caches"

    @property
    def home(self) -> Path:
        """Name the folder that git's processes take for their home."""
        return self.path / "home"

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.held)


def control_socket(path: Path) -> Path:
    """Name the control socket of a state directory."""
    return path / "control.sock"


def _prepare(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    kind = _file_system(path)
    if kind in _REMOTE:
        raise StateError(f"{path}: on {kind}, which keeps no locks: use a local disk")
    details = path.stat()
    if details.st_uid == os.geteuid() and details.st_mode & 0o077:
        path.chmod(0o700)
    for folder in ("caches", "home"):
        (path / folder).mkdir(mode=0o700, exist_ok=True)


def _file_system(path: Path) -> str:
    """Find the type of the file system that `path` lies on (Linux; "" elsewhere)."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for number, kind in _mounts():
        if number == wanted:
            return kind
    return ""


def _mounts() -> Iterator[tuple[str, str]]:
    try:
        text = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        yield fields.split(" ")[2], rest.split(" ")[0]
