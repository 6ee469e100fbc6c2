"""Old rows go, what waits stays, and the space comes back."""

import sys

from gms_hookd.store import (
    deliveries,
    maintenance,
)
from tests.support.queue import NOW, add, claim, finish, new_delivery, trigger


def test_old_rows_go_and_what_waits_stays(store):
    add(store)
    trigger(store)
    finish(store, claim(store).run.id)
    waiting = trigger(store)
    newest = store.write(deliveries.record, new_delivery(), 200, "ping").result()
    later = NOW + 1_000_000
    first = store.read(maintenance.first_since, later).result()
    assert store.write(maintenance.prune, later, first).result() == 2
    assert store.write(maintenance.prune, later, first).result() == 0
    kept = store.read(deliveries.latest, None, 10).result()
    assert [d.id for d in kept] == [newest, waiting.id]


def test_deliveries_as_young_as_the_limit_stay(store):
    for moment in (NOW, NOW + 1, NOW + 2):
        young = new_delivery(moment)
        store.write(deliveries.record, young, 200, "ping").result()
    first = store.read(maintenance.first_since, NOW + 1).result()
    assert store.write(maintenance.prune, 0, first).result() == 1
    assert [d.id for d in store.read(deliveries.latest, None, 10).result()] == [3, 2]


def test_no_id_of_a_delivery_is_given_twice(store):
    first = store.write(deliveries.record, new_delivery(), 200, "ping").result()
    store.write(maintenance.prune, 0, sys.maxsize).result()
    assert store.write(deliveries.record, new_delivery(), 200, "ping").result() > first


def test_refused_deliveries_are_bounded(store, monkeypatch):
    monkeypatch.setattr(maintenance, "REFUSED", 3)
    for _ in range(5):
        store.write(deliveries.record, new_delivery(), 401, "wrong").result()
    assert maintenance.surplus(store.path) == [2, 1]
    store.write(maintenance.drop, [2, 1]).result()
    assert not maintenance.surplus(store.path)
    kept = store.read(deliveries.latest, "task-sync", 10).result()
    assert [d.id for d in kept] == [5, 4, 3]


def test_shrinking_gives_the_space_back(store):
    add(store)
    for _ in range(300):
        trigger(store)
        finish(store, claim(store).run.id, details="".join(map(str, range(2000))))
    while store.write(maintenance.prune, NOW * 2, NOW * 2).result():
        pass
    before = store.path.stat().st_size
    store.alone(maintenance.shrink).result()
    assert store.path.stat().st_size < before / 2
    assert store.path.with_name(store.path.name + "-wal").stat().st_size == 0
