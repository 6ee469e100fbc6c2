"""A repository of thousands of commits, mirrored whole, and again under each policy."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import Repo, task
from tests.support.seen import CANARY

COMMITS = 2500
BRANCHES = 120
TAGS = 30  # of each kind


def branch(n):
    return f"refs/heads/team{n % 10}/fön-{n}" if n else "refs/heads/main"


def history():
    """Write a fast-import stream: branches, merges, tags of both kinds, odd names."""
    for n in range(1, COMMITS + 1):
        yield f"commit {branch(n % BRANCHES)}\nmark :{n}\n"
        yield f"committer Ümit <u@example.org> {n} +0130\ndata 6\nnötig\n"
        yield f"from :{n - 1}\n" if n > 1 else ""
        yield f"merge :{n - 40}\n" if n > 40 and n % 9 == 0 else ""
        yield f"M 100644 inline d{n % 30}/e{n % 7}/f{n % 90}\ndata 10\n{n:010}\n"
    for n in range(TAGS):
        yield f"reset refs/tags/light/{n}\nfrom :{n * 80 + 50}\n\n"
        yield f"tag v{n}\nfrom :{n * 80 + 50}\ntagger t <t@e.org> 1 +0000\ndata 1\nv\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    repo = Repo(tmp_path_factory.mktemp("model") / "model.git")
    repo.git("fast-import", "--quiet", stdin="".join(history()).encode())
    repo.git("pack-refs", "--all")
    return repo


def copy(repo, path):
    shutil.copytree(repo.path, path)
    return Repo(path)


@pytest.fixture
def source(model, tmp_path):
    return copy(model, tmp_path / "source.git")


@dataclass
class Account:
    url: str
    username: str
    password_file: Path
    token_file: None = None
    tls_cert_file: None = None
    tls_key_file: None = None
    ca_file: None = None
    allow_fsck: tuple = ()


@pytest.fixture
def host(request, tmp_path):
    """Give what makes URLs for a host, and what the engine needs to get in."""
    if request.param == "file":
        return str, {}
    if request.param == "ssh":
        sshd = request.getfixturevalue("sshd")
        keys = {"ssh_key_file": sshd.key, "ssh_known_hosts": sshd.known_hosts}
        return sshd.url, keys
    host = request.getfixturevalue("http_host")
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text(f"of the bot {CANARY}")
    host.let_in("bot", f"of the bot {CANARY}")
    account = Account(host.base, "bot", tmp_path / "password")
    return host.url, {"credentials": [account]}


@pytest.fixture
def address(host):
    return host[0]


@pytest.fixture
def bench(host, opened):
    return opened(**host[1])


def for_each_ref(repo):
    return repo.git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")


@pytest.mark.parametrize("host", ["file", "http", "ssh"], indirect=True)
def test_a_whole_repository_arrives_identical_at_an_empty_target(
    source, target, bench, address
):
    outcome = bench.sync(task(address(source), address(target)))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert for_each_ref(target) == for_each_ref(source)
    assert len(target.refs()) == BRANCHES + 2 * TAGS
    assert target.git("rev-list", "--all", "--count").strip() == str(COMMITS)
    target.fsck()


FORWARD, MADE = branch(0), "refs/heads/made"
REWOUND = [branch(n) for n in range(1, 5)]
GONE = [branch(n) for n in range(5, 9)] + ["refs/tags/light/9", "refs/tags/v9"]
FOLDER, INSIDE = branch(11), branch(11) + "/inside"
MOVED = ["refs/tags/light/1", "refs/tags/light/2", "refs/tags/v1", "refs/tags/v2"]
OVERTAKEN, CONTESTED, THEIRS = branch(12), branch(13), "refs/heads/theirs"


def upheaval(source, target):
    """Let happen to the refs of both sides whatever may."""
    first = source.git("rev-list", "--max-parents=0", FORWARD).strip()
    source.put(dict.fromkeys([*GONE, FOLDER, CONTESTED]))
    source.put(dict.fromkeys([*REWOUND, *MOVED], first) | {INSIDE: first})
    source.commit(FORWARD)
    source.commit(MADE, on=first)
    target.commit(OVERTAKEN, CONTESTED)
    target.commit(THEIRS, on=first)


def allowed(before, now, *, force, prune):
    """Say what a target may look like after a run under a policy."""
    taken = [FORWARD, MADE]
    taken += [*REWOUND, *MOVED, OVERTAKEN] if force else []
    taken += [INSIDE] if prune else []
    gone = [*GONE, FOLDER, THEIRS] if prune else []
    gone += [CONTESTED] if prune and force else []
    kept = {ref: oid for ref, oid in before.items() if ref not in gone}
    return kept | {ref: now[ref] for ref in taken}


@pytest.mark.parametrize(
    ("host", "force", "prune"),
    [
        ("file", False, False),
        ("file", True, True),
        ("http", True, False),
        ("ssh", False, True),
    ],
    indirect=["host"],
)
def test_rewinds_deletions_swaps_and_moved_tags_go_as_far_as_the_policy_lets_them(
    model, source, tmp_path, bench, address, force, prune
):
    target = copy(model, tmp_path / "target.git")
    it = task(address(source), address(target), force=force, prune=prune)
    assert bench.sync(it).status is RunStatus.SUCCESS
    upheaval(source, target)
    before = target.refs()
    outcome = bench.sync(it)
    expected = allowed(before, source.refs(), force=force, prune=prune)
    assert target.refs() == expected, bench.log.text()
    if force and prune:
        assert outcome.status is RunStatus.SUCCESS
        assert for_each_ref(target) == for_each_ref(source)
    else:
        assert outcome.status is RunStatus.CONFLICT
    cache = Repo(bench.caches / cache_key(it.source))
    kept_all_that_went(outcome, before, cache)
    assert bench.sync(it, verify=True).commit_range == ""
    assert target.refs() == expected
    target.fsck()
    cache.fsck()


def kept_all_that_went(outcome, before, cache):
    went = (RefResult.FORCED, RefResult.DELETED)
    lost = {r.ref: before[r.ref] for r in outcome.refs if r.result in went}
    kept = {ref: oid for ref, oid, _ in outcome.pinned}
    assert kept == lost
    assert kept.items() <= {r: cache.refs()[k] for r, _, k in outcome.pinned}.items()
