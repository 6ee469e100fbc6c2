"""The tasks and repositories of GMS, out of its sqlite3 file or out of its API's JSON.

Each version added columns to the two tables; what is not there is empty. The secrets
(`auth_secret`, `webhook_token`, those in `remote_auths_json`) are not looked at.
Source: github.com/yi-nology/git-manage-service, biz/model/po/sync_task.go and repo.go;
git-sync-service, biz/model/sync_task/sync_task.go.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from gms_hookd.errors import Failure
from gms_hookd.model import LARGEST_ID
from gms_hookd.payload import load_json, load_json_texts
from gms_hookd.store.foreign import Record, read_tables

SQLITE = b"SQLite format 3\0"
LARGEST = 64 << 20  # bytes of JSON
TASKS, REPOS = "sync_tasks", "repos"
TASK_COLUMNS = (
    "id", "key", "name", "source_repo_key", "source_repo_id", "source_remote",
    "source_branch", "target_repo_key", "target_repo_id", "target_remote",
    "target_branch", "push_options", "cron", "enabled", "sync_mode", "git_tags",
    "git_force", "git_prune", "git_no_verify", "deleted_at",
)  # fmt: skip
REPO_COLUMNS = (
    "id", "key", "name", "path", "remote_url", "clone_url", "auth_type", "auth_key",
    "remote_auths_json", "deleted_at",
)  # fmt: skip


class GmsError(Failure):
    """What was given is not what GMS stores; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Auth:
    """How GMS signs in: `kind` as in ssh, http, none; a user name, or a key's path."""

    kind: str = ""
    user_or_key: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of GMS: a folder on its machine whose remotes are the addresses."""

    id: int | None
    key: str
    name: str
    path: str
    url: str
    auth: Auth = Auth()
    remote_auths: Mapping[str, Auth] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """One side of a task: which repository, which of its remotes, which branch."""

    repo_key: str
    repo_id: int | None
    remote: str
    branch: str


@dataclass(frozen=True, slots=True)
class GmsTask:
    """A task of GMS, as it is written there."""

    id: int | None
    key: str
    name: str
    source: End
    target: End
    push_options: tuple[str, ...]
    cron: str
    enabled: bool
    all_branches: bool
    tags: bool
    force: bool
    prune: bool


@dataclass(frozen=True, slots=True)
class Records:
    """All that there is, but for what was deleted."""

    tasks: tuple[GmsTask, ...]
    repositories: tuple[Repository, ...]

    def repository(self, end: End) -> Repository | None:
        """Find the repository of a side; None where it names none that is there."""
        if not end.repo_key and end.repo_id is None:
            return None
        for each in self.repositories:
            if each.key == end.repo_key if end.repo_key else each.id == end.repo_id:
                return each
        return None


def read_file(path: Path) -> Records:
    """Read a sqlite3 file, of which no byte is changed, or one of JSON.

    Raises GmsError or StoreError, or OSError where it cannot be opened.
    """
    with path.open("rb") as file:
        begin = file.read(len(SQLITE))
        if begin != SQLITE:
            return read_documents(begin + file.read(LARGEST))
    tables = read_tables(path, {TASKS: TASK_COLUMNS, REPOS: REPO_COLUMNS})
    if TASKS not in tables:
        raise GmsError(f"{path}: has no table {TASKS}: name GMS's git_sync.db")
    return _records(tables[TASKS], tables.get(REPOS, []))


def read_documents(text: bytes) -> Records:
    """Read what the API of a running GMS answered, one answer after the other.

    Tasks and repositories are told apart by what they have. Raises GmsError.
    """
    if text.startswith(SQLITE):
        raise GmsError("a database is not read from stdin: name its file")
    try:
        documents = load_json_texts(text)
    except ValueError as error:
        raise GmsError(f"neither a sqlite3 file nor JSON: {error}") from None
    found = [each for document in documents for each in _listed(document)]
    if not found:
        raise GmsError("there is no list of tasks: take GET /api/v1/sync/tasks of GMS")
    tasks = [each for each in found if _is_task(each)]
    embedded = (
        each.get(end) for each in tasks for end in ("source_repo", "target_repo")
    )
    repos = [each for each in found if not _is_task(each)]
    repos += [_plain(each) for each in embedded if isinstance(each, Mapping)]
    return _records(tasks, repos)


def _listed(document: object) -> Iterator[Record]:
    """List the records of an answer: its `data`, or a list in it, or the whole."""
    if isinstance(document, list):
        yield from (_plain(each) for each in document if isinstance(each, Mapping))
    elif isinstance(document, Mapping):
        inner = document.get("data", document)
        values = inner.values() if isinstance(inner, Mapping) else [inner]
        lists = (each for each in values if isinstance(each, list))
        yield from chain.from_iterable(map(_listed, lists))


def _plain(record: Mapping[str, Any]) -> Record:
    """Return a record with the names of the columns: GMS writes `ID`, too."""
    return {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", k).lower(): v for k, v in record.items()
    }


def _is_task(record: Record) -> bool:
    return any(name.startswith("source_") for name in record)


def _records(tasks: Iterable[Record], repos: Iterable[Record]) -> Records:
    return Records(
        tuple(_task(each) for each in tasks if not each.get("deleted_at")),
        tuple(_repository(each) for each in repos if not each.get("deleted_at")),
    )


def _task(record: Record) -> GmsTask:
    options = tuple(_text(record, "push_options").split())
    mode = _text(record, "sync_mode").lower()
    return GmsTask(
        id=_number(record, "id"),
        key=_text(record, "key"),
        name=_text(record, "name"),
        source=_end(record, "source"),
        target=_end(record, "target"),
        push_options=options,
        cron=_text(record, "cron"),
        enabled=_flag(record, "enabled", default=True),
        all_branches=mode.startswith("all"),
        tags=_flag(record, "git_tags") or "--tags" in options,
        force=_flag(record, "git_force") or any(map(is_force, options)),
        prune=_flag(record, "git_prune") or "--prune" in options,
    )


def is_force(option: str) -> bool:
    """Whether an option of a push permits what is no fast-forward."""
    return option in ("--force", "-f") or option.startswith("--force-with-lease")


def _end(record: Record, side: str) -> End:
    return End(
        _text(record, f"{side}_repo_key"),
        _number(record, f"{side}_repo_id"),
        _text(record, f"{side}_remote") or "origin",
        _text(record, f"{side}_branch"),
    )


def _repository(record: Record) -> Repository:
    return Repository(
        id=_number(record, "id"),
        key=_text(record, "key"),
        name=_text(record, "name"),
        path=_text(record, "path"),
        url=_text(record, "remote_url") or _text(record, "clone_url"),
        auth=Auth(_text(record, "auth_type"), _text(record, "auth_key")),
        remote_auths=_remote_auths(record),
    )


def _remote_auths_json(record: Record) -> object:
    try:
        return load_json(_text(record, "remote_auths_json").encode())
    except ValueError:
        return {}


def _remote_auths(record: Record) -> Mapping[str, Auth]:
    given = record.get("remote_auths")
    given = given if isinstance(given, Mapping) else _remote_auths_json(record)
    pairs = given.items() if isinstance(given, Mapping) else ()
    return {
        name: Auth(_text(auth, "type"), _text(auth, "key"))
        for name, auth in pairs
        if isinstance(auth, Mapping)
    }


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    return value.strip() if isinstance(value, str) and "\0" not in value else ""


def _number(record: Record, name: str) -> int | None:
    value = record.get(name)
    return value if type(value) is int and 0 < value <= LARGEST_ID else None


def _flag(record: Record, name: str, *, default: bool = False) -> bool:
    value = record.get(name)
    return default if value is None else value in (True, 1, "1", "true")
