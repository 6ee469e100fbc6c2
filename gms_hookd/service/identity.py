"""As whom a command of root's works: as the user whose state directory it is.

What root would write there, or into a target, the service could not change again.
"""

import codecs
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from gms_hookd.contract import SERVICE, SERVICE_STATE

# What Python loads at its first use: from below /root, say, it could not any more.
LATE = ("ascii", "latin-1", "idna")
Path = str | os.PathLike[str]


class User(NamedTuple):
    """A user as the kernel knows it."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def service_user(state: Path) -> User | None:
    """Return as whom to work on this state directory; None: as whoever we are.

    It is its owner, if we are root; before there is one, the user of the unit.
    """
    if os.geteuid() != 0:
        return None
    try:
        details = os.stat(state)
    except OSError:
        return user_named(SERVICE) if os.fspath(state) == SERVICE_STATE else None
    return _with_groups(details.st_uid, details.st_gid) if details.st_uid else None


def user_named(name: str) -> User | None:
    """Return the user of that name, None where there is none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return _with_groups(entry.pw_uid, entry.pw_gid)


def _with_groups(uid: int, gid: int) -> User:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid, (gid,))
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return User(uid, entry.pw_gid, tuple(groups))


def act_as_service(state: Path) -> None:
    """Give up root's rights, for good, where the state is another user's."""
    user = service_user(state)
    if user is None:
        return
    _hand_over(state, user)
    for name in LATE:
        codecs.lookup(name)
    os.setgroups(user.groups)
    os.setgid(user.gid)
    os.setuid(user.uid)
    if not os.access(".", os.X_OK):
        os.chdir("/")


@contextmanager
def acting(state: Path) -> Iterator[None]:
    """Do something with the rights of the service, and be root again afterwards."""
    user, before = service_user(state), os.getgroups()
    if user is None:
        yield
        return
    gid = os.getegid()
    _hand_over(state, user)
    os.setgroups(user.groups)
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(before)


def _hand_over(state: Path, user: User) -> None:
    """Make the state directory where only root can, if it is not there."""
    if not os.path.exists(state) and os.path.exists(os.path.dirname(state)):
        os.mkdir(state, 0o700)
        os.chown(state, user.uid, user.gid)
