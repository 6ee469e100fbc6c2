"""Nothing at a target is lost that the task did not give up, and that only in sight."""

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import task


def test_an_empty_source_is_held_back_until_confirmed(source, target, bench):
    source.commit("a", "b")
    it = task(source, target, prune=True)
    bench.sync(it)
    before = target.refs()
    source.put(dict.fromkeys(source.refs()))
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.CONFLICT
    assert "the source has none of the selected refs" in outcome.error_message
    assert target.refs() == before
    bench.sync(it, confirmed=True)
    assert set(target.refs()) == {"refs/heads/main"}, "only the default branch is kept"


def test_an_empty_source_is_a_conflict_without_prune_too(source, target, bench):
    it = task(source, target)
    bench.sync(it)
    source.put(dict.fromkeys(source.refs()))
    assert bench.sync(it).status is RunStatus.CONFLICT


@pytest.mark.parametrize("case", [
    (12, 6, False), (12, 7, True), (6, 5, False), (20, 6, False),
])  # fmt: skip
def test_a_mass_deletion_is_held_back_until_confirmed(source, target, bench, case):
    total, gone, held = case
    tip = source.tip()
    source.put({f"refs/heads/b{n}": tip for n in range(total - 1)})
    it = task(source, target, prune=True)
    bench.sync(it)
    source.put({f"refs/heads/b{n}": None for n in range(gone)})
    outcome = bench.sync(it)
    assert (outcome.status is RunStatus.CONFLICT) is held
    assert len(target.refs()) == (total if held else total - gone)
    bench.sync(it, confirmed=True)
    assert len(target.refs()) == total - gone


def test_the_tip_that_force_overwrote_can_be_restored(source, target, bench):
    it = task(source, target, "main:main", force=True)
    bench.sync(it)
    foreign = target.commit()
    source.commit()
    outcome = bench.sync(it)
    [(ref, oid, kept)] = outcome.pinned
    assert (ref, oid) == ("refs/heads/main", foreign)
    assert kept.startswith("refs/backup/1/")
    target.git("gc", "-q", "--prune=now")
    assert bench.undo(it, outcome).status is RunStatus.SUCCESS
    assert target.tip() == foreign
    target.fsck()


def test_the_tip_of_a_deleted_branch_can_be_restored(source, target, bench):
    source.commit("a")
    old = source.tip("a")
    it = task(source, target, prune=True)
    bench.sync(it)
    source.set(a=None)
    outcome = bench.sync(it)
    [(_, oid, _)] = outcome.pinned
    assert bench.undo(it, outcome).status is RunStatus.SUCCESS
    assert target.tip("a") == old == oid


def test_memory_that_is_wrong_is_never_acted_on(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    foreign = target.commit()
    new = source.commit()
    bench.known = {"refs/heads/main": "1" * 40}
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.CONFLICT
    assert target.tip() == foreign != new


def test_every_pushed_ref_has_a_lease_with_an_object_id_and_no_plus(
    source, target, bench
):
    source.commit("a")
    it = task(source, target, force=True, prune=True)
    bench.sync(it)
    source.set(a=None)
    target.commit()
    source.commit()
    bench.sync(it)
    pushes = [w for w in bench.log.text().split("\n") if w.startswith("$ git push")]
    for words in map(str.split, pushes):
        leased = {w.split("=")[1].split(":")[0] for w in words if "with-lease=" in w}
        pushed = {w.split(":")[1] for w in words if ":refs/" in w and "--" not in w}
        assert leased == pushed
        assert not any(w.startswith("+") or w == "--force" for w in words)


def test_a_verifying_run_sees_that_someone_moved_the_target(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    target.commit()
    outcome = bench.sync(it, verify=True)
    assert outcome.status is RunStatus.CONFLICT
    assert "someone moved the target" in outcome.error_message


def test_unrelated_history_is_a_conflict(source, target, bench):
    target.commit()
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.CONFLICT
    assert [r.result for r in outcome.refs] == [RefResult.REJECTED]


def test_a_search_for_what_is_declined_pushes_under_leases_too(source, target, bench):
    source.commit("a", "b", "c", "d")
    it = task(source, target, force=True)
    bench.sync(it)
    target.commit("a", "b", "c", "d")
    source.commit("a", "b", "c", "d")
    declined = "grep -q ' refs/heads/c$' && exit 1; exit 0"
    target.hook("pre-receive", declined)
    outcome = bench.sync(it)
    pushes = [w for w in bench.log.text().split("\n") if w.startswith("$ git push")]
    assert len(pushes) > 3
    for words in map(str.split, pushes):
        leased = {w.split("=")[1].split(":")[0] for w in words if "with-lease=" in w}
        pushed = {w.split(":")[1] for w in words if ":refs/" in w and "--" not in w}
        assert leased == pushed
    kept = {ref: oid for ref, oid, *_ in outcome.pinned}
    assert kept.keys() == {"refs/heads/a", "refs/heads/b", "refs/heads/d"}


@pytest.mark.parametrize("arrives", [False, True])
def test_who_moves_a_target_while_a_push_of_ours_fails_is_not_overwritten(
    http_host, source, target, opened, arrives
):
    bench, it = opened(), task(source, http_host.url(target), "main:main")
    bench.sync(it)
    source.commit()
    others = []

    def fail(request):
        if request.command != "POST" or "receive-pack" not in request.path:
            return False
        if arrives:
            request.carry_out()
        others.append(target.commit())
        request.answer(502)
        return True

    http_host.faults.append(fail)
    outcome = bench.sync(it)
    http_host.faults.clear()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert bench.sync(it).status is RunStatus.CONFLICT
    assert [target.tip()] == others
