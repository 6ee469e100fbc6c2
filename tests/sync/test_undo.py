"""An undo puts back all that a run did to its target, or it does nothing."""

import random

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import Ref, RefResult, RunStatus, Undo
from gms_hookd.sync.job import to_restore
from gms_hookd.sync.plan import Views
from gms_hookd.sync.undo import decide_undo, in_phases, selection_of, wanted_of
from tests.support.repositories import Bench, Repo, task
from tests.sync.test_random_histories import NAMES, ROUNDS, Host, full, happen

A, B, C = "a" * 40, "b" * 40, "c" * 40
MAIN, SIDE = "refs/heads/main", "refs/heads/side"


def row(result, old, new, ref=MAIN, reason=None):
    return Ref(ref, RefResult(result), old, new, reason)


def decided(rows, target, symrefs=None):
    undo = Undo(7, tuple(rows))
    views = Views(
        wanted_of(undo), target, {}, False, selection_of(undo), symrefs=symrefs or {}
    )
    return {m.ref: m for m in decide_undo(undo, views)}


UNSURE = "cut off; it is not known whether it arrived"


@pytest.mark.parametrize(
    ("what", "there", "result", "reason"),
    [
        (row("updated", A, B), {MAIN: B}, ("forced", B, A), None),
        (row("forced", A, B), {MAIN: B}, ("forced", B, A), None),
        (row("created", None, B), {MAIN: B}, ("deleted", B, None), None),
        (row("deleted", A, None), {}, ("created", None, A), None),
        (row("updated", A, B), {MAIN: A}, ("unchanged", A, A), None),
        (row("deleted", A, None), {MAIN: A}, ("unchanged", A, A), None),
        (row("created", None, B), {}, ("unchanged", None, None), None),
        (row("updated", A, B), {MAIN: C}, ("rejected", C, A), "it is cccccccccc at"),
        (row("updated", A, B), {}, ("rejected", None, A), "the target has it not"),
        (row("deleted", A, None), {MAIN: C}, ("rejected", C, A), "run 7 deleted it"),
        (row("rejected", A, B, MAIN, UNSURE), {MAIN: B}, ("forced", B, A), None),
        (row("rejected", A, B, MAIN, UNSURE), {MAIN: C}, ("unchanged", C, C), None),
    ],
)
def test_a_ref_is_put_back_only_where_it_is_as_the_run_left_it(
    what, there, result, reason
):
    move = decided([what], there)[MAIN]
    assert (move.result, move.old, move.new) == result
    assert move.conflict is (result[0] == "rejected")
    assert (reason or "") in (move.reason or "")


def test_nothing_is_put_back_where_something_cannot_be():
    rows = [row("updated", A, B), row("updated", A, B, SIDE)]
    found = decided(rows, {MAIN: B, SIDE: C})
    assert [m.result for m in found.values()] == ["rejected", "rejected"]
    assert found[MAIN].reason == f"held back: {SIDE} cannot be undone"
    assert list(found) == [SIDE, MAIN]  # a run says of the first why it has failed


def test_a_ref_that_has_become_an_alias_is_left_alone():
    found = decided([row("updated", A, B)], {MAIN: B, SIDE: B}, {MAIN: SIDE})
    assert (found[MAIN].result, found[MAIN].alias) == ("rejected", SIDE)
    found = decided([row("created", None, B)], {MAIN: B, SIDE: B}, {SIDE: MAIN})
    assert "is an alias of it" in found[MAIN].reason


def test_a_ref_gives_way_first_to_one_that_needs_its_place():
    below = "refs/heads/main/x"
    rows = [row("deleted", A, None), row("created", None, B, below)]
    moves = list(decided(rows, {below: B}).values())
    assert [[m.ref for m in part] for part in in_phases(moves)] == [[below], [MAIN]]
    assert in_phases(moves[:1]) == [moves[:1]]


def test_what_is_to_be_pasted_can_be_typed():
    assert to_restore(7, "refs/heads/é").endswith(" undo 7 --ref 'refs/heads/é'")
    assert to_restore(7, "refs/heads/\udcff").endswith(" did: gms-hookd run undo 7")


class History:
    """Runs of one task, with what the target was before and after each."""

    def __init__(self, bench, it, source, target, chance):
        self.bench, self.it, self.chance = bench, it, chance
        self.source, self.target = source, target
        self.steps = []

    def happen(self):
        for repo in self.chance.choices(
            [self.source, self.target], weights=[4, 1], k=3
        ):
            happen(repo, self.chance)

    def run(self):
        before = self.target.refs()
        outcome = self.bench.sync(self.it)
        self.steps.append((before, self.target.refs(), outcome))

    def undo(self, number):
        """Undo a run; check that the target is as it was before it, or untouched."""
        before, after, outcome = self.steps[number]
        there = self.target.refs()
        undone = self.bench.undo(self.it, outcome)
        now = self.target.refs()
        told = (undone, there, self.bench.log.text())
        changed = {row.ref for row in outcome.refs if row.acted}
        if undone.status is not RunStatus.SUCCESS:
            assert now == there, told
            assert undone.error_message, told
            assert undone.status in (RunStatus.CONFLICT, RunStatus.FAILED), told
        else:
            want = {r: before.get(r) if r in changed else there.get(r) for r in NAME}
            assert {r: now.get(r) for r in NAME} == want, told
            for ref in changed:
                assert there.get(ref) in (before.get(ref), after.get(ref)), told
        return undone


NAME = [full(name) for name in NAMES]


@pytest.mark.parametrize("force", [False, True])
def test_a_target_is_what_it_was_or_untouched_with_a_reason(
    source, target, bench, force
):
    chance = random.Random(f"undo {force}")
    source.commit("c", on=source.tip())
    it = task(source, target, force=force, prune=True)
    history = History(bench, it, source, target, chance)
    history.run()
    done = set()
    for _ in range(ROUNDS // 2):
        history.happen()
        history.run()
        last = history.undo(-1)
        done.add(last.status)
        twice = history.undo(-1)
        if last.status is RunStatus.SUCCESS:
            assert (twice.status, twice.commit_range) == (RunStatus.SUCCESS, "")
        if chance.random() < 0.5:
            history.run()
            history.undo(chance.randrange(len(history.steps)))
    assert RunStatus.SUCCESS in done


def test_an_undo_can_be_undone(source, target, bench):
    it = task(source, target, force=True, prune=True)
    source.commit("gone")
    bench.sync(it)
    source.put({"refs/heads/gone": None, SIDE: source.tip(), MAIN: None})
    source.commit("main")
    before, done = target.refs(), bench.sync(it)
    after = target.refs()
    undone = bench.undo(it, done)
    assert (undone.status, target.refs()) == (RunStatus.SUCCESS, before)
    target.git("gc", "-q", "--prune=now")
    again = bench.undo(it, undone)
    assert (again.status, target.refs()) == (RunStatus.SUCCESS, after)
    assert bench.known == after


def test_a_tip_that_came_while_the_undo_was_decided_is_kept(source, target, tmp_path):
    """What is read is put back under a lease on exactly that."""
    it = task(source, target)
    bench = Bench(tmp_path)
    bench.sync(it)
    source.commit("main", "side")
    done = bench.sync(it)
    there = target.refs()
    script = tmp_path / "git"
    moved = target.commit("other", on=there[MAIN])
    theirs = f"git --git-dir={target} update-ref {MAIN} {moved}"
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" push "*) {theirs} ;; esac\nexec git "$@"\n'
    )
    script.chmod(0o755)
    undone = Bench(tmp_path, binary=str(script)).undo(it, done)
    assert undone.status is RunStatus.CONFLICT
    assert "and run 7 left it at" in undone.error_message
    assert target.refs() == {**there, MAIN: moved, "refs/heads/other": moved}


def test_a_host_that_declines_one_ref_keeps_all(source, target, bench):
    it = task(source, target)
    bench.sync(it)
    source.commit("main", "side", "third")
    done = bench.sync(it)
    there = target.refs()
    target.hook("update", f'test "$1" != {SIDE}')
    undone = bench.undo(it, done)
    assert undone.status is RunStatus.FAILED
    assert undone.error_message.startswith(f"{SIDE}: ")
    assert target.refs() == there
    held = [r for r in undone.refs if r.reason and r.reason.startswith("held back")]
    assert len(held) == 2
    (target.path / "hooks/update").unlink()
    only = [r for r in done.refs if r.ref == MAIN]
    assert bench.undo(it, done._replace(refs=only)).status is RunStatus.SUCCESS
    assert target.refs() == {**there, MAIN: only[0].old}


def test_the_first_run_cannot_be_undone_where_its_branch_is_the_default(
    source, target, bench
):
    it = task(source, target)
    done = bench.sync(it)
    there = target.refs()
    undone = bench.undo(it, done)
    assert undone.status is RunStatus.FAILED
    assert "default branch" in undone.error_message
    assert target.refs() == there


def test_an_undo_that_was_cut_off_after_its_push_is_done(
    source, target, tmp_path, bench
):
    it = task(source, target)
    bench.sync(it)
    before = target.refs()
    source.commit()
    done = bench.sync(it)
    script = tmp_path / "git"
    arrives = 'git "$@" >/dev/null 2>&1; kill -9 $$'
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" push "*) {arrives} ;; esac\nexec git "$@"\n'
    )
    script.chmod(0o755)
    first = Bench(tmp_path, binary=str(script)).undo(it, done, run=9)
    second = bench.undo(it, done, run=9, attempt=2, before=first.refs)
    assert (second.status, target.refs()) == (RunStatus.SUCCESS, before)
    assert [r.result for r in second.refs if r.acted] == ["forced"]


def test_a_tip_that_is_no_longer_kept_is_named_and_nothing_is_pushed(
    source, target, bench, tmp_path
):
    it = task(source, target, force=True)
    bench.sync(it)
    foreign = target.commit()
    source.commit()
    done = bench.sync(it)
    there = target.refs()
    cache = Repo(tmp_path / "caches" / cache_key(str(source)))
    for name in [n for n in cache.refs() if n.startswith("refs/backup/")]:
        cache.git("update-ref", "-d", name)
    for undone in (bench.undo(it, done), bench.undo(it, done)):
        assert undone.status is RunStatus.FAILED
        assert foreign in undone.error_message
        cache.git("gc", "-q", "--prune=now")
    assert target.refs() == there


def test_a_host_over_http_takes_an_undo_whole(source, target, http_host, opened):
    bench = opened()
    it = task(source, http_host.url(target))
    bench.sync(it)
    before = target.refs()
    source.commit("main", "side")
    done = bench.sync(it)
    undone = bench.undo(it, done)
    assert (undone.status, target.refs()) == (RunStatus.SUCCESS, before)


def test_an_undo_of_many_refs_is_one_push(source, target, bench, monkeypatch):
    monkeypatch.setattr("gms_hookd.git.push.AT_ONCE", 2)
    source.commit("a", "b", "c", "d", "e")
    it = task(source, target)
    bench.sync(it)
    before = target.refs()
    source.commit("a", "b", "c", "d", "e")
    done = bench.sync(it)
    target.hook("pre-receive", f"echo >> {target}/pushes\n")
    assert bench.undo(it, done).status is RunStatus.SUCCESS
    assert target.refs() == before
    assert (target.path / "pushes").read_text() == "\n"


def test_an_undo_of_more_refs_than_one_command_can_name(
    source, target, bench, monkeypatch
):
    monkeypatch.setattr("gms_hookd.sync.push.WHOLE", 3)
    monkeypatch.setattr("gms_hookd.git.push.AT_ONCE", 2)
    source.commit("a", "b", "c", "d", "e")
    it = task(source, target)
    bench.sync(it)
    before = target.refs()
    source.commit("a", "b", "c", "d", "e")
    done = bench.sync(it)
    assert bench.undo(it, done).status is RunStatus.SUCCESS
    assert target.refs() == before


def test_a_host_that_knows_no_atomic_push_gets_the_refs_one_by_one(
    source, target, http_host, opened
):
    http_host.settings = (("receive.advertiseAtomic", "false"),)
    bench = opened()
    it = task(source, http_host.url(target))
    bench.sync(it)
    before = target.refs()
    source.commit("main", "side")
    done = bench.sync(it)
    undone = bench.undo(it, done)
    assert (undone.status, target.refs()) == (RunStatus.SUCCESS, before)
    assert "takes refs only one by one" in bench.log.text()


def test_what_gave_way_is_put_back_where_its_place_is_not_taken(source, target, bench):
    """A ref in the place of another needs two pushes: the second may be declined."""
    below = "refs/heads/side/x"
    source.commit("side", "third")
    it = task(source, target, prune=True)
    bench.sync(it)
    source.put({SIDE: None, "refs/heads/third": None})
    source.put({below: source.tip()})
    done = bench.sync(it)
    there = target.refs()
    assert below in there
    target.hook("update", f'test "$1" != {SIDE}')
    undone = bench.undo(it, done, run=9)
    assert undone.status is RunStatus.FAILED
    assert undone.error_message.startswith(f"{SIDE}: hook declined")
    assert target.refs() == there
    assert not any(row.acted for row in undone.refs), undone.refs
    (target.path / "hooks/update").unlink()
    undone = bench.undo(it, done, run=9, attempt=2, before=undone.refs)
    assert (undone.status, below in target.refs()) == (RunStatus.SUCCESS, False)


def test_an_undo_at_a_host_in_trouble_is_whole_or_nothing_and_its_record_true(
    source, target, http_host, opened
):
    chance = random.Random("undo at a host")
    bench, host = opened(), Host(http_host, target, chance)
    source.commit("c", on=source.tip())
    it = task(source, http_host.url(target), force=True, prune=True)
    bench.sync(it)
    for number in range(1, ROUNDS // 2):
        host.drop_aliases()
        host.refuse([])
        host.troubles = []
        happen(source, chance)
        done = bench.sync(it, verify=True, run=number)
        host.change_aliases()
        host.turn()
        there, aliases = target.refs(), host.aliases()
        undone = bench.undo(it, done, run=1000 + number)
        for attempt in range(2, 6):
            if undone.transient:
                more = {"attempt": attempt, "before": undone.refs}
                undone = bench.undo(it, done, run=1000 + number, **more)
        told = (undone, bench.log.text())
        assert host.aliases() == aliases, told
        now = target.refs()
        changed = {r for r in there | now if there.get(r) != now.get(r)} - set(aliases)
        rows = {row.ref: row for row in done.refs if row.acted}
        assert changed <= rows.keys(), told
        assert all(there.get(r) == rows[r].new for r in changed), told
        assert all(now.get(r) == rows[r].old for r in changed), told
        assert undone.status is RunStatus.SUCCESS or not changed, told
        assert changed <= {row.ref for row in undone.refs if row.acted}, told


def test_a_branch_that_another_name_stands_for_by_now_is_not_deleted(
    source, target, bench
):
    """Neither by an undo nor by a sync; that name is none that the task selects."""
    name = "refs/heads/f/a"
    source.put({name: source.tip(), "refs/heads/f/b": source.tip()})
    it = task(source, target, "refs/heads/f/*", prune=True)
    done = bench.sync(it)
    target.git("symbolic-ref", "refs/heads/other", name)
    there = target.refs()
    undone = bench.undo(it, done)
    assert undone.status is RunStatus.CONFLICT
    assert "refs/heads/other is an alias of it" in undone.error_message
    source.put({name: None})
    assert bench.sync(it).status is RunStatus.CONFLICT
    assert target.refs() == there
