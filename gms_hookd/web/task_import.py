"""The call that takes over tasks of another service, in one transaction.

Their keys are kept, by which a second import knows them again. Their ids are kept as
long as no other task is here than those which are taken over, since scripts send them.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from gms_hookd.futures import Future
from gms_hookd.http.message import HttpError
from gms_hookd.model import Task
from gms_hookd.store import Connection, StoreError, tasks
from gms_hookd.web import params as take
from gms_hookd.web import views
from gms_hookd.web.params import Params
from gms_hookd.workers.running import Context

EMPTY = tasks.Draft(name="", source="", target="", cache="")
CREATED, UNCHANGED, SKIPPED = "created", "unchanged", "skipped"


def import_tasks(context: Context, params: Params) -> Future[list[views.Json]]:
    """Add the tasks with their ids and keys; say of each what became of it.

    With `dry_run` nothing is added.
    """
    given = take.read_objects(params, "tasks")
    if take.read_boolean(params, "dry_run", False):
        return context.store.read(_import, context, given, True)
    return context.store.write(_import, context, given, False)


def _import(
    db: Connection, context: Context, given: Sequence[Params], dry: bool
) -> list[views.Json]:
    return _Import(db, context, given, dry=dry).result()


class _Import:
    """One import: what is here already, and what was added so far."""

    def __init__(
        self, db: Connection, context: Context, given: Sequence[Params], *, dry: bool
    ) -> None:
        self._db = db
        self._context = context
        self._given = given
        self._dry = dry
        here = tasks.every(db)
        self._names = {task.name for task in here}
        self._keys: dict[str, tuple[int | None, str]] = {
            task.key: (task.id, task.name) for task in here
        }
        taken_over = {k for each in given if isinstance(k := each.get("key"), str)}
        self._keeps = self._keys.keys() <= taken_over

    def result(self) -> list[views.Json]:
        """Return what became of each, in their order."""
        return [self._one(each) for each in self._given]

    def _one(self, given: Params) -> views.Json:
        old = {"imported_id": given.get("id"), "key": given.get("key")}
        try:
            return old | self._added(given)
        except (HttpError, StoreError) as error:
            return old | _became(SKIPPED, None, None, str(error))

    def _added(self, given: Params) -> views.Json:
        take.only(given, take.TASK_KEYS | {"id", "key"})
        key = take.read_text(given, "key")
        if not 0 < len(key) <= tasks.LONGEST_KEY:
            raise HttpError(400, f"key: at most {tasks.LONGEST_KEY} characters")
        if key in self._keys:
            return _became(UNCHANGED, *self._keys[key])
        fields = {k: v for k, v in given.items() if k not in ("id", "key")}
        name = self._free_name(take.read_text(given, "name"), given.get("id"))
        draft = take.read_draft(self._context, EMPTY, fields | {"name": name})
        number = self._kept_id(given)
        if not self._dry:
            number = self._add(draft, number, key).id
        self._names.add(name)
        self._keys[key] = number, name
        return _became(CREATED, number, name)

    def _add(self, draft: tasks.Draft, number: int | None, key: str) -> Task:
        now, shard = self._context.now(), self._context.shard
        return tasks.add(self._db, draft, now, number, key, shard=shard)

    def _free_name(self, name: str, number: object) -> str:
        """Return the name, with its old id behind it where another has it."""
        old = "" if number is None else f"-{number}"
        tails = chain(("", old), (f"{old}-{n}" for n in count(2)))
        return next(name + tail for tail in tails if name + tail not in self._names)

    def _kept_id(self, given: Mapping[str, Any]) -> int | None:
        if given.get("id") is None:
            return None
        number = take.read_number(given, "id")
        return number if self._keeps and tasks.is_free(self._db, number) else None


def _became(
    result: str, number: int | None, name: str | None, reason: str | None = None
) -> views.Json:
    return {"result": result, "id": number, "name": name, "reason": reason}
