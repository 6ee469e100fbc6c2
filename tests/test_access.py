"""Which key and which pinned hosts are for which address."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gms_hookd import giturl
from gms_hookd.access import Keys


@dataclass(frozen=True)
class Entry:
    url: str
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None


ENTRIES = [
    Entry("ssh://h.example/team/app.git", Path("app")),
    Entry("ssh://h.example", Path("any"), Path("pins")),
    Entry("ssh://git@h.example/", Path("git")),
    Entry("ssh://h.example/team", Path("team")),
    Entry("ssh://h.example:2222/team", Path("port")),
    Entry("https://h.example/team", token_file=Path("token")),
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
    keys = Keys(Path("/home"), ENTRIES, Path("default"), Path("default-pins"))
    found = keys.identity(giturl.parse(address, ("ssh",)))
    assert (found.key, found.known_hosts) == (Path(key), Path(pins))


def test_without_any_the_files_of_our_home_are_used():
    found = Keys(Path("/home")).identity(giturl.parse("git@h.example:x", ("ssh",)))
    assert found.key == Path("/home/.ssh/id_ed25519")
    assert found.known_hosts == Path("/home/.ssh/known_hosts")
