"""Tasks in the store are found, and no id or name is given twice."""

import pytest

from gms_hookd.store import (
    Conflict,
    NotFound,
    tasks,
)
from tests.support.queue import NOW, add, draft


def test_a_task_is_found_by_id_key_and_name(store):
    task = add(store, refspecs=("refs/heads/a:refs/heads/b",), timeout=5.0)
    for by in ({"id": 1}, {"key": task.key}, {"name": "one"}):
        assert store.read(tasks.find, by).result() == task
    with pytest.raises(NotFound):
        store.read(tasks.find, {"name": "two"}).result()


def test_a_name_is_taken_once(store):
    add(store)
    with pytest.raises(Conflict):
        add(store)
    add(store, "two")
    with pytest.raises(Conflict):
        store.write(tasks.change, 2, draft("one"), NOW).result()


def test_ids_of_removed_tasks_are_not_used_again(store):
    add(store)
    store.write(tasks.remove, 1, NOW).result()
    assert add(store, "two").id == 2
