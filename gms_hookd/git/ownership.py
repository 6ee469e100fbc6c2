"""Whose a repository on this machine is: what its owner wrote into it runs as us.

git serves a repository of another user only where it is named as safe (git-config(1),
safe.directory), and from then on runs its hooks and heeds its settings.
"""

import os
import pwd
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from gms_hookd.files import read_regular

LONGEST = 4096  # bytes of a path
LARGEST = 1 << 20  # bytes of a file of settings
# Hooks elsewhere, and settings elsewhere.
_NAMES = re.compile(r'(?im)^(?:.*\])?[ \t]*(?:hookspath|path)[ \t]*=[ \t]*"?([^"\n]+)')
ROOT = 0
TRIED = ("", "/.git", ".git", ".git/.git")  # after a path, as git does (setup.c)
TELLING = ("", "/config", "/config.worktree", "/hooks")


def untrusted(path: str, trusted: Collection[int] = ()) -> str:
    """Return why a local repository is refused, with the remedy, or "".

    It is refused if it, its settings or one of its hooks belong to somebody who is
    neither root nor we nor one of `trusted` (user ids), also where its settings name
    them elsewhere. What is not there, or cannot be looked at, is for git to refuse.
    """
    ours = {ROOT, os.geteuid(), *trusted}
    for place in _places(path):
        owner = _owner(place)
        if owner is not None and owner not in ours:
            return _refusal(place, owner)
    return ""


def _refusal(place: str, owner: int) -> str:
    name = _name(owner)
    entry = f'"{name}"' if name else str(owner)
    who = f"{name} (user id {owner})" if name else f"user id {owner}"
    return (
        f"{place} belongs to {who}, neither to us nor to root, and its hooks and"
        f" settings would run as us: if you trust that user, set sync.trust_owners ="
        f" [{entry}]"
    )


def _places(path: str) -> Iterator[str]:
    tried = dict.fromkeys(path.rstrip("/") + end for end in TRIED)
    for folder in filter(os.path.lexists, tried):
        yield folder
        for repository in _repositories(folder):
            yield from (repository + end for end in TELLING)
            yield from _hooks(f"{repository}/hooks")
            yield from _named(f"{repository}/config")
            yield from _named(f"{repository}/config.worktree")


def _repositories(folder: str) -> Iterator[str]:
    """Name the folder, the one that a .git file leads to, and what they share."""
    there = _pointed(folder, "gitdir: ") if folder.endswith(".git") else ""
    for found in (folder, there):
        if found:
            yield found
            shared = _pointed(f"{found}/commondir")
            yield from (shared,) if shared else ()


def _pointed(file: str, prefix: str = "") -> str:
    """Return the path that a file of git's holds (gitrepository-layout(5)), or ""."""
    target = _text(file, LONGEST).rstrip("\n").removeprefix(prefix)
    return os.path.join(os.path.dirname(file), target) if target else ""


def _named(file: str) -> Iterator[str]:
    """Name what settings of git have it run or heed in other places."""
    files, seen = [file], {file}
    for each in files:  # which grows meanwhile
        for name in _NAMES.findall(_text(each, LARGEST)):
            place = os.path.normpath(os.path.join(os.path.dirname(each), name.strip()))
            yield place
            yield from _hooks(place)
            files += [place] if place not in seen else []
            seen.add(place)


def _text(file: str, most: int) -> str:
    """Return what a file holds, which may be anything; "" where it cannot be read."""
    if not os.path.isfile(file):  # as nearly always: to fail costs more than to look
        return ""
    try:
        content, _ = read_regular(Path(file), most)
    except OSError:
        return ""
    return os.fsdecode(content.replace(b"\0", b""))


def _hooks(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            hooks = [e.path for e in entries if not e.name.endswith(".sample")]
    except OSError:
        return
    yield from hooks


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def _name(owner: int) -> str:
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return ""
