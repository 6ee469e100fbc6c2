"""What a pattern covers, and which names it may be filled with."""

import pytest

from gms_hookd.git.host_alias import Aliases
from gms_hookd.git.pattern import check, part_of, plain

TEAM = "https://github.com/team/*"
AZURE = "https://dev.azure.com/org/proj/_git/*"


def found(source, *urls):
    places = [place for url in urls for place in Aliases().places(url)]
    return part_of(source, places, urls)


@pytest.mark.parametrize(
    ("source", "url", "part"),
    [
        (TEAM, "https://github.com/team/app.git", "app"),
        (TEAM, "git@github.com:Team/App.git", "App"),
        (TEAM, "ssh://git@ssh.github.com:443/team/app/", "app"),
        ("git@github.com:team/*.git", "https://github.com/team/app", "app"),
        (TEAM, "https://github.com/team/%61pp", "app"),
        (TEAM, "https://github.com/team/sub/app", None),
        (TEAM, "https://github.com/team/", None),
        (TEAM, "https://github.com/team", None),
        (TEAM, "https://github.com/team//app", None),
        (TEAM, "https://github.com/teams/app", None),
        (TEAM, "https://example.com/team/app", None),
        (TEAM, "https://github.com/team/../other", None),
        (TEAM, "https://github.com/team/a%2fb", None),
        ("https://h.org/*/docs.git", "https://h.org/Team/docs", "Team"),
        ("https://h.org/*/docs.git", "https://h.org/a/b/docs", None),
        (TEAM, "https://github.com/Team/team.git", "team"),
        (TEAM, "https://github.com/Team/TEAM", "TEAM"),
        ("https://h.org/*/docs.git", "https://h.org/docs/Docs.git", "docs"),
        ("/srv/git/*.git", "/srv/git/App.git", "App"),
        (AZURE, "https://dev.azure.com/org/proj/_git/Lib", "Lib"),
        (AZURE, "git@ssh.dev.azure.com:v3/org/proj/lib", "lib"),
        (AZURE, "https://org@dev.azure.com/org/proj/_git/proj", "proj"),
    ],
)
def test_a_star_is_one_part_of_the_path_in_the_case_that_was_sent(source, url, part):
    assert found(source, url) == part


def test_a_path_without_a_host_is_on_any_but_this_machine():
    assert part_of(TEAM, [(None, "team/app")], ["*:team/App"]) == "App"
    assert part_of("/team/*", [(None, "team/app")], ["*:team/app"]) is None


@pytest.mark.parametrize("name", ["a", "_a", "a.b-c_d", "7", "x" * 100, "app.wiki"])
def test_a_plain_name_is_taken(name):
    assert plain(name) == name


@pytest.mark.parametrize("name", [
    "", ".", "..", "a..b", "-a", ".a", "a.", "a.git", "a.GIT", "a.lock", "a/b", "a b",
    "a\\b", "a\x00", "a\nb", "a\x1b[31m", "a\u202e", "é", "\uff41", "a*", "a?", "a:b",
    "$(id)", "a;b", "a'b", "~a", "@a", "%2e%2e", "x" * 101, "a\ud800",
])  # fmt: skip
def test_a_name_that_is_not_plain_is_refused_in_printable_words(name):
    with pytest.raises(ValueError, match="name") as refused:
        plain(name)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("name", "source", "target", "why"),
    [
        ("t/*", TEAM, "/srv/t-*.git", None),
        ("*", "git@h.org:*/x.git", "git@i.org:mirror/*.git", None),
        ("t", TEAM, "/srv/*", "name: a pattern has one"),
        ("t/*", "https://h.org/t/x", "/srv/*", "source: a pattern has one"),
        ("t/*", TEAM, "/srv/x", "target: a pattern has one"),
        ("t/*", "https://h.org/*/*", "/srv/*", "source: a pattern has one"),
        ("t/*", "https://h.org/t/x-*", "/srv/*", "source: '*' stands for one whole"),
        ("t/*", "https://*/t", "/srv/*", "source: '*' stands for a part of the path"),
        ("t/*", TEAM, "https://*.org/x", "target: '*' stands for a part of the path"),
        ("t/*", TEAM, "*@h.org:x", "target: '*' stands for a part of the path"),
    ],
)
def test_a_pattern_has_one_star_in_each_of_its_three_texts(name, source, target, why):
    if why is None:
        check(name, source, target)
        return
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is looked at
        check(name, source, target)
    assert str(refused.value).startswith(why)
