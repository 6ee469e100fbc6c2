import pytest

from gms_hookd import giturl
from gms_hookd.giturl import cache_key

EVERY = ("https", "http", "ssh", "file")


@pytest.mark.parametrize(("text", "parts"), [
    ("https://Host/a/b.git", ("https", "host", None, "/a/b.git", None)),
    ("http://h:8080/x", ("http", "h", 8080, "/x", None)),
    ("ssh://git@h:22/~/x", ("ssh", "h", 22, "/~/x", "git")),
    ("git@h.example:a/b", ("ssh", "h.example", None, "a/b", "git")),
    ("h:x", ("ssh", "h", None, "x", None)),
    ("ssh://[::1]:22/x", ("ssh", "[::1]", 22, "/x", None)),
    ("/srv/a b.git", ("file", "", None, "/srv/a b.git", None)),
    ("file:///srv/x", ("file", "", None, "/srv/x", None)),
])  # fmt: skip
def test_urls_are_read(text, parts):
    url = giturl.parse(text, EVERY)
    assert (url.scheme, url.host, url.port, url.path, url.user) == parts


def test_a_protocol_must_be_allowed():
    with pytest.raises(ValueError, match=r"http is not in sync\.allow_protocols"):
        giturl.parse("http://h/x", ("https", "ssh"))


def test_a_password_in_a_url_is_refused_with_the_remedy_and_not_repeated():
    with pytest.raises(ValueError, match=r'\[credentials."https://h"\]') as caught:
        giturl.parse("https://u:hunter2@h/x", EVERY)
    assert "hunter2" not in str(caught.value)


def test_a_password_in_an_scp_like_address_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="never a password") as caught:
        giturl.parse("git:hunter2@h:a/b", EVERY)
    assert "hunter2" not in str(caught.value)
    assert giturl.parse("h:a@b/c:d", EVERY).path == "a@b/c:d"


@pytest.mark.parametrize(("one", "other"), [
    ("https://h/a/b.git", "git@h:a/b"),
    ("https://H/A/B/", "ssh://git@h:2222/a/b.git"),
    ("https://user:pass@h/a/b", "http://h/a/b.git"),
    ("https://h/a%20b", "h:a b"),
])  # fmt: skip
def test_spellings_of_one_repository_compare_as_equal(one, other):
    assert giturl.normalised(one) == giturl.normalised(other)


def test_local_paths_keep_their_case():
    assert giturl.normalised("/srv/A/") != giturl.normalised("/srv/a")


def test_a_cache_is_shared_by_equal_urls_only():
    same = {cache_key(u) for u in ("https://h/a", "https://H:443/a/", "https://h/a/")}
    assert len(same) == 1
    different = (
        "https://h/a",
        "ssh://h/a",
        "ssh://u@h/a",
        "/a",
        "/a.git",
        "https://h/A",
    )
    assert len({cache_key(u) for u in different}) == len(different)
