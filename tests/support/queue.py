"""Tasks, triggers and runs of a store, in as few words as tests need."""

from gms_hookd.model import RunStatus
from gms_hookd.store import (
    deliveries,
    runs,
    tasks,
)
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.runs import NewRun, Result

NOW = 1_700_000_000_000


HOOK = NewRun("webhook:task-sync")


def draft(name="one", cache="c1", **more):
    source, target = f"/src/{cache}", f"/dst/{name}"
    return tasks.Draft(name=name, source=source, target=target, cache=cache, **more)


def new_delivery(at=NOW):
    return NewDelivery("task-sync", "gms", "192.0.2.1", at)


def add(store, name="one", cache="c1", **more):
    return store.write(tasks.add, draft(name, cache, **more), NOW).result()


def trigger(store, task_id=1, now=NOW):
    """Have a trigger accepted; gives the delivery as it is kept."""
    told = store.gather(runs.accept, delivered(task_id, now)).result()
    (kept,) = store.read(deliveries.latest, None, 1).result()
    assert (kept.status, kept.reason) == (told.status, told.reason)
    assert (kept.task_ids, kept.run_ids) == (told.task_ids, told.run_ids)
    return kept


def delivered(task_id=1, now=NOW):
    return runs.Trigger(new_delivery(now), task_id, HOOK)


def claim(store, now=NOW, only=None, **more):
    return store.write(runs.claim, now, only, **more).result()


def finish(store, run_id, status=RunStatus.SUCCESS, **more):
    task = store.read(tasks.get, get(store, run_id).task_id).result()
    result = Result(status, **more)
    return store.write(runs.finish, run_id, result, NOW + 5, task).result()


def get(store, run_id):
    return store.read(runs.get, run_id, details=True).result()
