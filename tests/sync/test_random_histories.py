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
        for ref in gone:  # an alias itself, not what it points to
            repo.git("update-ref", "--no-deref", "-d", ref)
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


REFUSING = (
    'while read old new ref; do if grep -qx "$ref" refused; then echo "no: $ref" >&2;'
    " exit 1; fi; done\n"
)
NONE = full("none")  # what an alias of nothing points to
TROUBLES = (
    lambda r: r.answer(503, {"Retry-After": "1"}),
    lambda r: r.answer(500, body=b"<html>oops</html>"),
    lambda r: r.cut(),
    lambda r: r.carry_out() and r.answer(504),
    lambda r: r.cut(r.carry_out()[:-7]),
    lambda r: r.carry_out() and r.cut(),
)


class Host:
    """A target behind http: with aliases, refused refs and requests that fail."""

    def __init__(self, http_host, target, chance):
        self.target, self.chance = target, chance
        self.troubles = []
        self.refused = set()
        http_host.faults.append(self.fault)
        self.hook = "pre-receive"

    def fault(self, request):
        pushes = request.command == "POST" and "receive-pack" in request.path
        if not pushes or not self.troubles:
            return False
        trouble = self.troubles.pop()
        if trouble:
            trouble(request)
        return trouble is not None

    def turn(self):
        """Choose which refs are refused in the next run, and which requests fail."""
        chance = self.chance
        some = [full(n) for n in NAMES if chance.random() < 0.15]
        self.refuse(some if chance.random() < 0.5 else [])
        one_in_two = chance.random() < 0.5
        self.troubles = [
            chance.choice((*TROUBLES, None, None))
            for _ in range(chance.randrange(4) * one_in_two)
        ]

    def refuse(self, refs):
        self.refused = set(refs)
        (self.target.path / "refused").write_text("".join(f"{r}\n" for r in refs))
        (self.target.path / "hooks" / self.hook).unlink(missing_ok=True)
        self.hook = self.chance.choice(("pre-receive", "update"))
        one = 'grep -qx "$1" refused && exit 1; exit 0\n'
        self.target.hook(self.hook, REFUSING if self.hook == "pre-receive" else one)

    def aliases(self):
        """Return where each alias points, be it to nothing."""
        root = self.target.path
        files = (path for path in (root / "refs").rglob("*") if path.is_file())
        texts = ((str(p.relative_to(root)), p.read_text().strip()) for p in files)
        return {r: t.removeprefix("ref: ") for r, t in texts if t.startswith("ref: ")}

    def drop_aliases(self):
        for alias in self.aliases():
            (self.target.path / alias).unlink()

    def drop_dangling(self):
        """Remove the aliases of what is gone, which bar names like a/b to git."""
        there = self.target.refs()
        for alias in self.aliases().keys() - there.keys():
            (self.target.path / alias).unlink()

    def change_aliases(self):
        """Point some names to branches; what pointed somewhere before is gone."""
        self.drop_aliases()
        refs = self.target.refs()
        heads = [r for r in refs if r.startswith("refs/heads/")]
        for name in map(full, self.chance.choices(NAMES, k=2)):
            real = self.chance.choice([*heads, NONE])
            if name.startswith("refs/tags/") or name == real or in_the_way(name, refs):
                continue
            if name not in refs or name != full("main"):
                self.target.git("symbolic-ref", name, real)
                return


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("prune", [False, True])
def test_nothing_is_lost_at_a_host_in_trouble(
    source, target, http_host, opened, force, prune
):
    chance = random.Random(f"host {force}{prune}")
    bench = opened()
    host = Host(http_host, target, chance)
    source.commit("c", on=source.tip())
    it = task(source, http_host.url(target), force=force, prune=prune)
    bench.sync(it)
    for _ in range(ROUNDS):
        for repo in chance.choices([source, target], weights=[3, 1], k=3):
            host.drop_dangling()
            happen(repo, chance)
        host.drop_aliases() if chance.random() < 0.5 else host.change_aliases()
        host.turn()
        before, aliases = target.refs(), host.aliases()
        outcome = bench.sync(it, verify=True, confirmed=None)
        told = (outcome, bench.log.text())
        assert host.aliases() == aliases, told
        plain = {r: o for r, o in before.items() if r not in aliases}
        check(target, plain, outcome, force=force, prune=prune)
        after = {r: o for r, o in target.refs().items() if r not in aliases}
        check_made(plain, after, aliases, outcome, source)
        after.pop(NONE, None)
        wanted = {r: source.refs().get(r) for r in after if after[r] != plain.get(r)}
        assert {r: after[r] for r in wanted} == wanted, told
        same = {r: o for r, o in plain.items() if r in host.refused}
        assert {r: after.get(r) for r in same} == same, told
        if not host.troubles and outcome.status is RunStatus.SUCCESS and prune:
            assert target.refs() == source.refs(), told
    converge(source, target, bench, host, it)


def check_made(before, after, aliases, outcome, source):
    """What no branch of the source is was made through an alias, and that is told."""
    told = {r.ref: r for r in outcome.refs}
    for ref in after.keys() - before.keys():
        assert (told[ref].result, told[ref].new) == (RefResult.CREATED, after[ref])
    if NONE in after.keys() - before.keys():
        alias = next(r for r, real in aliases.items() if real == NONE)
        assert f"created with {alias}, an alias of it" in told[NONE].reason
        assert after[NONE] == source.refs()[alias]


def converge(source, target, bench, host, it):
    """All arrives once there are no aliases, nothing is refused, and nothing fails."""
    host.drop_aliases()
    host.refuse([])
    host.troubles = []
    it = task(source, it.target, force=True, prune=True)
    for _ in range(2):
        outcome = bench.sync(it, confirmed=True)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    target.fsck()
