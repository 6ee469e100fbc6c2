"""Which key and which pinned hosts are for which address."""

import os
from pathlib import Path

import pytest

from gms_hookd.git import url as giturl
from gms_hookd.git.credentials import Credential, CredentialStore, access
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.ssh import pinning

EVERY = ("https", "ssh")


def given(url, key=None, pins=None, **more):
    return Credential(url, ssh_key_file=key, ssh_known_hosts=pins, **more)


ENTRIES = [
    given("ssh://h.example/team/app.git", Path("app")),
    given("ssh://h.example", Path("any"), Path("pins")),
    given("ssh://git@h.example/", Path("git")),
    given("ssh://h.example/team", Path("team")),
    given("ssh://h.example:2222/team", Path("port")),
    given("https://h.example/team", token_file=Path("token")),
]


@pytest.mark.parametrize(
    ("address", "key", "pins"),
    [
        ("ssh://me@h.example/other", "any", "pins"),
        ("ssh://h.example/teams", "any", "pins"),
        ("ssh://git@h.example/other", "git", "pins"),
        ("git@h.example:other", "git", "pins"),
        ("git@H.example:/other", "git", "pins"),
        ("git@h.example:team/lib.git", "team", "pins"),
        ("ssh://git@h.example:22/team/lib.git", "team", "pins"),
        ("git@h.example:team/app.git", "app", "pins"),
        ("git@h.example:/team/app.git", "app", "pins"),
        ("ssh://h.example/team/app.git", "app", "pins"),
        ("ssh://git@h.example:2222/team/lib.git", "port", "default-pins"),
        ("ssh://git@h.example:2222/other", "default", "default-pins"),
        ("git@other.example:team/app.git", "default", "default-pins"),
    ],
)
def test_the_longest_prefix_has_the_key_and_the_longest_with_pins_the_pins(
    address, key, pins
):
    keys = CredentialStore(
        Path("/home"), ENTRIES, Path("default"), Path("default-pins")
    )
    found = keys.identity(giturl.parse(address, ("ssh",)))
    assert (found.key, found.known_hosts) == (Path(key), Path(pins))


def test_without_any_the_files_of_our_home_are_used():
    found = CredentialStore(Path("/home")).identity(
        giturl.parse("git@h.example:x", ("ssh",))
    )
    assert found.key == Path("/home/.ssh/id_ed25519")
    assert found.known_hosts == Path("/home/.ssh/known_hosts")


def pipe(path):
    os.mkfifo(path, 0o600)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir(mode=0o700)


def opened(path):
    path.write_text("s3cret\n")
    path.chmod(0o644)


def marked(path):
    path.write_bytes(b"\xef\xbb\xbfs3cret\n")
    path.chmod(0o600)


REPLACED = {
    pipe: "is not a regular file",
    device: "is not a regular file",
    folder: "is not a regular file",
    opened: "is open to others: chmod 600 ",
}


@pytest.mark.parametrize("kind", ["password_file", "token_file"])
@pytest.mark.parametrize("replaced", [*REPLACED, marked])
def test_a_secret_that_was_replaced_since_the_start_is_refused_at_once(
    tmp_path, kind, replaced
):
    secret = tmp_path / "secret"
    replaced(secret)
    entry = given("https://h.example/", username="bot", **{kind: secret})
    url = giturl.parse("https://h.example/team/app.git", ("https",))
    with pytest.raises(GitError) as refusal:
        access(url, CredentialStore(tmp_path, [entry]))
    assert refusal.value.kind is ErrorKind.CONFIG
    what = REPLACED.get(replaced, "holds a byte order mark")
    assert f'credentials."https://h.example/": {secret}: {what}' in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("replaced", REPLACED)
def test_an_ssh_key_that_was_replaced_since_the_start_is_refused_at_once(
    tmp_path, replaced
):
    key = tmp_path / "key"
    replaced(key)
    url = giturl.parse("git@h.example:team/app.git", ("ssh",))
    with pytest.raises(GitError) as refusal:
        access(url, CredentialStore(tmp_path, (), key, tmp_path / "pins"))
    assert str(refusal.value).startswith(f"ssh key: {key}: {REPLACED[replaced]}")


@pytest.mark.parametrize("replaced", REPLACED)
@pytest.mark.parametrize("kind", ["tls_key_file", "tls_cert_file"])
def test_a_tls_key_that_was_replaced_since_the_start_is_refused_at_once(
    tmp_path, kind, replaced
):
    cert = tmp_path / "cert"
    cert.touch(0o600)
    replaced(tmp_path / "key")
    files = {"tls_cert_file": cert, kind: tmp_path / "key"}
    entry = given("https://h.example", **files)
    url = giturl.parse("https://h.example/team/app.git", ("https",))
    with pytest.raises(GitError) as refusal:
        access(url, CredentialStore(tmp_path, [entry]))
    assert f"https://h.example: {kind}: {tmp_path}/key" in str(refusal.value)
    assert REPLACED[replaced] in str(refusal.value)


@pytest.mark.parametrize("replaced", [pipe, device, folder])
def test_what_is_no_file_of_host_keys_holds_up_nobody(tmp_path, replaced):
    replaced(tmp_path / "pins")
    url = giturl.parse("git@h.example:team/app.git", ("ssh",))
    assert pinning(url, tmp_path / "pins").startswith("ssh-keyscan h.example >> ")


@pytest.mark.parametrize("prefix", [
    "https://h.example/My%20Group", "https://h.example/My Group/",
    "https://h.example/%4dy%20Gro%75p", "https://H.example:443/My%20Group",
])  # fmt: skip
@pytest.mark.parametrize("address", [
    "https://h.example/My%20Group/app", "https://h.example/My Group/app.git",
    "HTTPS://h.example:443/My%20%47roup/app",
])  # fmt: skip
def test_a_prefix_and_a_url_meet_however_they_are_encoded(prefix, address):
    keys = CredentialStore(Path("/home"), [given(prefix, token_file=Path("token"))])
    assert len(keys.fitting(giturl.parse(address, ("https",)))) == 1


@pytest.mark.parametrize("prefix", [
    "https://h.example/My%2FGroup", "https://h.example/My%2520Group",
    "https://h.example/My", "https://h.example/my%20group",
])  # fmt: skip
def test_a_prefix_of_another_folder_does_not_meet(prefix):
    keys = CredentialStore(Path("/home"), [given(prefix, token_file=Path("token"))])
    url = giturl.parse("https://h.example/My%20Group/app", ("https",))
    assert keys.fitting(url) == []


def test_the_longest_prefix_is_the_longest_when_decoded():
    entries = [given("https://h/%61%62%63", username="a"), given("https://h/abc/d")]
    found = CredentialStore(Path("/home"), entries).fitting(
        giturl.parse("https://h/abc/d", EVERY)
    )
    assert found[-1] is entries[1]
