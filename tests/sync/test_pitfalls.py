"""What mirrors commonly trip over, one by one; see test_mirror and others for more."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gms_hookd.git.refspec import FORGES_OWN
from gms_hookd.git.url import cache_key
from gms_hookd.model import RefResult, RunStatus
from gms_hookd.sync.job import REFUSED, SyncJob
from tests.support.repositories import Bench, Repo, task


def cache_of(bench, repo):
    return Repo(bench.caches / cache_key(str(repo)))


def hidden(target):
    target.git("config", "receive.hideRefs", "refs/pull")


# refs, refused updates, atomicity


def test_forges_own_refs_are_not_pushed_even_by_a_glob_over_all(source, target, bench):
    hidden(target)
    tip = source.tip()
    own = dict.fromkeys((f"refs/{name}/1/head" for name in FORGES_OWN), tip)
    source.put(own | {"refs/notes/commits": tip})
    it = task(source, target, "refs/*:refs/*")
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert set(target.refs()) == {"refs/heads/main", "refs/notes/commits"}


def test_one_hidden_ref_does_not_stop_the_others(source, target, bench):
    hidden(target)
    source.put({"refs/pull/1/head": source.tip()})
    it = task(source, target, "refs/pull/*:refs/pull/*", "main:main")
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "deny updating a hidden ref" in outcome.error_message
    assert target.refs() == {"refs/heads/main": source.tip()}
    tips = {ref: oid for ref, oid in bench.known.items() if oid != REFUSED}
    assert tips == target.refs(), "what moved is remembered all the same"
    assert bench.sync(it).status is RunStatus.FAILED


def test_a_push_is_never_atomic_nor_a_mirror(source, target, bench):
    bench.sync(task(source, target, prune=True, force=True))
    words = bench.log.text().split()
    assert not {"--atomic", "--mirror", "--force", "--force-if-includes"} & set(words)


def test_a_policy_of_the_target_is_not_tried_again(source, target, bench):
    target.hook("pre-receive", "echo GH006: protected branch >&2; exit 1")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    said = "pre-receive hook declined; the host says: GH006: protected branch"
    assert outcome.error_message == f"refs/heads/main: {said}"
    assert outcome.refs[0].reason == said


@pytest.mark.parametrize("why", [
    "GH013: pushes can not update more than 5 branches or tags",
    "GH001: Large files detected: a.bin is 101.00 MB",
    "You have exceeded your quota",
])  # fmt: skip
def test_a_limit_of_the_target_is_told_and_not_tried_again(source, target, bench, why):
    source.commit(*(f"b{n}" for n in range(7)))
    target.hook("pre-receive", f'cat >/dev/null; echo "{why}" >&2; exit 1')
    outcome = bench.sync(task(source, target, "refs/heads/b*:refs/heads/b*"))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert why in outcome.error_message
    assert target.refs() == {}


@pytest.mark.parametrize("before", ["fetch", "push"])
@pytest.mark.parametrize("rewind", [False, True])
def test_a_source_that_moves_while_it_is_read_is_taken_as_it_was_fetched(
    source, target, tmp_path, before, rewind
):
    it = task(source, target, force=True)
    Bench(tmp_path).sync(it)
    first = source.tip()
    moved = source.commit("later", on=None if rewind else first)
    source.commit("a")
    moving = tmp_path / "moving-git"
    moving.write_text(
        f'#!/bin/sh\ncase " $* " in *" {before} "*)'
        f" git --git-dir={source} update-ref refs/heads/main {moved};; esac\n"
        'exec git "$@"\n'
    )
    moving.chmod(0o755)
    bench = Bench(tmp_path, binary=str(moving))
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.tip() == (moved if before == "fetch" else first)
    assert bench.known == target.refs()
    assert bench.sync(it, verify=True).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_a_ref_that_is_already_right_is_unchanged_whatever_we_remember(
    source, target, bench
):
    it = task(source, target, "main:main")
    bench.sync(it)
    bench.known = {"refs/heads/main": "1" * 40}
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS
    assert [r.result for r in outcome.refs] == [RefResult.UNCHANGED]


def test_a_plan_is_read_not_tried(source, target, bench):
    bench.engine.plan(SyncJob(task(source, target)), bench.log, bench.stop)
    assert "git push" not in bench.log.text()


def test_names_that_end_alike_are_not_mixed_up(source, target, bench):
    for repo in (source, target):
        repo.commit("refs/heads/main", "refs/heads/refs/heads/main", "foo/main")
    outcome = bench.sync(task(source, target, "main:new"))
    assert outcome.status is RunStatus.SUCCESS
    assert target.tip("new") == source.tip("main")


def test_a_missing_branch_fails_once_and_leaves_the_target(source, target, bench):
    it = task(source, target, "main:main")
    bench.sync(it)
    source.commit("other")
    source.set(main=None)
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "the source has no refs/heads/main" in outcome.error_message
    assert "refs/heads/main" in target.refs()


# prune, empty source, default branch


def test_a_branch_that_is_gone_on_both_sides_is_no_failure(source, target, bench):
    source.commit("a", "b")
    it = task(source, target, prune=True)
    bench.sync(it)
    source.set(a=None)
    target.set(a=None)
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert bench.known == target.refs() == source.refs()


def test_remote_tracking_refs_are_not_mirrored(source, target, bench):
    source.put({"refs/remotes/origin/x": source.tip()})
    source.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/x")
    bench.sync(task(source, target))
    assert set(target.refs()) == {"refs/heads/main"}


def test_two_tasks_in_a_circle_come_to_rest(source, target, tmp_path):
    there, back = (Bench(tmp_path), Bench(tmp_path))
    forward, backward = task(source, target), task(target, source, id=2)
    there.sync(forward)
    source.commit()
    there.sync(forward)
    assert back.sync(backward).commit_range == ""
    assert there.sync(forward).commit_range == ""


def test_pruning_branches_spares_the_targets_own_tags(source, target, bench):
    source.put({"refs/heads/old": source.tip(), "refs/tags/v1": source.tip()})
    it = task(source, target, "refs/heads/*:refs/heads/*", prune=True)
    target.commit("refs/tags/own")
    bench.sync(it)
    source.put({"refs/heads/old": None})
    bench.sync(it)
    assert set(target.refs()) == {"refs/heads/main", "refs/tags/own"}


def test_a_source_in_which_nothing_was_ever_committed_is_held_back(
    tmp_path, target, bench
):
    target.commit()
    before = target.refs()
    empty = Repo(tmp_path / "empty.git")
    for prune in (False, True):
        outcome = bench.sync(task(empty, target, prune=prune))
        assert outcome.status is RunStatus.CONFLICT
        assert "the source has none of the selected refs" in outcome.error_message
    assert target.refs() == before


# objects, size, speed


def test_a_shallow_source_says_so(source, target, bench, tmp_path):
    for _ in range(3):
        source.commit()
    shallow = Repo(tmp_path / "shallow.git")
    shallow.git("fetch", "-q", "--depth=1", f"file://{source}", "main:main")
    outcome = bench.sync(task(shallow, target))
    assert outcome.status is RunStatus.FAILED
    complete = f"a shallow clone: complete it: git -C {shallow} fetch --unshallow"
    assert outcome.error_message.endswith(complete)
    assert target.refs() == {}


def test_a_partial_source_says_so(source, target, bench, tmp_path):
    source.commit(files={"left-out": "x"})
    source.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial.git"
    options = ("-q", "--bare", "--filter=blob:none")
    source.git("clone", *options, f"file://{source}", str(partial), at=None)
    outcome = bench.sync(task(partial, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert outcome.error_message.endswith("clone it again without --filter")
    assert target.refs() == {}


def test_a_history_that_a_source_has_cut_off_says_so(source, target, bench):
    tip = source.commit()
    (source.path / "info").mkdir(exist_ok=True)
    (source.path / "info/grafts").write_text(f"{tip}\n")
    outcome = bench.sync(task(source, target))
    assert "did not receive expected object" in outcome.error_message


def test_a_cache_is_full_and_holds_packs_only(source, target, bench):
    for _ in range(5):
        source.commit()
        bench.sync(task(source, target))
    cache = cache_of(bench, source)
    counts = cache.git("count-objects", "-v").split()
    assert counts[counts.index("count:") + 1] == "0"
    assert "promisor" not in (cache.path / "config").read_text()


def test_one_branch_brings_no_tags(source, target, bench):
    source.put({"refs/tags/v1": source.tip()})
    bench.sync(task(source, target, "main:main"))
    assert set(cache_of(bench, source).refs()) == {"refs/src/heads/main"}


def test_broken_objects_are_refused(source, target, bench):
    blob = source.git("hash-object", "-w", "--stdin", stdin=b"x").strip()
    entry = b"100644 .git\0" + bytes.fromhex(blob)
    write = ("hash-object", "-t", "tree", "-w", "--literally", "--stdin")
    tree = source.git(*write, stdin=entry).strip()
    words = f"tree {tree}\nauthor t <t> 1 +0000\ncommitter t <t> 1 +0000\n\nx\n"
    commit = source.git(
        "hash-object", "-t", "commit", "-w", "--stdin", stdin=words.encode()
    )
    source.put({"refs/heads/bad": commit.strip()})
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert target.refs() == {}


def test_objects_that_the_target_does_not_take_are_not_tried_again(
    http_host, source, target, opened
):
    target.git("config", "receive.fsckObjects", "true")
    words = (
        f"tree {source.git('rev-parse', 'main^{tree}').strip()}\n"
        "author t <t> 1 +051800\ncommitter t <t@e.org> 1 +0000\n\nx\n"
    )
    write = ("hash-object", "-t", "commit", "-w", "--literally", "--stdin")
    odd = source.git(*write, stdin=words.encode()).strip()
    source.put({"refs/heads/odd": odd})
    for url in (str(target), http_host.url(target)):
        bench = opened()
        outcome = bench.sync(task(source, url))
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
        assert "badTimezone" in bench.log.text()
        assert "refs/heads/odd" not in target.refs()


def test_the_words_of_the_unpacker_are_the_reason(http_host, source, target, opened):
    source.commit(files={"big": os.urandom(5000).hex()})
    target.git("config", "receive.maxInputSize", "100")
    for url in (str(target), http_host.url(target)):
        outcome = opened().sync(task(source, url))
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
        assert "pack exceeds maximum allowed size" in outcome.error_message


def test_no_gc_starts_behind_our_back_in_a_cache(source, target, bench):
    it = task(source, target)
    bench.sync(it)
    cache = cache_of(bench, source)
    cache.git("config", "gc.autoPackLimit", "1")
    cache.git("config", "gc.autoDetach", "false")
    for _ in range(3):
        source.commit()
        bench.sync(it)
    assert len(list((cache.path / "objects/pack").glob("*.pack"))) == 4


def test_a_gc_that_a_local_target_wants_ends_within_the_run(source, target, bench):
    target.git("config", "maintenance.strategy", "gc")  # not so from git 2.54 on
    target.git("config", "gc.autoPackLimit", "1")
    target.git("config", "receive.unpackLimit", "1")
    for _ in range(3):
        source.commit()
        bench.sync(task(source, target))
    assert len(list((target.path / "objects/pack").glob("*.pack"))) == 1
    assert not list(target.path.glob("gc.*"))


# credentials, URLs, trust


@pytest.mark.parametrize("url", [
    "--upload-pack=touch {canary}", "-oProxyCommand=touch {canary}",
    "ext::sh -c touch% {canary}", "ssh://-oProxyCommand=touch {canary}/x",
    "-oProxyCommand=touch\t{canary}:x", "host:-x", "fd::3", "git://host/x",
    "https://user:password@host/x", "https://token@host/x", "relative/path",
    "https://host/x\nfetch", "https://ho st/x", "https:///x", "https://host",
    "ssh://h/x%0ay", "file://host/x", "https://host:99999/x", "",
])  # fmt: skip
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_hostile_url_is_refused_before_git_sees_it(
    source, target, bench, tmp_path, url, side
):
    canary = tmp_path / "canary"
    urls = {"source": str(source), "target": str(target)}
    urls[side] = url.format(canary=canary)
    outcome = bench.sync(task(**urls))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert outcome.error_message.startswith(side)
    assert "password" not in outcome.error_message.replace("user or password", "")
    assert bench.commands() == []
    assert not canary.exists()


@pytest.mark.parametrize("spec", [
    "-x", "a..b", "a b", "x.lock", "a:b:c", "@{-1}", "a~1", "refs/heads/*:refs/x",
    "**", ":x", "x:", "^", "refs/heads/-x", "HEAD", "a\nb", "--all", "a//b",
])  # fmt: skip
def test_a_hostile_refspec_is_refused_before_git_sees_it(source, target, bench, spec):
    outcome = bench.sync(task(source, target, spec))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "refspec" in outcome.error_message
    assert bench.commands() == []


def test_odd_names_of_a_source_are_only_names(source, target, bench):
    tip = source.tip()
    odd = ("refs/heads/-x", "refs/heads/HEAD", "refs/heads/A", "refs/heads/a")
    source.put(dict.fromkeys(odd, tip))
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_the_users_configuration_is_not_read(source, target, tmp_path):
    home = tmp_path / "user"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "/nowhere"]\n\tinsteadOf = {source}\n[core]\n\thooksPath = {home}\n'
    )
    given = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_DIR": "/nowhere",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url./nowhere.insteadOf={source}",
        "GIT_TRACE": "1",
        "LANG": "zh_CN.UTF-8",
        "LC_ALL": "zh_CN.UTF-8",
    }
    bench = Bench(tmp_path, given)
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS


def test_a_host_that_wants_a_password_is_not_waited_for(
    http_host, source, target, opened
):
    http_host.let_in("someone", "else")
    outcome = opened().sync(task(http_host.url(source), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "no credentials, or they were refused" in outcome.error_message


def test_a_repository_that_is_not_there_may_also_be_closed_to_us(
    http_host, target, opened, tmp_path
):
    outcome = opened().sync(task(http_host.url(tmp_path / "none.git"), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "missing, or no access" in outcome.error_message


@pytest.mark.parametrize("status", [401, 403])
def test_rights_that_end_half_way_are_an_authentication_failure(
    http_host, source, target, opened, status
):
    def fault(request):
        push = request.command == "POST" and "receive-pack" in request.path
        if push:
            request.answer(status, {"WWW-Authenticate": 'Basic realm="x"'})
        return push

    http_host.faults.append(fault)
    bench = opened()
    outcome = bench.sync(task(http_host.url(source), http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert bench.known == target.refs() == {}


# kill, timeout, locks


def test_hooks_in_a_cache_do_not_run_those_of_a_target_do(source, target, bench):
    it = task(source, target)
    bench.sync(it)
    cache = cache_of(bench, source)
    for name in ("reference-transaction", "pre-push", "post-fetch"):
        cache.hook(name, f"touch {cache.path}/ran")
    target.hook("post-receive", f"touch {target.path}/ran")
    source.commit()
    bench.sync(it)
    assert not (cache.path / "ran").exists()
    assert (target.path / "ran").exists()


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_host_in_trouble_is_transient(http_host, source, target, opened, status):
    http_host.faults.append(lambda r: r.answer(status) or True)
    outcome = opened().sync(task(http_host.url(source), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)


@pytest.mark.parametrize("words", [
    "Gitea: Internal Server Error", "GitLab: Internal API unreachable",
    "The repository is temporarily read-only. Please try again later.",
])  # fmt: skip
def test_trouble_that_a_hook_tells_of_is_transient(source, target, bench, words):
    target.hook("pre-receive", f"echo {words!r}; exit 1")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert words in outcome.error_message


# proc-receive is how Gerrit-like hosts say "ng" with words of their own.
PROC_RECEIVE = r"""
import sys
i, o = sys.stdin.buffer, sys.stdout.buffer
def read():
    size = int(i.read(4), 16)
    return i.read(size - 4) if size else None
def write(text): o.write(b"%04x" % (len(text) + 4) + text); o.flush()
while read(): pass
write(b"version=1\n"); o.write(b"0000"); o.flush()
refs = []
while line := read(): refs.append(line.split()[2])
for ref in refs: write(b"ng " + ref + b" " + sys.argv[1].encode() + b"\n")
o.write(b"0000"); o.flush()
"""


@pytest.mark.parametrize(("words", "passes"), [
    ("Internal Server Error", True), ("failure", True), ("lock error: x", True),
    ("rate limit exceeded", True), ("prohibited by Gerrit: not permitted", False),
    ("not authorized", False),
])  # fmt: skip
def test_a_refusal_is_judged_by_the_words_in_its_brackets(
    source, target, bench, tmp_path, words, passes
):
    target.git("config", "receive.procReceiveRefs", "refs/heads")
    script = tmp_path / "proc-receive.py"
    script.write_text(PROC_RECEIVE)
    target.hook("proc-receive", f"exec {sys.executable} {script} {words!r}\n")
    outcome = bench.sync(task(source, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, passes)
    assert words in outcome.error_message


@pytest.mark.parametrize(("status", "passes"), [(503, True), (502, True), (407, False)])
def test_what_a_proxy_answers_to_connect_is_the_proxys_trouble(
    target, opened, status, passes
):
    host = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    host.status = status
    thread = threading.Thread(target=host.serve_forever, args=(0.01,))
    thread.start()
    proxy = {"https_proxy": f"http://127.0.0.1:{host.server_port}", "no_proxy": ""}
    try:
        outcome = opened(proxy).sync(task("https://example.invalid/x.git", target))
    finally:
        host.shutdown()
        thread.join()
        host.server_close()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, passes)
    wants_login = outcome.error_message.partition("response 407; ")[2]
    assert passes or wants_login.startswith(
        "put USER:PASSWORD@ into the daemon's https"
    )


class Refusing(BaseHTTPRequestHandler):
    """A proxy that lets nobody through."""

    def do_CONNECT(self):
        self.send_error(self.server.status)

    def log_message(self, *args):
        pass


def test_the_body_of_an_answer_is_the_reason(http_host, source, target, opened):
    said = b"This repository was archived so it is read-only.\n"

    def fault(request):
        if "git-receive-pack" not in request.path:
            return False
        request.answer(403, {"Content-Type": "text/plain"}, said)
        return True

    http_host.faults.append(fault)
    outcome = opened().sync(task(source, http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "returned error: 403; the host says: This repo" in outcome.error_message


def test_a_host_that_hangs_up_half_way_is_transient(http_host, source, target, opened):
    def fault(request):
        if request.command != "POST":
            return False
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n")
        request.wfile.write(
            b"Content-Type: application/x-git-upload-pack-result\r\n\r\n0009"
        )
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True
        return True

    http_host.faults.append(fault)
    outcome = opened().sync(task(http_host.url(source), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert target.refs() == {}


def test_a_host_that_stalls_in_the_midst_of_a_pack_is_given_up_in_time(
    http_host, source, target, opened, tmp_path
):
    over = threading.Event()

    def stall(request):
        if b"command=fetch" not in request.body:
            return False
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\nContent-Type: "
        request.wfile.write(head + b"application/x-git-upload-pack-result\r\n\r\n")
        request.wfile.write(b"000dpackfile\n0011\1PACK\0\0\0\2\0\0\0\x09")
        request.wfile.flush()
        request.close_connection = True
        return over.wait(20) or True

    it = task(http_host.url(source), target, timeout=1.0)
    http_host.faults.append(stall)
    bench = opened()
    outcome = bench.sync(it)
    over.set()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True), outcome
    assert target.refs() == {}
    assert not list(bench.caches.glob("*/objects/pack/*"))
    http_host.faults.clear()
    assert bench.sync(replace(it, timeout=None)).status is RunStatus.SUCCESS


def test_an_ssh_host_that_says_nothing_is_given_up_in_time(target, opened):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ssh://127.0.0.1:{silent.getsockname()[1]}/x"
        outcome = opened().sync(task(url, target, timeout=0.5))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)


def test_a_host_that_goes_silent_is_given_up_in_time(http_host, source, target, opened):
    over = threading.Event()
    http_host.faults.append(lambda _: over.wait(20) or True)
    outcome = opened().sync(task(http_host.url(source), target, timeout=0.5))
    over.set()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "timeout (sync.timeout, or the task's own: " in outcome.error_message


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:9/x", "http://no-such-host.invalid/x",
    "ssh://127.0.0.1:9/x", "ssh://no-such-host.invalid/x",
])  # fmt: skip
def test_a_host_that_cannot_be_reached_is_transient(target, opened, url):
    outcome = opened().sync(task(url, target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True), outcome


# hostile sources


def test_one_branch_of_very_many_costs_no_more_than_one(source, target, bench):
    tip = source.tip()
    lines = "".join(f"{tip} refs/heads/r{n}\n" for n in range(30_000))
    (source.path / "packed-refs").write_text(lines)
    outcome = bench.sync(task(source, target, "main:main"))
    assert outcome.status is RunStatus.SUCCESS
    assert set(cache_of(bench, source).refs()) == {"refs/src/heads/main"}


def with_a_bomb(repo, size):
    """Add a file of so many MiB that is a few bytes in its pack: copies of another."""
    base = bytes(1 << 20)
    one = repo.git("hash-object", "-w", "--stdin", stdin=base).strip()
    content = hashlib.sha1(b"blob %d\0" % (size << 20))
    for _ in range(size):
        content.update(base)
    delta = zlib.compress(varint(1 << 20) + varint(size << 20) + b"\xc0\x10" * size)
    length = len(zlib.decompress(delta))
    head = bytes([0xF0 | length & 15]) + varint(length >> 4)
    pack = b"PACK\0\0\0\2\0\0\0\1" + head + bytes.fromhex(one) + delta
    pack += hashlib.sha1(pack).digest()
    repo.git("index-pack", "--stdin", "--fix-thin", stdin=pack)
    tree = f"100644 blob {one}\ta\n100644 blob {content.hexdigest()}\tb\n"
    tree = repo.git("mktree", stdin=tree.encode()).strip()
    who = ("-c", "user.name=t", "-c", "user.email=t")
    commit = repo.git(*who, "commit-tree", "-m", "bomb", tree).strip()
    repo.put({"refs/heads/bomb": commit})


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_a_pack_that_unfolds_in_memory_ends_the_run(source, target, tmp_path):
    with_a_bomb(source, 90)
    bench = Bench(tmp_path, memory=60 << 20)
    outcome = bench.sync(task(source, target, "bomb:bomb"))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False), outcome
    assert "ut of memory" in outcome.error_message
    assert target.refs() == {}
    assert not list(bench.caches.glob("*/objects/pack/tmp_*"))
    assert bench.sync(task(source, target, "main:main")).status is RunStatus.SUCCESS
    roomy = Bench(tmp_path)
    outcome = roomy.sync(task(source, target, "bomb:bomb"))
    assert outcome.status is RunStatus.SUCCESS, roomy.log.text()


def test_alternates_submodules_and_attributes_of_a_source_do_nothing(
    source, target, bench, tmp_path
):
    (tmp_path / "objects").mkdir()
    files = {
        ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ../x\n',
        ".gitattributes": "* filter=evil diff=evil\n",
    }
    source.commit(files=files)
    (source.path / "objects/info").mkdir(exist_ok=True)
    (source.path / "objects/info/alternates").write_text(f"{tmp_path}/objects\n")
    assert bench.sync(task(source, target)).status is RunStatus.SUCCESS
    cache = cache_of(bench, source).path
    assert not (cache / "objects/info/alternates").exists()
    assert not (cache / "modules").exists()


def test_a_task_may_point_at_its_own_source(source, bench):
    outcome = bench.sync(task(source, source))
    assert outcome.status is RunStatus.SUCCESS
    assert outcome.commit_range == ""


def test_a_checked_out_branch_of_a_target_is_left_alone(source, bench, tmp_path):
    work = tmp_path / "work"
    subprocess.run(("git", "init", "-q", "-b", "main", str(work)), check=True)
    target = Repo(work / ".git")
    old = target.commit()
    source.git("fetch", "-q", str(target), "main:main", "--force")
    source.commit()
    outcome = bench.sync(task(source, work))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "checked out" in outcome.error_message
    assert target.tip() == old


def test_the_environment_of_the_daemon_does_not_reach_hooks_of_a_target(
    source, target, tmp_path
):
    target.hook("post-receive", f"env > {tmp_path}/env")
    bench = Bench(tmp_path, {"GMS_SECRET": "canary", "NOTIFY_SOCKET": "/x"})
    bench.sync(task(source, target))
    text = (tmp_path / "env").read_text()
    assert "canary" not in text
    assert "NOTIFY_SOCKET" not in text
    assert os.environ["PATH"] in text
