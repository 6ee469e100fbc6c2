"""What a task of GMS means: a source, a target and refs here, or a reason why not.

There a task names a folder on GMS's machine and a remote in it; the address is what
that folder's configuration says. It is one branch, fast-forward only, or all of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gms_hookd.cron import parse
from gms_hookd.gms.records import Auth, End, GmsTask, Records, Repository, is_force

LOCAL = "local"  # the name of no remote: the repository itself
NO_FORCE = "force = false: GMS's --force never got past its conflict check"
# Options of git push that change nothing here, or that are read as settings.
UNDERSTOOD = frozenset({
    "--prune", "--tags", "--no-verify", "-v", "--verbose", "-q", "--quiet",
    "--progress", "--no-progress", "--porcelain", "-u", "--set-upstream", "--thin",
    "--no-thin", "--atomic", "--ipv4", "--ipv6", "-4", "-6",
})  # fmt: skip
PASSED_ON = "--push-option="
LONGEST_NAME = 90  # characters, so that there is room for a number


class _Impossible(ValueError):
    """Why there is no such task here."""


@dataclass(frozen=True, slots=True)
class Login:
    """How GMS signed in at an address."""

    url: str
    auth: Auth


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """A task as `task/import` takes it; `notes` say what is not as it was."""

    task: GmsTask
    fields: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    logins: tuple[Login, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A task that cannot be one here, and why."""

    task: GmsTask
    reason: str


@dataclass(frozen=True, slots=True)
class GmsMachine:
    """What must be asked of the machine of GMS: is this a folder, what is a remote."""

    is_folder: Callable[[str], bool]
    remote_url: Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class _Address:
    url: str
    auth: Auth = field(default_factory=Auth)


def meaning(
    task: GmsTask, records: Records, machine: GmsMachine
) -> ImportedTask | Skipped:
    """Return what a task is to be here, or why it cannot be."""
    try:
        return _wanted(task, records, machine)
    except _Impossible as error:
        return Skipped(task, str(error))


def _wanted(task: GmsTask, records: Records, machine: GmsMachine) -> ImportedTask:
    own = _repository(records, task.source, "source")
    other = _repository(records, task.target, "target")
    source = _address([own], task.source.remote, machine)
    target = _address([other, own], task.target.remote, machine)
    refspecs, passed = _refspecs(task), tuple(_passed(task.push_options))
    cron, notes = _cron(task.cron)
    fields = {
        "id": task.id,
        "key": task.key or _key(task, source.url, target.url, refspecs),
        "name": _name(task, own),
        "source": source.url,
        "target": target.url,
        "refspecs": refspecs,
        "prune": task.prune,
        "enabled": task.enabled,
        "cron": cron,
        "push_options": [PASSED_ON + each for each in passed],
    }
    notes = (*notes, NO_FORCE) if task.force else notes
    logins = tuple(Login(each.url, each.auth) for each in (source, target))
    return ImportedTask(task, fields, notes, logins)


def _repository(records: Records, end: End, side: str) -> Repository:
    found = records.repository(end)
    if found is None:
        named = end.repo_key or end.repo_id or ""
        raise _Impossible(f"{side}: GMS has no repository {named!r}")
    return found


def _missing(repository: Repository, name: str, *, here: bool) -> str:
    if here:
        return f"{repository.path or repository.key} has no remote {name!r}"
    why = "is not on this machine, or may not be read: import where GMS runs"
    return f"{repository.path} {why}"


def _address(places: Iterable[Repository], name: str, machine: GmsMachine) -> _Address:
    """Return the address of a remote, in the first repository that has one."""
    missing = ""
    for each in places:
        here = not each.path or machine.is_folder(each.path)
        if here and (url := _url(each, name, machine)):
            return _Address(url, each.remote_auths.get(name, each.auth))
        missing = missing or _missing(each, name, here=here)
    raise _Impossible(missing)


def _url(repository: Repository, name: str, machine: GmsMachine) -> str:
    if name == LOCAL:
        return repository.path
    found = machine.remote_url(repository.path, name) if repository.path else ""
    return found or (repository.url if name == "origin" else "")


def _refspecs(task: GmsTask) -> list[str]:
    tags = ["refs/tags/*"] if task.tags else []
    if task.all_branches:
        return ["refs/heads/*", *tags]
    source = task.source.branch
    if not source:
        raise _Impossible("it names no branch")
    target = task.target.branch or source
    return [f"{_head(source)}:{_head(target)}", *tags]


def _head(branch: str) -> str:
    if "*" in branch or ":" in branch:  # it would be a pattern, or two
        raise _Impossible(f"{branch!r} is no branch")
    return branch if branch.startswith("refs/heads/") else f"refs/heads/{branch}"


def _passed(options: Iterable[str]) -> Iterator[str]:
    """Give what the target's hooks are told; raises _Impossible for other options."""
    words = iter(options)
    for word in words:
        if word in ("-o", "--push-option"):
            yield next(words, "")
        elif word.startswith(PASSED_ON):
            yield word.removeprefix(PASSED_ON)
        elif word not in UNDERSTOOD and not is_force(word):
            raise _Impossible(f"push option {word!r} is not possible here")


def _cron(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the schedule; GMS logs a broken one, and never runs it."""
    plain = re.sub(r"\s+", " ", text)
    try:
        return (parse(plain).text, ()) if plain else ("", ())
    except ValueError as error:
        return "", (f"no schedule: {plain!r} is none, for GMS neither: {error}",)


def _key(task: GmsTask, *rest: object) -> str:
    """Return a key for one of the oldest version, the same at each import."""
    return str(uuid5(NAMESPACE_URL, repr((task.id, *rest))))


def _name(task: GmsTask, repository: Repository) -> str:
    """Return a name that can name a task here; the oldest versions have none."""
    branch = "" if task.all_branches else task.source.branch
    made = task.name or "-".join(filter(None, (repository.name, branch)))
    plain = re.sub(r"[^\w.-]+", "-", made).strip("-.")[:LONGEST_NAME]
    return f"task-{plain or task.id}" if not plain or plain.isdigit() else plain
