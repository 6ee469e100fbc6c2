import pytest

from gms_hookd.git import refspec
from gms_hookd.git.refspec import Refspec, select


@pytest.mark.parametrize(("text", "spec"), [
    ("main", Refspec("refs/heads/main", "refs/heads/main")),
    ("main:release", Refspec("refs/heads/main", "refs/heads/release")),
    ("+a:b", Refspec("refs/heads/a", "refs/heads/b", force=True)),
    ("tags/v1", Refspec("refs/tags/v1", "refs/tags/v1")),
    ("refs/heads/*:refs/x/*", Refspec("refs/heads/*", "refs/x/*")),
    ("feat*:f*y", Refspec("refs/heads/feat*", "refs/heads/f*y")),
    ("^wip/*", Refspec("refs/heads/wip/*", "", negative=True)),
    ("HEAD:refs/heads/x", Refspec("HEAD", "refs/heads/x")),
    ("a\udcff", Refspec("refs/heads/a\udcff", "refs/heads/a\udcff")),
])  # fmt: skip
def test_gits_notation_is_read(text, spec):
    assert refspec.parse(text) == spec


@pytest.mark.parametrize(("text", "spec"), [
    ("main", "refs/heads/main:refs/heads/main"),
    ("main:release/1", "refs/heads/main:refs/heads/release/1"),
    ("refs/heads/a:b", "refs/heads/a:refs/heads/b"),
])  # fmt: skip
def test_a_branch_becomes_a_refspec(text, spec):
    assert refspec.branch(text) == spec


@pytest.mark.parametrize("text", ["", "a*", ":b", "a:", "a..b", "-x"])
def test_what_is_no_branch_is_refused(text):
    with pytest.raises(ValueError, match=r"refspec|not one branch"):
        refspec.branch(text)


def test_surrogates_that_stand_for_no_byte_are_no_name():
    for number in (0xD800, 0xDC00, 0xDC7F, 0xDD00, 0xDFFF):
        with pytest.raises(ValueError, match="a name that git does not take"):
            refspec.branch(f"a{chr(number)}")


def test_nothing_selected_means_heads_and_tags():
    for given in ((), ("^refs/heads/x",)):
        specs = select(given, force=False).specs
        assert [s.src for s in specs] == ["refs/heads/*", "refs/tags/*"]


@pytest.mark.parametrize(("spec", "ref", "target"), [
    ("refs/heads/*:refs/heads/m/*", "refs/heads/a/b", "refs/heads/m/a/b"),
    ("refs/heads/r*x:refs/heads/s*y", "refs/heads/rax", "refs/heads/say"),
    ("refs/heads/r*x:refs/heads/s*y", "refs/heads/rx", "refs/heads/sy"),
    ("refs/heads/ab*ba:refs/heads/*", "refs/heads/aba", None),
    ("refs/heads/a:refs/heads/b", "refs/heads/a", "refs/heads/b"),
    ("refs/heads/a:refs/heads/b", "refs/heads/ab", None),
])  # fmt: skip
def test_refs_are_mapped_there_and_back(spec, ref, target):
    selection = select([spec], force=False)
    wanted = selection.wanted({ref: "1" * 40})
    assert list(wanted) == ([target] if target else [])
    assert selection.takes(ref) is bool(target)
    if target:
        assert selection.origin(target) == ref


def test_a_negative_spares_a_ref_on_both_sides():
    selection = select(["refs/heads/*:refs/heads/m/*", "^refs/heads/w*"], force=False)
    assert selection.wanted({"refs/heads/wip": "1" * 40}) == {}
    assert selection.origin("refs/heads/m/wip") is None


def test_one_ref_under_two_rules_is_forced_if_one_of_them_forces():
    given = ("+refs/heads/a:refs/heads/a", "refs/heads/*:refs/heads/*")
    for specs in (given, given[::-1]):
        wanted = select(specs, force=False).wanted({"refs/heads/a": "1" * 40})
        assert wanted["refs/heads/a"].force
