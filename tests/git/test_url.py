import pytest

from gms_hookd.git import url as giturl
from gms_hookd.git.url import cache_key

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
    ("HTTPS://Host/A", ("https", "host", None, "/A", None)),
    ("SSH://git@H/x", ("ssh", "h", None, "/x", "git")),
    ("File:///srv/x", ("file", "", None, "/srv/x", None)),
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


def one_place(*texts):
    return len({giturl.normalised(text) for text in texts}) == 1


@pytest.mark.parametrize(("plain", "on_443"), [
    ("https://github.com/Org/Repo.git", "ssh://git@ssh.github.com:443/Org/Repo.git"),
    ("git@gitlab.com:a/b/c.git", "ssh://git@altssh.gitlab.com:443/a/b/c.git"),
    ("https://bitbucket.org/ws/r", "ssh://git@altssh.bitbucket.org:443/ws/r.git"),
    ("https://gitee.com/o/r.git", "ssh://git@ssh.gitee.com:443/o/r.git"),
    ("git@gitee.com:o/r", "git@ssh.gitee.com:o/r"),
    ("https://gitlab.corp.example/a/b", "ssh://git@altssh.gitlab.corp.example:443/a/b"),
    ("https://github.com/o/r", "https://www.github.com/o/r"),
])  # fmt: skip
def test_the_second_ssh_name_of_a_forge_is_the_forge(plain, on_443):
    assert one_place(plain, on_443)


def test_a_host_that_is_called_ssh_is_no_second_name():
    assert giturl.normalised("git@ssh.corp:a/b") == ("ssh.corp", "a/b")
    assert giturl.normalised("git@ssh:a/b") == ("ssh", "a/b")


@pytest.mark.parametrize("host", [
    "gitlab-ssh.corp.example", "my-altssh.gitlab.com", "git.ssh.corp.example",
    "awww.github.com",
])  # fmt: skip
def test_a_name_that_has_ssh_within_it_is_another_host(host):
    assert giturl.normalised(f"https://{host}/a/b") == (host, "a/b")


@pytest.mark.parametrize("text", [
    "https://dev.azure.com/fab/My%20Proj/_git/repo",
    "https://fab@dev.azure.com/fab/My%20Proj/_git/repo",
    "https://dev.azure.com/Fab/My%20Proj/_git/_optimized/repo",
    "https://dev.azure.com/fab/My%20Proj/_git/_full/repo",
    "https://fab.visualstudio.com/My%20Proj/_git/repo",
    "https://fab.visualstudio.com/DefaultCollection/My%20Proj/_git/repo",
    "https://fab.visualstudio.com/My%20Proj/DefaultCollection/_git/repo",
    "https://fab.visualstudio.com/DefaultCollection/My%20Proj/_git/_optimized/repo",
    "git@ssh.dev.azure.com:v3/fab/My%20Proj/repo",
    "ssh://git@ssh.dev.azure.com:22/v3/fab/My%20Proj/repo",
    "fab@vs-ssh.visualstudio.com:v3/fab/My%20Proj/repo",
    "ssh://fab@vs-ssh.visualstudio.com/v3/fab/My%20Proj/repo",
    "ssh://fab@vs-ssh.visualstudio.com:22/My%20Proj/_ssh/repo",
    "ssh://fab@vs-ssh.visualstudio.com:22/DefaultCollection/My%20Proj/_ssh/repo",
    "ssh://fab@vs-ssh.visualstudio.com:22/My%20Proj/_git/repo",
    "ssh://fab@fab.visualstudio.com:22/DefaultCollection/My%20Proj/_git/repo",
])  # fmt: skip
def test_all_addresses_of_an_azure_repository_are_one(text):
    place = "dev.azure.com", "fab/my proj/_git/repo"
    assert giturl.normalised(text) == place


@pytest.mark.parametrize("text", [
    "https://dev.azure.com/fab/proj/_git/proj",
    "https://fab.visualstudio.com/_git/proj",
    "https://fab.visualstudio.com/DefaultCollection/_git/proj",
    "https://fab.visualstudio.com/DefaultCollection/_git/_full/proj",
    "git@ssh.dev.azure.com:v3/fab/proj/proj",
    "ssh://fab@vs-ssh.visualstudio.com:22/DefaultCollection/_ssh/proj",
    "ssh://fab@vs-ssh.visualstudio.com:22/_ssh/proj",
])  # fmt: skip
def test_an_azure_repository_without_project_is_that_of_the_project(text):
    assert one_place("https://dev.azure.com/fab/_git/proj", text)


def test_a_server_of_azure_devops_has_several_addresses_too():
    home = "https://tfs.corp:8080/tfs/DefaultCollection"
    ssh = "ssh://tfs.corp:22/tfs/DefaultCollection"
    assert one_place(f"{home}/p/_git/r", f"{ssh}/p/_ssh/r", f"{home}/p/_git/_full/r")
    assert one_place(f"{home}/_git/p", f"{ssh}/_ssh/p", f"{home}/p/_git/p")


@pytest.mark.parametrize("other", [
    "https://dev.azure.com/fab/other/_git/repo",
    "https://dev.azure.com/fab/_git/repo",
    "https://dev.azure.com/bob/proj/_git/repo",
    "git@ssh.dev.azure.com:v3/bob/proj/repo",
    "bob@vs-ssh.visualstudio.com:v3/bob/proj/repo",
    "ssh://bob@vs-ssh.visualstudio.com:22/proj/_ssh/repo",
    "ssh://vs-ssh.visualstudio.com/proj/_ssh/repo",
    "https://dev.azure.com/fab/proj",
    "https://dev.azure.com/fab/proj/_git",
    "git@ssh.dev.azure.com:v3",
    "git@ssh.dev.azure.com:v3/fab",
    "git@ssh.dev.azure.com:v3/fab/proj",
    "https://fab.visualstudio.com/proj",
])  # fmt: skip
def test_other_azure_addresses_are_other_repositories(other):
    assert not one_place("https://dev.azure.com/fab/proj/_git/repo", other)


def test_a_path_may_have_any_character_but_controls():
    for name in ("仓\u3000库", "a\u00a0b", "\ue5e5", "\U00031350"):
        assert giturl.parse(f"/srv/{name}.git", EVERY).path == f"/srv/{name}.git"
        assert one_place(f"https://h/o/{name}", f"git@h:o/{name}.git")
    for control in ("\n", "\x1b", "\x85", "\u2028", "\udcff"):
        with pytest.raises(ValueError, match="one line"):
            giturl.parse(f"https://h/a{control}b", EVERY)


@pytest.mark.parametrize("text", ["HTTPS://H/x", "Http://H:80/x", "sSh://git@H/X"])
def test_git_is_given_the_scheme_in_lower_case(text):
    scheme, _, rest = text.partition(":")
    url = giturl.parse(text, EVERY)
    assert url.text == f"{scheme.lower()}:{rest}"
    assert cache_key(text) == cache_key(url.text)


def test_git_is_given_no_space_and_no_letter_that_http_has_not():
    assert giturl.parse("https://h/a b/é", EVERY).text == "https://h/a%20b/%C3%A9"
    assert giturl.parse("https://h/a%20b", EVERY).text == "https://h/a%20b"
    assert giturl.parse("ssh://h/a b/é", EVERY).text == "ssh://h/a b/é"


PREFIX = "https://gh-proxy.example.org"
TOKENS = ("ghp_zhTokenInsideTheUrl0123456789", "glpat-ab_cd-efgh0123456789")


@pytest.mark.parametrize("address", [
    # behind the prefix of an accelerator, whole, collapsed, encoded, without scheme
    PREFIX + "/https://bob:hunter2@github.com/o/r.git",
    PREFIX + "/https://hunter2@github.com/o/r.git",
    PREFIX + "/https:/bob:hunter2@github.com/o/r.git",
    PREFIX + "/bob:hunter2@github.com/o/r.git",
    PREFIX + "/hunter2@github.com/o/r.git",
    PREFIX + "/https%3A%2F%2Fbob%3Ahunter2%40github.com/o/r.git",
    PREFIX + "/https%253A%252F%252Fbob%253Ahunter2%2540github.com/o/r.git",
    PREFIX + "/a/b/http://bob:hunter2@h/x",
    PREFIX + "/ssh://bob:hunter2@h/x",
    "git@h:https://bob:hunter2@github.com/o/r.git",
    "ssh://git@h/https://bob:hunter2@github.com/o/r.git",
    "ssh://git@h/ssh://bob:hunter2@github.com/o/r.git",
    "/srv/https://bob:hunter2@github.com/o/r.git",
    "file:///srv/https://bob:hunter2@github.com/o/r.git",
    # in the path
    *(f"https://h/{token}/o/r.git" for token in TOKENS),
    *(f"git@h:{token}/o/r.git" for token in TOKENS),
    *(f"ssh://{token}@h/o/r.git" for token in TOKENS),
    "https://h/oauth2:hunter2/o/r.git",
    "https://h/x-access-token:hunter2/o/r.git",
    "https://h/o/r.git;private_token=hunter2",
    "https://h/token=hunter2/o/r.git",
    "https://h/o/r.git%3Faccess_token=hunter2",
    # in query and fragment
    "https://h/o/r.git?private_token=hunter2",
    "https://h/o/r.git?x=1&key=hunter2",
    "https://h/o/r.git?hunter2",
    "https://h/o/r.git#hunter2",
    "https://h/o/r.git#access_token=hunter2",
    "ssh://git@h/o/r.git?token=hunter2",
    # at the front, in forms that are not quite right
    "https://bob:hunter2%40h/o/r",
    "https://hunter2%40h/o/r",
    "https://h:hunter2/o/r",
    "https://h?token=hunter2/o/r",
    "https:bob:hunter2@h/o/r",
    "https:/bob:hunter2@h/o/r",
    "HTTPS://bob:hunter2@h/o/r",
])  # fmt: skip
def test_a_credential_anywhere_in_a_url_is_refused_and_not_repeated(address):
    with pytest.raises(ValueError, match=r"\w") as caught:
        giturl.parse(address, EVERY)
    for secret in ("hunter2", *TOKENS):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("address", [
    PREFIX + "/https://github.com/o/r.git",
    PREFIX + "/https:/github.com/o/r.git",
    PREFIX + "/github.com/o/r.git",
    PREFIX + "/ssh://git@github.com/o/r.git",
    "https://h/@scope/pkg.git",
    "https://h/~me@corp.example/repo.git",
    "https://h:3000/o/r@v2.git",
    "https://h/http:80/x",
    "https://h/gpg-tokens/key-of-the-house.git",
    "https://h/auth/token/sign.git",
    "ssh://git@h/a?b#c.git",
    "git@h:a@b/c:d",
    "/srv/a:b@c/x.git",
    "/srv/a@b.git?c#d",
])  # fmt: skip
def test_what_holds_no_credential_is_taken(address):
    giturl.parse(address, EVERY)


def test_a_payload_may_name_a_credential_that_a_task_may_not():
    text = PREFIX + "/https://bob:hunter2@github.com/o/r.git?a=b"
    assert giturl.normalised(text)[0] == "gh-proxy.example.org"
    assert cache_key(text) == cache_key(text)
