"""The deliveries of one hook are found, noted yet or not, without a look at all."""

import itertools
import random

from gms_hookd.store import by_hook, deliveries, maintenance
from gms_hookd.store.deliveries import NewDelivery, RecordedDelivery

HOOKS = ("busy", "busy", "busy", "often", "rare")


def fill(store, chance, count, start):
    entries = [
        RecordedDelivery(
            NewDelivery(chance.choice(HOOKS), "p", "192.0.2.1", start + number),
            chance.choice((200, 401)),
            "",
        )
        for number in range(count)
    ]
    store.write(deliveries.record_all, entries).result()


def every(store):
    return store.read(deliveries.latest, None, 10_000).result()


def agrees(store, chance):
    """Compare each kind of question with what a look through all finds."""
    here = every(store)
    wanted = itertools.product(
        (*HOOKS[2:], "none"), (None, 200), (0, 1050), (1, 7, 999)
    )
    for hook, status, since, limit in wanted:
        before = chance.choice((here[0].id + 1, here[len(here) // 2].id))
        found = store.read(
            deliveries.latest, hook, limit, status=status, before=before, since=since
        ).result()
        assert (
            found
            == [
                each
                for each in here
                if each.hook == hook
                and status in (None, each.status)
                and each.id < before
                and each.received_at >= since
            ][:limit]
        )


def note_all(store):
    while store.write(by_hook.note).result():
        pass


def test_lists_are_the_same_before_amid_and_after_noting(store):
    chance = random.Random(17)
    fill(store, chance, 700, 1000)
    agrees(store, chance)
    assert store.write(by_hook.note).result() == by_hook.BATCH
    agrees(store, chance)
    note_all(store)
    fill(store, chance, 100, 1700)
    agrees(store, chance)
    gone = chance.sample([each.id for each in every(store)][1:], 300)
    store.write(maintenance.drop, gone).result()
    agrees(store, chance)
    note_all(store)
    agrees(store, chance)
    assert store.read(deliveries.is_known, "rare").result()
    assert not store.read(deliveries.is_known, "none").result()


def test_what_is_deleted_is_noted_no_more(store):
    fill(store, random.Random(1), 600, 0)
    note_all(store)
    newest = store.read(deliveries.newest).result()
    while store.write(maintenance.prune, 0, newest).result():
        pass
    count = "SELECT count(*) FROM by_hook"
    assert store.read(lambda db: db.execute(count).fetchone()[0]).result() == 1
    assert store.read(by_hook.noted).result() == newest


def test_a_list_of_a_rare_hook_looks_at_its_own_only(store):
    fill(store, random.Random(1), 600, 0)
    note_all(store)
    steps = []

    def counted(db):
        db.set_progress_handler(lambda: steps.append(1), 10)
        try:
            return deliveries.latest(db, "none", 20)
        finally:
            db.set_progress_handler(None, 0)

    assert store.read(counted).result() == []
    assert len(steps) < 60  # of a look at each there would be hundreds
