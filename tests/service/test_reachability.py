"""Which repositories are asked, and what is told of those that do not answer."""

import threading
from functools import partial

from gms_hookd.service import reachability
from gms_hookd.sync.job import Unreadable
from gms_hookd.threads import Pool, Threads


def test_each_host_is_asked_before_any_is_asked_twice():
    asked = ["https://a/1", "https://a/2", "https://a/1", "git@b:3", "https://a/4"]
    assert reachability.chosen(asked, 3) == ["https://a/1", "git@b:3", "https://a/2"]
    assert len(reachability.chosen(asked, 9)) == 4


def test_who_does_not_answer_in_time_is_named_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(reachability, "WITHIN", 0.5)
    over = threading.Event()
    pool = Pool(Threads(), "check", 2)
    said = {"https://good/x": lambda: None, "https://slow/x": over.wait}

    class Asked:
        def reach(self, repository, within):
            return said[repository]()

    try:
        asking = partial(reachability.reach, said, Asked(), pool)
        assert asking() == {
            "https://good/x": None,
            "https://slow/x": Unreadable("no answer within 0.5 s"),
        }
    finally:
        over.set()
        pool.close()


def test_who_answers_is_not_taken_for_one_of_many_who_do_not(monkeypatch):
    monkeypatch.setattr(reachability, "WITHIN", 0.5)
    over, pool = threading.Event(), Pool(Threads(), "reach", 1)
    slow = [f"https://slow{n}/x" for n in range(5)]

    class Asked:
        def reach(self, repository, within):
            if repository in slow:
                over.wait(30)

    try:
        found = reachability.reach([*slow, "https://good/x"], Asked(), pool)
        assert found.pop("https://good/x") is None
        assert {why.error for why in found.values()} == {"no answer within 0.5 s"}
        again = reachability.reach(["https://late/x"], Asked(), pool)["https://late/x"]
        assert again is None, "there is a thread left"
    finally:
        over.set()
        pool.close()


def test_who_was_not_asked_is_not_said_to_be_silent(monkeypatch):
    monkeypatch.setattr(reachability, "WITHIN", 0.1)
    over, pool = threading.Event(), Pool(Threads(), "reach", 1)
    pool.do(over.wait)

    class Asked:
        def reach(self, repository, within):
            raise AssertionError("not in time")

    try:
        (found,) = reachability.reach(["https://good/x"], Asked(), pool).values()
        assert found.error == "was not asked: too many others do not answer"
    finally:
        over.set()
        pool.close()
