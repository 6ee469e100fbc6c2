"""Where a repository may be known beside the address that a payload names."""

import pytest

from gms_hookd.git.host_alias import Aliases, gerrit, read


def made(*pairs):
    return Aliases(tuple((read(said), read(meant)) for said, meant in pairs))


CORP = made(("git.corp:3000", "git.example.org"))


@pytest.mark.parametrize("said", [
    "http://git.corp:3000/o/App.git",
    "https://user@GIT.corp:3000/o/app",
    "https://git.example.org/o/app",
    "git@git.example.org:o/app.git",
    "ssh://git@git.example.org:2222/o/app",
])  # fmt: skip
def test_an_alias_is_the_host_that_tasks_name(said):
    assert ("git.example.org", "o/app") in CORP.places(said)


def test_an_alias_counts_from_either_side():
    assert ("git.corp", "o/app") in CORP.places("https://git.example.org/o/app")


@pytest.mark.parametrize("said", [
    "http://git.corp/o/app", "http://git.corp:3001/o/app", "http://corp:3000/o/app",
    "/git.corp:3000/o/app", "http://git.corp:3000.example.net/o/app",
])  # fmt: skip
def test_other_ports_and_hosts_have_no_alias(said):
    try:
        places = CORP.places(said)
    except ValueError:
        return
    assert len(places) == 1


def test_an_alias_may_lead_below_a_path():
    both = made(("10.0.0.5/gitea", "git.example.org"), ("git.x", "git.example.org/r"))
    assert ("git.example.org", "o/a") in both.places("http://10.0.0.5/Gitea/o/a")
    assert ("git.example.org", "r/o/a") in both.places("https://git.x/o/a")
    assert both.places("http://10.0.0.5/giteas/o/a") == (("10.0.0.5", "giteas/o/a"),)
    assert both.places("http://10.0.0.5/gitea") == (("10.0.0.5", "gitea"),)


def test_two_names_of_one_host_are_names_of_each_other():
    many = made(
        ("a.corp", "git.example.org"), ("https://b.corp:8443", "git.example.org")
    )
    assert ("b.corp", "o/r") in many.places("https://a.corp/o/r")


def test_aliases_that_lead_to_each_other_come_to_an_end():
    endless = made(("a.corp", "a.corp/x"), ("a.corp/x", "a.corp/y/z"))
    assert len(endless.places("https://a.corp/o/r")) <= 20


def test_an_alias_leads_to_the_forges_own_spelling():
    found = made(("proxy.corp", "ssh.github.com")).places("https://proxy.corp/o/r")
    assert ("github.com", "o/r") in found
    odd = made(("proxy.corp", "git.corp")).places("https://proxy.corp/100%25/r")
    assert ("git.corp", "100%/r") in odd


@pytest.mark.parametrize("text", ["", "a b", "user@host", "/path", "host:port", "h:0"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="is no host"):
        read(text)


@pytest.mark.parametrize(("said", "meant"), [
    ("proj", "a/proj"), ("a/proj", "proj"), ("a/deep/proj", "deep/proj"),
    ("r/mediawiki/core", "r/a/mediawiki/core"), ("r/a/core", "r/core"),
])  # fmt: skip
def test_gerrit_has_a_second_address_for_those_with_a_login(said, meant):
    assert ("review.corp", meant) in gerrit(("review.corp", said))


def test_a_local_path_has_no_second_address():
    assert gerrit(("", "/srv/a/proj")) == (("", "/srv/a/proj"),)
