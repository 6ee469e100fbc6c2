"""The engine against real repositories: one branch to one branch."""

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import task


def test_one_branch_is_created_under_its_new_name(source, target, bench):
    outcome = bench.sync(task(source, target, "main:release"))
    assert outcome.status is RunStatus.SUCCESS
    assert target.refs() == {"refs/heads/release": source.tip()}
    assert outcome.commit_range == source.tip()
    assert [r.result for r in outcome.refs] == [RefResult.CREATED]


def test_a_new_commit_costs_one_fetch_and_one_push(source, target, bench):
    it = task(source, target, "main:main")
    before = source.tip()
    bench.sync(it)
    new = source.commit()
    outcome = bench.sync(it)
    assert outcome.commit_range == f"{before}..{new}"
    assert target.tip() == new
    assert bench.commands() == ["fetch", "push"]


def test_no_change_is_success_with_an_empty_range_after_one_fetch(
    source, target, bench
):
    it = task(source, target, "main:main")
    bench.sync(it)
    outcome = bench.sync(it, verify=True)
    assert (outcome.status, outcome.commit_range) == (RunStatus.SUCCESS, "")
    assert [r.result for r in outcome.refs] == [RefResult.UNCHANGED]
    assert bench.commands() == ["fetch", "ls-remote"]


def test_diverged_target_is_a_conflict_and_stays_as_it_is(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    foreign = target.commit()
    source.commit()
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.CONFLICT
    assert "the target has commits that the source has not" in outcome.error_message
    forced = f"gms-hookd task set {it.name} force=true && gms-hookd task sync {it.name}"
    assert outcome.error_message.endswith(forced)
    assert target.tip() == foreign


@pytest.mark.parametrize("order", [{}, {"hint": "tip"}, {"verify": True}])
def test_a_target_ahead_of_an_unchanged_source_is_a_conflict(
    source, target, bench, order
):
    it = task(source, target, "main:main")
    bench.sync(it)
    hint = {"hint": source.tip()} if "hint" in order else {}
    foreign = target.commit()
    outcome = bench.sync(it, **order | hint)
    assert outcome.status is RunStatus.CONFLICT
    assert target.tip() == foreign


def test_a_branch_that_somebody_deleted_at_the_target_comes_back(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    target.set(main=None)
    assert [r.result for r in bench.sync(it).refs] == [RefResult.CREATED]
    assert target.tip() == source.tip()


def test_source_behind_the_target_is_a_conflict(source, target, bench):
    it = task(source, target, "main:main")
    first = source.tip()
    second = source.commit()
    bench.sync(it)
    source.set(main=first)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.CONFLICT
    assert "the source is behind the target" in outcome.error_message
    assert target.tip() == second


def test_force_overwrites_what_diverged(source, target, bench):
    it = task(source, target, "main:main", force=True)
    bench.sync(it)
    target.commit()
    new = source.commit()
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS
    assert [r.result for r in outcome.refs] == [RefResult.FORCED]
    assert target.tip() == new


def test_a_conflict_is_still_one_in_the_next_run(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    target.commit()
    source.commit()
    bench.sync(it)
    assert bench.sync(it).status is RunStatus.CONFLICT


def test_push_options_reach_the_hooks_of_the_target(source, target, bench):
    target.git("config", "receive.advertisePushOptions", "true")
    target.hook("pre-receive", "echo $GIT_PUSH_OPTION_0,$GIT_PUSH_OPTION_1 > options\n")
    it = task(source, target, "main:main", push_options=("ci.skip", "a=b c"))
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert (target.path / "options").read_text() == "ci.skip,a=b c\n"


def test_a_target_that_takes_no_push_options_is_not_tried_again(source, target, bench):
    target.git("config", "receive.advertisePushOptions", "false")
    outcome = bench.sync(task(source, target, "main:main", push_options=("ci.skip",)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "push options" in outcome.error_message
