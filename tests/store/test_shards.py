"""Nodes that have the tasks between them: the id of a task says its node."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

import pytest

import gms_hookd
from gms_hookd.model import WHOLE, Shard
from gms_hookd.store import Conflict, tasks
from gms_hookd.store.tasks import LARGEST_ID, Draft


def draft(number):
    return Draft(f"t{number}", f"/s/{number}", f"/t/{number}", f"c{number}")


@pytest.mark.parametrize("count", range(1, 8))
def test_ids_of_a_node_are_its_number_modulo_the_count(count):
    for number in range(count):
        shard = Shard(number, count)
        ids = [after for each in range(4 * count) if (after := shard.after(each))]
        assert all(0 < after - each <= count for each, after in enumerate(ids))
        assert {each % count for each in ids} == {number}
        assert [shard.has(each) for each in range(count)].count(True) == 1


def test_new_ids_are_the_nodes_and_none_is_given_twice(store):
    def add(number, **shard):
        return store.write(tasks.add, draft(number), 0, **shard).result().id

    second = {"shard": Shard(2, 3)}
    ids = [add(number, **second) for number in range(3)]
    store.write(tasks.remove, ids.pop(), 0).result()
    ids += [add(9, **second), add(10), add(11, shard=Shard(0, 3)), add(12, **second)]
    assert ids == [2, 5, 11, 12, 15, 17]
    assert all(a < b for a, b in pairwise(ids))


def test_where_no_id_is_left_no_task_is_added(store):
    last = "UPDATE sqlite_sequence SET seq=? WHERE name='tasks'"
    store.write(tasks.add, draft(1), 0).result()
    store.write(lambda db: db.execute(last, (LARGEST_ID - 1,)).rowcount).result()
    with pytest.raises(Conflict, match="none is left"):
        store.write(tasks.add, draft(2), 0, shard=Shard(0, 9)).result()
    store.write(tasks.add, draft(2), 0, shard=WHOLE).result()
    with pytest.raises(Conflict, match="none is left"):
        store.write(tasks.add, draft(3), 0).result()


def test_whoever_adds_a_task_says_for_which_node():
    root = Path(inspect.getfile(gms_hookd)).parent
    adding = [p for p in root.rglob("*.py") if "tasks.add" in p.read_text()]
    assert len(adding) > 1
    for path in adding:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and "tasks.add" in ast.unparse(call):
                inner = [ast.unparse(call.func), *map(ast.unparse, call.args)]
                named = {each.arg for each in call.keywords}
                assert "tasks.add" not in inner or "shard" in named, path
