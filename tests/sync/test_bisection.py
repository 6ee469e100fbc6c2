"""The search for what a target refuses, where one ref of a push spoils all."""

import random

import pytest

from gms_hookd.sync.bisection import MOST, Search, Seen


def pushed(count, guilty, named=(), most=None):
    """Search; give the number of pushes, and what was taken."""
    search = Search([f"r{n}" for n in range(count)], named)
    taken, alone, pushes = set(), set(), 0
    while todo := search.todo:
        pushes += 1
        assert len(set(todo)) == len(todo)
        assert not (taken | alone) & set(todo), "nothing is sent again without need"
        bad = set(todo) & guilty or (most and len(todo) > most)
        declined = set(todo) if bad else set()
        taken |= set(todo) - declined
        alone |= declined if len(todo) == 1 else set()
        search.saw(Seen(declined, named))
    assert len(taken | alone | search.open) == count
    return pushes, taken, search


@pytest.mark.parametrize("which", [0, 1, 499, 500, 998, 999])
def test_one_of_a_thousand_is_found_by_about_ten_pushes(which):
    pushes, taken, search = pushed(1000, {f"r{which}"})
    assert (len(taken), search.open) == (999, set())
    assert pushes <= 12


def test_a_ref_that_the_host_names_is_found_at_once():
    pushes, taken, search = pushed(1000, {"r7"}, named={"r7", "refs/heads/else"})
    assert (pushes, len(taken), search.open) == (2, 999, set())


def test_a_host_that_names_the_innocent_costs_no_more_than_a_few_pushes():
    pushes, taken, search = pushed(1000, {"r7"}, named={"r1", "r2", "r3"})
    assert (len(taken), search.open) == (999, set())
    assert pushes <= 20
    assert pushed(1000, {"r7"}, named={f"r{n}" for n in range(1000)})[0] <= 12


@pytest.mark.parametrize("seed", range(30))
def test_the_guilty_alone_are_refused(seed):
    chance = random.Random(seed)
    count = chance.randint(2, 60)
    guilty = {f"r{n}" for n in range(count) if chance.random() < 0.15}
    pushes, taken, search = pushed(count, guilty)
    assert (len(taken), search.open) == (count - len(guilty), set())
    assert pushes <= 12 + 8 * len(guilty)


def test_a_limit_of_refs_in_a_push_is_kept():
    pushes, taken, search = pushed(64, set(), most=5)
    assert (len(taken), search.open) == (64, set())
    assert pushes <= 64


def test_a_target_that_takes_nothing_is_not_asked_for_each_ref():
    pushes, taken, search = pushed(1000, {f"r{n}" for n in range(1000)})
    assert (taken, len(search.open), search.fruitless) == (set(), 997, True)
    assert pushes <= 20


def test_very_many_that_are_declined_are_not_all_found_at_once():
    pushes, taken, search = pushed(1000, {f"r{n}" for n in range(0, 1000, 2)})
    assert (pushes, search.fruitless) == (MOST, False)
    assert taken
    assert search.open
