"""What a host reports of a push, against what it has done."""

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import task

MAIN, DEV = "refs/heads/main", "refs/heads/dev"
OK = b"unpack ok\n", b"ok refs/heads/main\n"
# As receive-pack tells a hook of the refs that are its own (githooks, proc-receive).
PROC_RECEIVE = """exec python3 -c '
import subprocess, sys
def line():
    size = int(sys.stdin.buffer.read(4), 16)
    return sys.stdin.buffer.read(size - 4) if size else None
def say(*texts):
    for text in (t.encode() for t in texts):
        sys.stdout.buffer.write(b"%%04x" %% (len(text) + 4) + text)
    sys.stdout.buffer.write(b"0000")
    sys.stdout.buffer.flush()
while line(): pass
say("version=1")
asked = iter(line, None)
told = []
for old, new, ref in (text.decode().split() for text in asked):
    told += ["ok " + ref] + [option.replace("NEW", new) for option in sys.argv[1:]]
say(*told)
' %s
"""


def packet(text):
    return b"%04x" % (len(text) + 4) + text


@pytest.fixture
def bench(opened):
    return opened()


@pytest.fixture
def reporting(http_host):
    """Let the host report so of each push, which it does not carry out."""

    def make(*lines):
        report = packet(b"\1" + b"".join(map(packet, lines)) + b"0000") + b"0000"
        kind = {"Content-Type": "application/x-git-receive-pack-result"}

        def fault(request):
            push = request.command == "POST" and "receive-pack" in request.path
            return push and (request.answer(200, kind, report) or True)

        http_host.faults.append(fault)

    return make


@pytest.fixture
def without(http_host):
    """Let the host offer less than git does (gitprotocol-capabilities)."""

    def make(*names):
        def fault(request):
            if "service=git-receive-pack" not in request.path:
                return False
            said = request.carry_out()
            for name in names:  # as long as it was, and known to nobody
                said = said.replace(name, b"x" * len(name))
            request.wfile.write(said)
            return True

        http_host.faults.append(fault)

    return make


def test_who_tells_nothing_of_a_push_is_not_believed(
    http_host, source, target, bench, without
):
    source.commit("gone")
    it = task(source, http_host.url(target), prune=True)
    bench.sync(it)
    without(b"report-status-v2", b"report-status")
    target.hook("pre-receive", "exit 1\n")
    before = target.refs()
    source.put({"refs/heads/gone": None})
    source.commit("main", "new")
    for attempt in (1, 2):
        outcome = bench.sync(it, run=7, attempt=attempt)
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
        assert {r.result for r in outcome.refs} == {RefResult.REJECTED}
        assert outcome.commit_range == ""
    assert target.refs() == before
    (target.path / "hooks/pre-receive").unlink()
    assert bench.sync(it, run=7, attempt=3).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_a_host_that_lets_no_ref_be_deleted_is_not_asked_again(
    http_host, source, target, bench, without
):
    source.commit("gone")
    it = task(source, http_host.url(target), prune=True)
    bench.sync(it)
    without(b"delete-refs")
    source.put({"refs/heads/gone": None})
    source.commit()
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "the host may let no ref be deleted" in outcome.error_message
    assert target.tip() == source.tip()


@pytest.mark.parametrize("lines", [
    OK,
    (b"unpack internal server error\n", OK[1]),
    (*OK, b"option new-oid " + b"1" * 40 + b"\n"),
    (*OK, b"option forced-update\n"),
])  # fmt: skip
def test_a_branch_that_is_not_there_after_all_is_no_success(
    http_host, source, target, bench, reporting, lines
):
    reporting(*lines)
    it = task(source, http_host.url(target))
    for attempt in (1, 2):
        outcome = bench.sync(it, run=7, attempt=attempt)
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
        assert [r.result for r in outcome.refs] == [RefResult.REJECTED]
        assert outcome.known.get(MAIN) != source.tip()
    http_host.faults.clear()
    assert bench.sync(it, run=7, attempt=3).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_a_branch_that_only_a_push_may_see_is_there(http_host, source, target, bench):
    target.git("config", "uploadpack.hideRefs", MAIN)
    it = task(source, http_host.url(target))
    for _ in range(2):
        outcome = bench.sync(it, verify=True)
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        assert target.tip() == source.tip()


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("taken", ["refs/for", DEV])
def test_a_hook_that_takes_a_ref_and_leaves_it_is_seen(
    http_host, source, target, bench, local, taken
):
    source.commit("dev")
    target.git("config", "receive.procReceiveRefs", taken)
    target.hook("proc-receive", PROC_RECEIVE % "")
    url = str(target) if local else http_host.url(target)
    specs = ("refs/heads/*:refs/for/*",) if taken == "refs/for" else ()
    outcome = bench.sync(task(source, url, *specs))
    bad = [r for r in outcome.refs if r.ref.startswith(taken)]
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, taken == DEV)
    assert bad
    for row in bad:
        assert row.result is RefResult.REJECTED
        assert "said that it took it, and has it not" in row.reason


@pytest.mark.parametrize("force", [True, False])
def test_a_hook_that_leaves_a_branch_of_this_machine_as_it_was_is_seen(
    source, target, bench, force
):
    it = task(source, target, force=force)
    assert bench.sync(it).status is RunStatus.SUCCESS
    before = target.refs()
    target.git("config", "receive.procReceiveRefs", MAIN)
    target.hook("proc-receive", PROC_RECEIVE % "")
    source.commit(on=None if not force else source.commit("x"))
    outcome = bench.sync(it)
    found = {r.ref: r.result for r in outcome.refs}
    assert found[MAIN] is RefResult.REJECTED
    assert outcome.known.get(MAIN) != source.tip()
    assert target.refs()[MAIN] == before[MAIN]


def test_a_ref_that_the_host_keeps_under_another_name_is_told(
    http_host, source, target, bench
):
    target.git("config", "receive.procReceiveRefs", "refs/for")
    options = '"option refname refs/pull/7/head" "option new-oid NEW"'
    target.hook("proc-receive", PROC_RECEIVE % options)
    it = task(source, http_host.url(target), "main:refs/for/main", "main:main")
    outcome = bench.sync(it)
    assert target.tip() == source.tip(), "what has the same tip arrives"
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    said = "the target took it as refs/pull/7/head, not as refs/for/main"
    assert said in outcome.error_message


@pytest.mark.parametrize(("reason", "said"), [
    (b"no\tpush here", "no push here"), (b"a (b) c", "a (b) c"), (b"a: b:c", "a: b:c"),
    (b"\x1b[31mno\r\x07", "no"), (b"\xd5\xfd\xd4\xda", "refs/heads/main: "),
    (b"no " * 999, "no no no"),
])  # fmt: skip
def test_an_odd_reason_is_told(
    http_host, source, target, bench, reporting, reason, said
):
    reporting(OK[0], b"ng refs/heads/main " + reason + b"\n")
    outcome = bench.sync(task(source, http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert said in outcome.error_message
    assert outcome.error_message.isprintable()
    assert len(outcome.error_message) < 700
