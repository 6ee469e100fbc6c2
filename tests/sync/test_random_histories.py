"""Whatever happens at a source and a target: what a run may do, and what never."""

import os
import random

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import task

NAMES = ("main", "a", "a/b", "c", "refs/tags/v1", "refs/tags/v2", "d/e/f")
ROUNDS = int(os.environ.get("HISTORY_ROUNDS", "6"))


def full(name):
    return name if name.startswith("refs/") else "refs/heads/" + name


def in_the_way(name, refs):
    return any(
        r != name and (r.startswith(name + "/") or name.startswith(r + "/"))
        for r in refs
    )


def happen(repo, chance):
    """One thing that happens to a repository: push, rewind, delete, move, swap."""
    refs = repo.refs()
    name = full(chance.choice(NAMES))
    if name in refs and name != full("main") and chance.random() < 0.3:
        repo.put({name: None})
    elif in_the_way(name, refs):
        gone = [r for r in refs if in_the_way(name, [r])]
        repo.put(dict.fromkeys(gone))
        repo.put({name: chance.choice(list(refs.values()))})
    elif chance.random() < 0.4:
        repo.put({name: chance.choice(list(refs.values()))})
    else:
        repo.commit(name, on=chance.choice(list(refs.values())))


def holds(repo, new, old):
    """Whether a commit contains another."""
    base = repo.git("merge-base", new, old) if new and old else ""
    return base.strip() == old


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("prune", [False, True])
def test_nothing_is_lost_that_the_policy_does_not_give_up(
    source, target, bench, force, prune
):
    chance = random.Random(f"{force}{prune}")
    source.commit("c", on=source.tip())
    it = task(source, target, force=force, prune=prune)
    bench.sync(it)
    for _ in range(ROUNDS):
        for repo in chance.choices([source, target], weights=[3, 1], k=3):
            happen(repo, chance)
        before = target.refs()
        outcome = bench.sync(it, verify=chance.random() < 0.5)
        check(target, before, outcome, force=force, prune=prune)
    bench.sync(it, confirmed=True)
    outcome = bench.sync(task(source, target, force=True, prune=True), confirmed=True)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    bench.sync(task(source, target, force=True, prune=True), confirmed=True)
    assert target.refs() == source.refs()
    target.fsck()


def check(target, before, outcome, *, force, prune):
    after = target.refs()
    told = {r.ref: r for r in outcome.refs}
    pinned = {p[0]: p[1] for p in outcome.pinned}
    for ref, old in before.items():
        new = after.get(ref)
        if new == old:
            continue
        assert told[ref].new == new
        assert told[ref].result not in (RefResult.UNCHANGED, RefResult.REJECTED)
        if new is None:
            assert prune
        elif ref.startswith("refs/tags/") or not holds(target, new, old):
            assert force
        if told[ref].result in (RefResult.FORCED, RefResult.DELETED):
            assert pinned[ref] == old
