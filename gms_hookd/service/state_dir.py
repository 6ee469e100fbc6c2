"""The state directory: who holds it may touch the store; nobody else at that time."""

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gms_hookd.contract import CONTROL, control_socket
from gms_hookd.errors import Failure
from gms_hookd.files import lock_file, user_name
from gms_hookd.git.patterns import late_pattern

# A lock or a WAL on these is a promise that the other side may not keep.
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "fuse.sshfs"}
_DATABASE = "gms-hookd.db"
_FILES = late_pattern(
    r"lock|control\.sock|gms-hookd\.db(-wal|-shm|-journal)?"
    r"|last-backup|webhook-secret(\.[0-9]+\.tmp)?"
)
_COPY = late_pattern(r"\.?backup-[0-9a-f]+(\.[0-9]+\.partial)?")
_FOLDERS = frozenset({"caches", "home"})
_KEYS = "home/.ssh"  # where the key and the host keys are that nobody has set
_BESIDE = frozenset({"lost+found"})  # in the root of every ext4 file system
_USE = os.R_OK | os.W_OK
_NAMED = 3  # of the entries that are not ours


class StateError(Failure):
    """The state directory cannot be used; the text is one line for the user."""


class StateBusy(StateError):
    """Another process holds the state directory."""

    exit_status = 75


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The directory and what is in it; `open` takes the lock, `close` gives it back."""

    path: Path
    held: int

    @classmethod
    def open(cls, path: Path) -> "StateDirectory":
        """Make the directory (mode 0700) if needed, and lock it.

        StateBusy if another process holds it; StateError if it cannot be used: then
        nothing in it has changed.
        """
        try:
            _check(path)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = lock_file(path / "lock")
        except OSError as error:
            raise StateError(f"{path}: {error.strerror or error}") from None
        if held is None:
            raise StateBusy(f"{path}: another gms-hookd holds this state directory")
        return cls._with_folders(path, held)

    @classmethod
    def _with_folders(cls, path: Path, held: int) -> "StateDirectory":
        try:
            for folder in (*sorted(_FOLDERS), _KEYS):
                (path / folder).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            os.close(held)
            raise StateError(f"{error.filename}: {error.strerror}") from None
        return cls(path, held)

    @property
    def database(self) -> Path:
        """Name the store's file."""
        return self.path / _DATABASE

    @property
    def control(self) -> Path:
        """Name the control socket."""
        return Path(control_socket(self.path))

    @property
    def caches(self) -> Path:
        """Name the folder of the caches."""
        return self.path / "caches"

    @property
    def home(self) -> Path:
        """Name the folder that git's processes take for their home."""
        return self.path / "home"

    def is_held(self) -> bool:
        """Return whether the lock is still in its place: nobody else can take it."""
        try:
            return os.path.samestat(os.stat(self.path / "lock"), os.fstat(self.held))
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.held)


def unfit(path: Path) -> tuple[str, str] | None:
    """Return why an existing directory is none of ours, and the remedy; None if it is.

    Once the store is in it, other files beside ours are let be.
    """
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    strange = [entry.name for entry in entries if _is_strange(entry)]
    in_use = any(e.name == _DATABASE and e.name not in strange for e in entries)
    wrong = [name for name in strange if is_ours(name) or not in_use]
    details, quoted = path.stat(), shlex.quote(str(path))
    if wrong:
        named = ", ".join(wrong[:_NAMED]) + (", ..." if len(wrong) > _NAMED else "")
        why = f"holds what gms-hookd did not make ({named})"
        return why, "name another directory with --state"
    if os.geteuid() not in (0, details.st_uid):
        return f"belongs to user {details.st_uid}", "run as that user"
    mode = stat.S_IMODE(details.st_mode)
    if mode & 0o77:
        return f"is open to others (mode {mode:04o})", f"chmod 700 {quoted}"
    closed = [e.name for e in entries if is_ours(e.name) and not os.access(e, _USE)]
    if closed:  # of root's, say, who has copied a backup there
        why = f"holds what user {user_name()} may not write ({', '.join(closed)})"
        return why, f"chown -R {user_name()}: {quoted}"
    return None


def is_ours(name: str) -> bool:
    """Return whether a state directory has a file or folder of this name."""
    return name in _FOLDERS or _FILES.fullmatch(name) is not None


def _is_strange(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is not ours, or no file in the place of one."""
    if entry.name in _FOLDERS:
        return not entry.is_dir()
    if entry.name == CONTROL:
        return entry.is_symlink() or entry.is_dir()
    if _FILES.fullmatch(entry.name):
        return not entry.is_file(follow_symlinks=False)
    return entry.name not in _BESIDE and not _COPY.fullmatch(entry.name)


def _check(path: Path) -> None:
    there = next(each for each in (path, *path.parents) if each.exists())
    kind = _file_system(there)
    if kind in _REMOTE:
        raise StateError(f"{path}: on {kind}, which keeps no locks: use a local disk")
    found = unfit(path) if there == path else None
    if found:
        raise StateError(f"{path}: {': '.join(found)}")


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
