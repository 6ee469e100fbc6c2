"""Frozen dataclasses, beside those of the standard library."""

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field

import pytest

from gms_hookd.light.frozen import dataclass

MAKERS = {"ours": dataclass, "standard": dataclasses.dataclass}


def record(maker):
    @maker(frozen=True, slots=True)
    class Record:
        """Anything."""

        name: str
        self: int = 3
        secret: str = field(default="s", repr=False)
        values: dict = field(default_factory=dict)
        last: object = field(kw_only=True, default=None)

        @property
        def double(self):
            return self.name * 2

    return Record


@pytest.fixture(params=MAKERS)
def made(request):
    return record(MAKERS[request.param])


def test_it_is_filled_as_a_standard_one(made):
    one = made("a")
    assert (one.name, one.self, one.secret, one.values, one.last) == (
        "a", 3, "s", {}, None,
    )  # fmt: skip
    assert one.values is not made("a").values
    assert made("a", 4, last=5).last == 5
    assert one.double == "aa"
    for wrong in ((), ("a", 1, "s", {}, None)):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            made(*wrong)
    with pytest.raises(TypeError, match="none"):
        made("a", none=1)


def test_it_does_not_change(made):
    one = made("a")
    for change in (lambda: setattr(one, "name", "b"), lambda: delattr(one, "name")):
        with pytest.raises(FrozenInstanceError, match="name"):
            change()
    with pytest.raises((FrozenInstanceError, TypeError)):
        one.other = 1
    assert not hasattr(one, "__dict__")


def test_it_is_compared_and_shown_as_a_standard_one(made):
    assert made("a") == made("a") != made("b")
    assert made("a") != ("a", 3, "s", {}, None)
    assert hash(made("a", values=())) == hash(made("a", values=()))
    with pytest.raises(TypeError, match="unhashable"):
        hash(made("a"))
    shown = "record.<locals>.Record(name='a', self=3, values={}, last=None)"
    assert repr(made("a")) == shown


def test_the_functions_for_dataclasses_take_it(made):
    one = dataclasses.replace(made("a"), self=4)
    assert dataclasses.asdict(one) == {
        "name": "a", "self": 4, "secret": "s", "values": {}, "last": None,
    }  # fmt: skip
    assert made.__match_args__ == ("name", "self", "secret", "values")
    assert copy.copy(one) == copy.deepcopy(one) == one


@dataclass(frozen=True, slots=True)
class Alone:
    """One at the top of a module, as all are."""

    name: str


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing in it."""


def test_it_can_be_sent_elsewhere():
    assert pickle.loads(pickle.dumps(Alone("a"))) == Alone("a")
    assert Empty() == Empty()


def test_of_other_options_it_is_the_standard_one():
    @dataclass(slots=True)
    class Changing:
        name: str

    one = Changing("a")
    one.name = "b"
    assert repr(one).endswith("Changing(name='b')")
