"""Pattern tasks, which never run, and the tasks that are made by them."""

from gms_hookd.errors import Conflict
from gms_hookd.model import WHOLE, Shard, Task
from gms_hookd.store import tasks
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.rows import value
from gms_hookd.store.tasks import Draft


def every(db: Connection) -> list[Task]:
    """List the patterns, oldest first."""
    return tasks.where(db, "most IS NOT NULL ORDER BY id", ())


def children(db: Connection, pattern_id: int) -> int:
    """Count the tasks that a pattern has made."""
    query = "SELECT count(*) FROM tasks WHERE pattern_id=?"
    return int(value(db, query, (pattern_id,)))


def add_child(
    db: Connection, pattern: Task, draft: Draft, now: int, *, shard: Shard = WHOLE
) -> Task:
    """Add a task of a pattern; Conflict where it has too many, or another is alike.

    Two whose names or targets differ in case only are one to many a host and disk.
    """
    if pattern.most is not None and children(db, pattern.id) >= pattern.most:
        raise Conflict(
            f"{pattern.most} tasks, its max, are there: remove some, or"
            f" `gms-hookd task set {pattern.id} max=N`"
        )
    for column, wanted in (("name", draft.name), ("target", draft.target)):
        alike = tasks.where(db, f"{column}=? COLLATE NOCASE LIMIT 1", (wanted,))
        if alike:
            raise Conflict(f"task {alike[0].name} has the {column} {wanted!r} already")
    made = tasks.add(db, draft, now, shard=shard)
    query = "UPDATE tasks SET pattern_id=? WHERE id=?"
    db.execute(query, (pattern.id, made.id))
    return tasks.get(db, made.id)
