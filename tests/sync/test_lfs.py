"""Large files go along with git-lfs, and are missed aloud without it."""

import base64
import hashlib
import os
import shutil
import threading
from dataclasses import dataclass

import pytest

from gms_hookd.git import lfs
from gms_hookd.git.credentials import Credential
from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from tests.support.hosts import HttpHost
from tests.support.lfs import LfsServer
from tests.support.repositories import Bench, Repo, task

CONTENT = b"large " * 1000
OID = hashlib.sha256(CONTENT).hexdigest()
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{OID}\nsize {len(CONTENT)}\n"
)


def lfs_object(repo):
    return repo.path / "lfs" / "objects" / OID[:2] / OID[2:4] / OID


@pytest.fixture
def large(source):
    path = lfs_object(source)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    source.commit(files={".gitattributes": attributes, "a.bin": POINTER})
    return source


@pytest.fixture
def without_lfs(tmp_path):
    """Give a PATH with git, and no git-lfs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh"):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_large_files_go_before_the_refs(large, target, bench):
    seen = f"test -e {lfs_object(target)} || exit 1"
    target.hook("pre-receive", seen)
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert lfs_object(target).read_bytes() == CONTENT
    assert target.refs() == large.refs()


def test_pointers_are_counted_where_git_lfs_is_missing(
    large, target, tmp_path, without_lfs
):
    bench = Bench(tmp_path, {"PATH": without_lfs})
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert "warning: 1 LFS pointers were pushed without" in bench.log.text()
    assert target.refs() == large.refs()


def test_a_repository_without_large_files_hears_nothing_of_them(source, target, bench):
    bench.sync(task(source, target))
    assert "lfs" not in bench.log.text().lower()


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_a_repository_without_small_files_is_looked_through_by_one_git(
    target, opened, tmp_path
):
    source, counted = Repo(tmp_path / "plain.git"), []
    for ref in ("main", "dev"):
        source.commit(ref, files={"large": "x" * 5000})
    bench = opened(count=lambda command, _: counted.append(command))
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    assert (counted.count("rev-list"), counted.count("cat-file")) == (1, 0)


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
def test_a_repository_cannot_say_where_its_large_files_go(
    large, target, bench, http_host
):
    elsewhere = f"[lfs]\n\turl = {http_host.base}/\n\tpushurl = {http_host.base}/\n"
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    large.commit(files={".lfsconfig": elsewhere, ".gitattributes": attributes})
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert http_host.requests == []
    assert lfs_object(target).read_bytes() == CONTENT


needs_lfs = pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs")
ME = ("-c", "user.name=t", "-c", "user.email=t@example.org")
ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


def pointer(data):
    oid = hashlib.sha256(data).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\n"
    return f"{text}size {len(data)}\n"


def at_root(repo):
    repo.commit(files={".gitattributes": ATTRIBUTES, "a.bin": pointer(b"1")})


def in_a_folder(repo):
    repo.commit(
        files={"as/sets/.gitattributes": ATTRIBUTES, "as/sets/a.bin": pointer(b"1")}
    )


def in_history_only(repo):
    in_a_folder(repo)
    tree = repo.git("mktree", stdin=b"").strip()
    repo.set(main=commit(repo, tree, repo.tip()))


def commit(repo, tree, *parents):
    before = (word for parent in parents for word in ("-p", parent))
    made = ("commit-tree", tree, *before, "-m", "made")
    return repo.git(*ME, *made).strip()


def without_attributes(repo):
    repo.commit(files={"a.bin": pointer(b"1")})


def on_a_tag(repo):
    at_root(repo)
    repo.git(*ME, "tag", "-a", "-m", "t", "v1", repo.tip())
    repo.set(main=repo.commit("other", on=f"{repo.tip()}~1"))


def in_a_merge(repo):
    base = repo.tip()
    side = repo.commit("side", on=base)
    main = repo.commit("main", on=base)
    entry = f"100644 blob {blob(repo)}\ta.bin\n".encode()
    tree = repo.git("mktree", stdin=entry).strip()
    repo.set(main=commit(repo, tree, main, side))


def blob(repo):
    text = pointer(b"1").encode()
    return repo.git("hash-object", "-w", "--stdin", stdin=text).strip()


WHERE = (
    at_root,
    in_a_folder,
    in_history_only,
    without_attributes,
    on_a_tag,
    in_a_merge,
)


@pytest.mark.parametrize(
    ("where", "later"),
    [*((where, True) for where in WHERE), (in_a_folder, False), (in_a_merge, False)],
)
def test_pointers_are_counted_wherever_they_are(
    source, target, tmp_path, without_lfs, where, later
):
    bench = Bench(tmp_path, {"PATH": without_lfs})
    it = task(source, target, force=True)
    if later:
        target.commit("theirs")
        assert bench.sync(it).status is RunStatus.SUCCESS
    where(source)
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    said = [line for line in bench.log.text().split("\n") if "LFS" in line]
    assert said == [
        "the commits point to 1 LFS objects",
        "warning: 1 LFS pointers were pushed without their objects: install git-lfs",
    ]
    source.commit(files={"readme": "see https://git-lfs.github.com/spec/v1\n"})
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert "LFS" not in bench.log.text()


def test_nobody_looks_for_pointers_where_lfs_is_off(
    large, target, tmp_path, without_lfs
):
    bench = Bench(tmp_path, {"PATH": without_lfs}, lfs="off")
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS
    assert "LFS" not in bench.log.text()


def test_strict_pushes_nothing_that_would_point_nowhere(
    large, target, tmp_path, without_lfs
):
    bench = Bench(tmp_path, {"PATH": without_lfs}, lfs="strict")
    outcome = bench.sync(task(large, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "1 LFS objects cannot be carried" in outcome.error_message
    assert "install git-lfs" in outcome.error_message
    assert target.refs() == {}


@dataclass
class Ends:
    """A source and a target at hosts of their own, each with an LFS server."""

    hosts: list
    servers: list
    task: object
    bench: object
    source: object
    target: object
    credentials: list

    def sync(self):
        return self.bench.sync(self.task)


@pytest.fixture
def ends(tmp_path, opened):
    """Make a source with one large file, and a target, by http with passwords."""
    made = []

    def make(settings=None, **server):
        hosts = [HttpHost(tmp_path / name) for name in ("from", "to")]
        made.extend(hosts)
        servers = [LfsServer(host, **server) for host in hosts]
        repos = [Repo(tmp_path / name / "app.git") for name in ("from", "to")]
        repos[0].commit()
        oid = servers[0].put(CONTENT)
        repos[0].commit(files={"in/.gitattributes": ATTRIBUTES, "in/a.bin": POINTER})
        assert oid == OID
        (tmp_path / "secret").write_text(CANARY)
        (tmp_path / "secret").chmod(0o600)
        for host in hosts:
            host.let_in("bot", CANARY)
        credentials = [
            Credential(h.base, "bot", tmp_path / "secret", None) for h in hosts
        ]
        bench = opened(credentials=credentials, **(settings or {}))
        it = task(*(h.url(r) for h, r in zip(hosts, repos, strict=True)))
        return Ends(hosts, servers, it, bench, *repos, credentials)

    yield make
    for host in made:
        host.stop()


CANARY = "s3cr3t-c4n4ry'\"$x%"
SIGNED = "5i9n4tur3c4n4ry"
OWN = "Basic " + base64.b64encode(b"lfs:t0k3n-0f-th3-s3rv3r").decode()


@needs_lfs
@pytest.mark.parametrize("server", [
    {}, {"own": OWN}, {"signed": SIGNED},
], ids=["plain", "own authorization", "signed"])  # fmt: skip
def test_objects_go_from_server_to_server_with_one_authorization(
    ends, server, tmp_path
):
    pair = ends(**server)
    assert pair.sync().status is RunStatus.SUCCESS, pair.bench.log.text()
    assert pair.servers[1].objects == {OID: CONTENT}
    assert "warning" not in pair.bench.log.text()
    verbs = [[verb for verb, _ in s.storage] for s in pair.servers]
    assert verbs == [["GET"], ["PUT"]]
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "secret"]
    for text in (CANARY, SIGNED, OWN.removeprefix("Basic ")):
        assert text not in pair.bench.log.text()
        assert [p for p in left if text.encode() in p.read_bytes()] == []


@needs_lfs
def test_a_commit_without_large_files_asks_no_lfs_server(ends):
    pair = ends()
    pair.sync()
    asked = [len(server.batches) for server in pair.servers]
    Repo(pair.hosts[0].root / "app.git").commit(files={"b": "text"})
    assert pair.sync().status is RunStatus.SUCCESS
    assert [len(server.batches) for server in pair.servers] == asked


@needs_lfs
@pytest.mark.parametrize(("status", "message"), [
    (403, "LFS needs a paid plan"), (404, "Not Found"), (501, ""),
])  # fmt: skip
def test_a_target_without_lfs_gets_its_branches_and_a_warning(ends, status, message):
    pair = ends()
    pair.servers[1].refuse("upload", status, message)
    outcome = pair.sync()
    assert outcome.status is RunStatus.SUCCESS, pair.bench.log.text()
    assert pair.target.tip()
    [warning] = [x for x in pair.bench.log.text().split("\n") if "warning" in x]
    assert "1 LFS pointers were pushed without" in warning
    assert str(status) in warning
    assert message in warning


@needs_lfs
def test_strict_keeps_branches_from_a_target_without_lfs(ends):
    pair = ends({"lfs": "strict"})
    pair.servers[1].refuse("upload", 403, "LFS needs a paid plan")
    outcome = pair.sync()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "LFS needs a paid plan (HTTP 403)" in outcome.error_message
    assert pair.target.refs() == {}


@needs_lfs
@pytest.mark.parametrize(("what", "answers"), [
    ("upload", {500: True, 503: True, 429: True, 0: True, 422: False, 401: False}),
    ("download", {503: True, 403: False}),
    ("storage", {502: True, 507: True, 413: False}),
])  # fmt: skip
def test_other_failures_of_lfs_are_failures_before_the_refs(ends, what, answers):
    pair = ends()
    for status, transient in answers.items():
        server = pair.servers[what != "download"]
        server.refuse(what, status, "sorry, said the host")
        outcome = pair.sync()
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, transient)
        assert pair.target.refs() == {}
        if status not in (0, 401):
            assert f"sorry, said the host (HTTP {status})" in outcome.error_message
        server.refusals.clear()
    assert pair.sync().status is RunStatus.SUCCESS, pair.bench.log.text()
    assert pair.servers[1].objects == {OID: CONTENT}


@needs_lfs
@pytest.mark.parametrize(("status", "message"), [
    (403, "You have exceeded a secondary rate limit"), (404, "Under maintenance"),
])  # fmt: skip
def test_an_lfs_server_in_trouble_is_not_taken_for_none(ends, status, message):
    pair = ends()
    pair.servers[1].refuse("upload", status, message)
    outcome = pair.sync()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert message in outcome.error_message
    assert pair.target.refs() == {}


HERE = b"here " * 500


def with_another(repo):
    """Add a commit whose large file is not lost."""
    return repo.commit(
        files={"in/.gitattributes": ATTRIBUTES, "in/b.bin": pointer(HERE)}
    )


@needs_lfs
def test_an_object_that_a_local_source_lacks_is_a_warning(large, target, bench):
    lfs_object(large).unlink()
    here = hashlib.sha256(HERE).hexdigest()
    place = large.path / "lfs" / "objects" / here[:2] / here[2:4] / here
    place.parent.mkdir(parents=True)
    place.write_bytes(HERE)
    with_another(large)
    assert bench.sync(task(large, target)).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == large.refs()
    [warning] = [x for x in bench.log.text().split("\n") if "warning" in x]
    assert (
        "1 LFS pointers were pushed without their objects: the source lacks" in warning
    )
    assert OID in warning
    assert list((target.path / "lfs").rglob(here))


@needs_lfs
def test_an_object_that_a_server_lacks_is_a_warning(ends):
    pair = ends()
    pair.servers[0].objects.clear()
    here = pair.servers[0].put(HERE)
    with_another(pair.source)
    assert pair.sync().status is RunStatus.SUCCESS, pair.bench.log.text()
    assert pair.target.refs() == pair.source.refs()
    [warning] = [x for x in pair.bench.log.text().split("\n") if "warning" in x]
    assert f"the source lacks {OID}" in warning
    assert pair.servers[1].objects == {here: HERE}


@needs_lfs
def test_an_object_that_is_lacking_is_a_failure_where_strict(ends):
    pair = ends({"lfs": "strict"})
    pair.servers[0].objects.clear()
    outcome = pair.sync()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert f"(sync.lfs is strict): the source lacks {OID}" in outcome.error_message
    assert pair.target.refs() == {}


@needs_lfs
def test_an_object_that_is_lacking_hides_no_other_failure(ends):
    pair = ends()
    pair.servers[0].objects.clear()
    pair.servers[0].put(HERE)
    with_another(pair.source)
    pair.servers[0].refuse("storage", 503, "sorry")
    outcome = pair.sync()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert pair.target.refs() == {}


@needs_lfs
def test_large_files_of_very_many_tips_are_carried_in_parts(ends, monkeypatch):
    monkeypatch.setattr(lfs, "TIPS", 2)
    pair = ends()
    source = Repo(pair.hosts[0].root / "app.git")
    data = [f"large file {n}".encode() for n in range(5)]
    for number, each in enumerate(data):
        pair.servers[0].put(each)
        source.commit(f"b{number}", files={"b.bin": pointer(each)})
    assert pair.sync().status is RunStatus.SUCCESS, pair.bench.log.text()
    assert set(pair.servers[1].objects.values()) == {CONTENT, *data}


@needs_lfs
def test_what_git_lfs_writes_down_is_removed(ends, tmp_path):
    pair = ends(signed=SIGNED)
    pair.servers[1].refuse("upload", 503, "not now")
    pair.sync()
    assert list(tmp_path.glob("caches/*/lfs/logs/*")) == []
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "secret"]
    assert [p for p in left if CANARY.encode() in p.read_bytes()] == []


@needs_lfs
def test_a_target_by_ssh_without_lfs_gets_its_branches(large, target, opened, sshd):
    bench = opened(ssh_key_file=sshd.key, ssh_known_hosts=sshd.known_hosts)
    outcome = bench.sync(task(large, sshd.url(target)))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == large.refs()
    assert "the target has no LFS: " in bench.log.text()


@needs_lfs
def test_two_runs_do_not_bring_one_object_at_once(ends, tmp_path):
    pair = ends()
    found = []

    def work(number):
        own = Repo(tmp_path / "to" / f"{number}.git")
        it = task(pair.task.source, pair.hosts[1].url(own), id=number)
        found.append(Bench(tmp_path, engine=pair.bench.engine).sync(it).status)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [RunStatus.SUCCESS] * 3
    assert pair.servers[1].objects == {OID: CONTENT}


def test_large_files_that_nobody_brought_for_a_week_leave_the_cache(
    large, target, bench
):
    bench.sync(task(large, target))
    cache = bench.caches / cache_key(str(large))
    kept = [cache / "lfs/objects/ab/cd" / name for name in ("old", "new")]
    kept[0].parent.mkdir(parents=True, exist_ok=True)
    for path in kept:
        path.touch()
    os.utime(kept[0], (0, 0))
    os.utime(cache / "tidied", (0, 0))
    bench.engine.maintain([str(large)])
    assert [path.exists() for path in kept] == [False, True]
