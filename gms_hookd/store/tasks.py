"""Tasks in the store: add, find, list, change, remove."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from gms_hookd.cron import next_time
from gms_hookd.errors import Conflict, Invalid, NotFound
from gms_hookd.git.url import place
from gms_hookd.model import LARGEST_ID, WHOLE, Shard, Task
from gms_hookd.store.dbthread import Connection, Row
from gms_hookd.store.deliveries import NEWEST
from gms_hookd.store.rows import value

# The fields of a task, and where each comes from.
_FIELDS = {
    **{name: name for name in ("id", "key", "name", "source", "target", "refspecs")},
    **{name: name for name in ("force", "prune", "enabled", "timeout")},
    "created_at": "created_ms",
    "updated_at": "updated_ms",
    **{name: name for name in ("push_options", "cron", "most", "pattern_id")},
    "next_cron": "next_cron_ms",
    "create": "create_target",
    "pattern": "(SELECT p.name FROM tasks p WHERE p.id=tasks.pattern_id)",
}
_COLUMNS = ",".join(_FIELDS.values())
_FLAGS = ("force", "prune", "enabled", "create")
_LISTS = ("refspecs", "push_options")
LONGEST_KEY = 200  # characters
_NAME = re.compile(r"\w[\w.-]{0,99}(?:/\w[\w.-]{0,99}){0,7}")


class Draft(NamedTuple):
    """What a user asks a task to be; `cache` is the key of the source's cache."""

    name: str
    source: str
    target: str
    cache: str
    refspecs: tuple[str, ...] = ()
    force: bool = False
    prune: bool = False
    enabled: bool = True
    timeout: float | None = None
    push_options: tuple[str, ...] = ()
    cron: str = ""
    most: int | None = None
    create: bool = False


def checked_name(name: str) -> str:
    """Give back `name` if it can name a task; a number is always an id."""
    if not _NAME.fullmatch(name) or name.isdigit():
        raise Invalid(
            "name: 1 to 100 letters, digits, '.', '_' or '-', not starting with"
            " '.' or '-', several such parts with '/' between, and not digits alone"
        )
    return name


_INSERT = (
    "INSERT INTO tasks(id,key,name,source,target,cache,host,path,refspecs,force,"
    "prune,enabled,timeout,push_options,cron,most,create_target,created_ms,"
    "updated_ms) VALUES(:id,:key,:name,:source,:target,:cache,:host,:path,:refspecs,"
    ":force,:prune,:enabled,:timeout,:push_options,:cron,:most,:create,:now,:now)"
)


def add(
    db: Connection,
    draft: Draft,
    now: int,
    number: int | None = None,
    key: str | None = None,
    *,
    shard: Shard = WHOLE,
) -> Task:
    """Add a task, with the node's next id and a key of its own unless they are given.

    Conflict if the name is taken.
    """
    _refuse_taken_name(db, draft.name, 0)
    task_id = _next_id(db, shard) if number is None else number
    own = {"id": task_id, "key": key or str(uuid4()), "now": now}
    db.execute(_INSERT, {**own, **_values(draft)})
    _schedule(db, task_id, draft, now)
    return get(db, task_id)


def _next_id(db: Connection, shard: Shard) -> int:
    """Return the first id of the node beyond all that there ever were."""
    highest = value(db, "SELECT seq FROM sqlite_sequence WHERE name='tasks'") or 0
    number = shard.after(highest)
    if number > LARGEST_ID:
        raise Conflict(f"id: none is left beyond {highest}")
    return number


def _schedule(db: Connection, task_id: int, draft: Draft, now: int) -> None:
    """Note when the task's schedule is met next, from `now` (ms) on."""
    met = bool(draft.cron) and draft.enabled and draft.most is None
    db.execute(
        "UPDATE tasks SET next_cron_ms=?,cron_from_ms=? WHERE id=?",
        (_next_cron(draft.cron, now) if met else None, now if met else None, task_id),
    )


def _next_cron(text: str, now: int) -> int | None:
    try:
        return next_time(text, now)
    except ValueError:  # the machine knows its zone no more; the scheduler says so
        return None


def _values(draft: Draft) -> dict[str, object]:
    """Return what is stored of a draft, by the names of its fields."""
    host, path = ("", "") if draft.most is not None else place(draft.source)
    lists = {name: json.dumps(getattr(draft, name)) for name in _LISTS}
    return {**draft._asdict(), **lists, "host": host, "path": path}


def is_free(db: Connection, task_id: int) -> bool:
    """Tell whether no task has this id, and no run of one that is gone."""
    query = (
        "SELECT 1 FROM tasks WHERE id=:id UNION SELECT 1 FROM runs WHERE task_id=:id"
    )
    return db.execute(query, {"id": task_id}).fetchone() is None


def _refuse_taken_name(db: Connection, name: str, task_id: int) -> None:
    query = "SELECT 1 FROM tasks WHERE name=? AND id<>?"
    if db.execute(query, (name, task_id)).fetchone():
        raise Conflict(f"name: there is a task {name!r} already")


def get(db: Connection, task_id: int) -> Task:
    """Find a task by its id; Missing if there is none."""
    return _one(db, "id", task_id)


def find(db: Connection, by: Mapping[str, object]) -> Task:
    """Find a task by the one of `id`, `key`, `name` that is given."""
    column, known = next(iter(by.items()))
    if column not in {"id", "key", "name"}:
        raise Invalid(f"{column}: a task is found by id, key or name")
    return _one(db, column, known)


def besides(hosts: Collection[str]) -> tuple[str, str]:
    """Return a term that leaves out the tasks `t` of these hosts, and its `:besides`.

    Hosts are named by `git.url.origin`, without blanks.
    """
    end = " AND instr(:besides,' '||origin(t.{})||' ')=0"
    term = end.format("source") + end.format("target") if hosts else ""
    return term, f" {' '.join(sorted(hosts))} "


def of_source(db: Connection, host: str | None, path: str) -> list[Task]:
    """List the tasks with this source; without a host, those on any but this one."""
    term = "host<>''" if host is None else "host=:host"
    wanted = {"host": host, "path": path}
    return where(db, f"path=:path AND {term} ORDER BY id", wanted)


def where(db: Connection, term: str, values: Any) -> list[Task]:
    """List the tasks for which a term of SQL holds, with these values."""
    query = f"SELECT {_COLUMNS} FROM tasks WHERE {term}"
    return [_task(row) for row in db.execute(query, values).fetchall()]


def named(db: Connection, name: int | str) -> list[Task]:
    """List the one task with this id or name, or none."""
    column = "id" if isinstance(name, int) else "name"
    return where(db, f"{column}=?", (name,))


def _one(db: Connection, column: str, known: object) -> Task:
    found = where(db, f"{column}=?", (known,))
    if not found:
        raise NotFound(f"no task with {column} {known!r}"[:200])
    return found[0]


def every(db: Connection) -> list[Task]:
    """List all tasks, oldest first."""
    return where(db, "1 ORDER BY id", ())


def soonest(db: Connection, limit: int) -> list[Task]:
    """List the tasks whose schedules are met first."""
    met = "cron_from_ms IS NOT NULL AND next_cron_ms IS NOT NULL"
    return where(db, f"{met} ORDER BY next_cron_ms,id LIMIT ?", (limit,))


def following(db: Connection, after: int, limit: int) -> list[Task]:
    """List the tasks behind an id, the oldest first."""
    return where(db, "id>? ORDER BY id LIMIT ?", (after, limit))


def by_name(db: Connection, after: str, part: str, limit: int) -> list[Task]:
    """List tasks by their names: those after a name, with `part` in it, in any case."""
    which = "name>:after AND instr(lower(name),lower(:part))"
    values = {"after": after, "part": part, "limit": limit}
    return where(db, f"{which} ORDER BY name LIMIT :limit", values)


def _task(row: Row) -> Task:
    found = dict(zip(_FIELDS, row, strict=True))
    found |= {name: tuple(json.loads(found[name])) for name in _LISTS}
    found |= {name: bool(found[name]) for name in _FLAGS}
    return Task(**found)


_UPDATE = (
    "UPDATE tasks SET name=:name,source=:source,target=:target,cache=:cache,"
    "host=:host,path=:path,refspecs=:refspecs,force=:force,prune=:prune,"
    "enabled=:enabled,timeout=:timeout,push_options=:push_options,cron=:cron,"
    "most=:most,create_target=:create,updated_ms=:now WHERE id=:id"
)


def change(db: Connection, task_id: int, draft: Draft, now: int) -> Task:
    """Make the task what `draft` says; a disabled task loses its queued run."""
    before = get(db, task_id)
    refuse_amid_undo(db, task_id)
    _refuse_taken_name(db, draft.name, task_id)
    db.execute(_UPDATE, {**_values(draft), "now": now, "id": task_id})
    if (before.source, before.target) != (draft.source, draft.target):
        db.execute("DELETE FROM tips WHERE task_id=?", (task_id,))
    if not still(db, before):
        _forget_findings(db, task_id)
        forget_done_elsewhere(db, before)
    if (before.cron, before.enabled) != (draft.cron, draft.enabled):
        _schedule(db, task_id, draft, now)
    if not draft.enabled:
        _drop_queued(db, task_id, "the task was disabled", now)
    return get(db, task_id)


def refuse_amid_undo(db: Connection, task_id: int) -> None:
    """Raise Conflict while a run that undoes another waits or is under way."""
    each = "SELECT id FROM runs WHERE task_id=:id AND status='{}' AND undo IS NOT NULL"
    query = f"{each.format('queued')} UNION ALL {each.format('running')}"
    if run_id := value(db, query, {"id": task_id}):
        raise Conflict(
            f"run {run_id} undoes what a run of this task did: wait until it has"
            f" ended, or `gms-hookd run cancel {run_id}`"
        )


def disable(db: Connection, task_id: int, why: str, now: int) -> None:
    """Let a task take no triggers; its queued run is cancelled, and says why."""
    db.execute(
        "UPDATE tasks SET enabled=0,updated_ms=?,next_cron_ms=NULL,cron_from_ms=NULL"
        " WHERE id=?",
        (now, task_id),
    )
    db.execute("UPDATE checks SET digest=NULL WHERE task_id=?", (task_id,))
    _drop_queued(db, task_id, why, now)


def still(db: Connection, task: Task) -> bool:
    """Tell whether a task is there with the same source, target and refspecs.

    Only then is what was found out for it true of it.
    """
    query = "SELECT 1 FROM tasks WHERE id=? AND source=? AND target=? AND refspecs=?"
    known = (task.id, task.source, task.target, json.dumps(task.refspecs))
    return db.execute(query, known).fetchone() is not None


def forget_done_elsewhere(db: Connection, before: Task) -> None:
    """Forget what a queued run did at a target that its task has no more.

    Its log still has it; its refs are of one target, and may be of the same names.
    """
    db.execute(
        "UPDATE runs SET refs=NULL,commit_range='' WHERE status='queued' AND task_id=?"
        " AND (SELECT target FROM tasks WHERE id=task_id)<>?",
        (before.id, before.target),
    )


def _forget_findings(db: Connection, task_id: int) -> None:
    """Forget what triggers named, people saw, a check found: it was another sync."""
    query = "UPDATE runs SET hint=NULL,deletions=NULL WHERE task_id=? AND status='{}'"
    for status in ("queued", "running"):  # each has an index
        db.execute(query.format(status), (task_id,))
    db.execute("UPDATE checks SET digest=NULL WHERE task_id=?", (task_id,))
    db.execute("DELETE FROM seen WHERE task_id=?", (task_id,))


def remove(db: Connection, task_id: int, now: int) -> tuple[Task, bool]:
    """Remove a task; its runs stay, a queued one is cancelled, and what it has made.

    Also tells whether its cache serves no other task.
    """
    task = get(db, task_id)
    _drop_queued(db, task_id, "the task was removed", now)
    query = (
        "SELECT count(*) FROM tasks WHERE cache=(SELECT cache FROM tasks WHERE id=?)"
    )
    alone = value(db, query, (task_id,)) == 1
    query = "UPDATE tasks SET pattern_id=NULL WHERE pattern_id=?"
    db.execute(query, (task_id,))
    db.execute("DELETE FROM tasks WHERE id=?", (task_id,))
    return task, alone


def _drop_queued(db: Connection, task_id: int, why: str, now: int) -> None:
    db.execute(
        "UPDATE runs SET status='cancelled',error_message=?,ended_ms=?,"
        f"last_delivery={NEWEST}"
        " WHERE status='queued' AND task_id=?",
        (why, now, task_id),
    )
