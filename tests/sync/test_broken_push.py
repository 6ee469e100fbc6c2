"""A host, or the proxy before it, fails the request of a push: what of it arrived?"""

import base64
import email.utils
import os
import socket
import struct
import time

import pytest

from gms_hookd.git.http_answer import asked_to_wait
from gms_hookd.git.push import AT_ONCE
from gms_hookd.model import RefResult, RunStatus
from tests.support.repositories import task

MAIN = "refs/heads/main"


@pytest.fixture
def bench(opened):
    return opened()


@pytest.fixture
def failing(http_host):
    """Let a function answer each request that carries a push."""

    def make(answer):
        def fault(request):
            push = request.command == "POST" and "receive-pack" in request.path
            return push and answer(request) is not False

        http_host.faults.append(fault)

    return make


def noise(size):
    return base64.b64encode(os.urandom(size)).decode()


def posts(host):
    return [
        h
        for method, path, h in host.requests
        if (method, path[-4:]) == ("POST", "pack") and "receive" in path
    ]


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n0030"
REPORT = {"Content-Type": "application/x-git-receive-pack-result"}
UNSAID = b"0017\x01000eunpack ok\n00000000"  # a report that names no ref
NOT_YET = {"WWW-Authenticate": 'Basic realm="x"'}


def reset(request):
    """End the connection as who has no more memory of it."""
    request.close_connection = True
    now = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    request.connection.close()


TRANSIENT = {
    421: lambda r: r.answer(421),
    "reset": reset,
    "unsaid": lambda r: r.answer(200, REPORT, UNSAID),
    502: lambda r: r.answer(502, body=b"<html>bad gateway</html>"),
    408: lambda r: r.answer(408),
    "cut": lambda r: r.cut(),
    "cut within": lambda r: r.cut(HALF),
    "nothing": lambda r: r.answer(200),
    "a page": lambda r: r.answer(200, body=b"<html>try later</html>"),
}


@pytest.mark.parametrize("how", TRANSIENT)
def test_a_push_that_fails_in_passing_is_tried_again_after_a_look(
    http_host, source, target, bench, failing, how
):
    it = task(source, http_host.url(target))
    bench.sync(it)
    old, new = source.tip(), source.commit()
    failing(TRANSIENT[how])
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True), outcome
    assert "did not say" not in outcome.error_message
    assert "objects" not in outcome.error_message, "progress is no reason"
    assert target.tip() == old
    http_host.faults.clear()
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert bench.commands() == ["fetch", "ls-remote", "push"]
    assert target.tip() == new


@pytest.mark.parametrize("answer", [
    lambda r: r.carry_out() and r.answer(504),
    lambda r: r.carry_out() and r.cut(),
    lambda r: r.cut(r.carry_out()[:-9]),
])  # fmt: skip
def test_what_arrived_although_the_answer_did_not_is_done(
    http_host, source, target, bench, failing, answer
):
    source.put({"refs/heads/old": source.tip()})
    it = task(source, http_host.url(target), prune=True)
    bench.sync(it)
    source.put({"refs/heads/old": None, "refs/heads/new": source.commit()})
    failing(answer)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, outcome
    assert {r.ref: r.result for r in outcome.refs} == {
        MAIN: RefResult.UPDATED, "refs/heads/new": RefResult.CREATED,
        "refs/heads/old": RefResult.DELETED,
    }  # fmt: skip
    assert bench.known == target.refs() == source.refs()


def test_what_arrived_of_a_push_before_one_that_failed_is_kept(
    http_host, source, target, bench, failing
):
    source.put({"refs/heads/old": source.tip(), "refs/heads/b": source.tip()})
    it = task(source, http_host.url(target), prune=True)
    bench.sync(it)
    source.put({"refs/heads/old": None})
    new, count = source.commit(), []
    failing(lambda r: count.append(r) or (len(count) > 1 and r.answer(403)))
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    results = {r.ref: r.result for r in outcome.refs}
    assert results["refs/heads/old"] is RefResult.DELETED
    assert results[MAIN] is RefResult.REJECTED
    assert "refs/heads/old" not in bench.known
    http_host.faults.clear()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.tip() == new


def test_a_conflict_does_not_keep_the_others_from_another_attempt(
    http_host, source, target, bench, failing
):
    source.commit("a")
    it = task(source, http_host.url(target))
    bench.sync(it)
    target.commit("a")
    source.commit("a", "main")
    failing(lambda r: r.answer(503))
    outcome = bench.sync(it, verify=True)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert outcome.error_message.startswith(f"{MAIN}: git push: error: RPC failed")
    http_host.faults.clear()
    assert bench.sync(it).status is RunStatus.CONFLICT
    assert target.tip() == source.tip()


@pytest.mark.parametrize("status", [429, 503])
def test_the_time_that_a_push_is_asked_to_wait_is_kept(
    http_host, source, target, bench, failing, status
):
    failing(lambda r: r.answer(status, {"Retry-After": "77"}))
    outcome = bench.sync(task(source, http_host.url(target)))
    assert (outcome.transient, outcome.retry_after) == (True, 77.0)
    assert len(posts(http_host)) == 1, "the host was busy, it is not asked again"


def test_retry_after_is_a_number_or_a_date():
    def said(text):
        line = f"10:00:00.1 http.c:715  <= Recv header: Retry-After: {text}\r\n"
        return asked_to_wait(line, 1000.0)

    assert said("7") == 7.0
    assert said(email.utils.formatdate(1090, usegmt=True)) == 90.0
    assert said(email.utils.formatdate(10, usegmt=True)) == 0.0
    assert said("soon") is said("-5") is said("") is None
    assert asked_to_wait("=> Send header: Retry-After: 7", time.time()) is None


def test_a_date_counts_from_the_hosts_own_clock():
    def said(date, until):
        shown = {"date": date, "retry-after": email.utils.formatdate(until)}
        lines = (
            f"09:59 http.c:715  <= Recv header: {n}: {t}" for n, t in shown.items()
        )
        return asked_to_wait("\r\n".join(lines), 1000.0)

    for off in (-86400, 0, 86400, 10**9):
        assert said(email.utils.formatdate(10**9 + off), 10**9 + off + 120) == 120.0
    assert said("long ago", 1090) == 90.0


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (403, "the account may not do that there, or a proxy"),
        (413, "client_max_body_size"),
        (411, "http.postBuffer"),
    ],
)
def test_a_push_that_is_refused_for_good_says_what_to_do(
    http_host, source, target, bench, failing, status, remedy
):
    failing(lambda r: r.answer(status, {"Retry-After": "5"}))
    outcome = bench.sync(task(source, http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert f"returned error: {status}" in outcome.error_message
    assert remedy in outcome.error_message
    assert "\n" not in outcome.error_message


def test_a_login_that_ends_within_a_large_push_is_named(
    http_host, source, target, bench, failing
):
    source.commit(files={"large": noise(1_060_000)})  # more than http.postBuffer
    source.commit("b")
    failing(lambda r: len(r.body) > 4 and r.answer(401, NOT_YET))  # not git's probe
    outcome = bench.sync(task(source, http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "no login is set for it" in outcome.error_message


@pytest.mark.parametrize("status", [411, 501, 400])
def test_a_host_that_wants_the_length_is_told_it(
    http_host, source, target, bench, failing, status
):
    refused = []

    def answer(request):
        if "Content-Length" in request.headers:
            return False
        refused.append(request)
        return request.answer(status)

    failing(answer)
    for _ in range(2):
        source.commit(files={"large": noise(1_060_000)})
        outcome = bench.sync(task(source, http_host.url(target)))
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        assert target.refs() == source.refs()
    assert len(refused) == 1, "what a host wants is remembered"


PLACE = {"Location": "/there/target.git/git-receive-pack"}
HTML = {"Content-Type": "text/html"}
PAGE = b"<title>Just a moment...</title>"


@pytest.mark.parametrize(("status", "headers", "body", "passes", "said"), [
    (200, HTML, PAGE, True, "request of git's with a page: 200 text/html"),
    (202, {"Content-Type": "application/json"}, b"{}", True, "202 application/json"),
    (204, {}, b"", True, "request of git's with a page: 204"),
    (307, PLACE, b"", False, "/there/target.git: give that URL"),
    (308, PLACE, b"", False, "/there/target.git: give that URL"),
    (302, {"Location": "/login"}, b"", False, "302 to http://"),
])  # fmt: skip
def test_a_push_that_is_answered_by_something_else_says_by_what(
    http_host, source, target, bench, failing, status, headers, body, passes, said
):
    failing(lambda r: r.answer(status, headers, body))
    outcome = bench.sync(task(source, http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, passes)
    assert said in outcome.error_message


@pytest.mark.parametrize(("status", "headers", "body", "passes", "said"), [
    (200, HTML, PAGE, True, "200 text/html; the host says: Just a moment"),
    (451, {"Content-Type": "text/plain"}, b"by law", False, "the host says: by law"),
    (501, HTML, b"<h1>Not done here</h1>", False, "the host says: Not done here"),
])  # fmt: skip
def test_what_answers_a_question_of_git_is_told(
    http_host, source, target, bench, status, headers, body, passes, said
):
    def fault(request):
        asked = request.command == "POST" and "upload-pack" in request.path
        return asked and (request.answer(status, headers, body) or True)

    http_host.faults.append(fault)
    for it in (
        task(source, http_host.url(target)),
        task(http_host.url(source), target),
    ):
        outcome = bench.sync(it)
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, passes)
        assert said in outcome.error_message


def test_many_refs_go_to_a_host_in_parts(http_host, source, target, bench):
    tip = source.tip()
    source.put({f"refs/heads/b{n:04}": tip for n in range(2 * AT_ONCE)})
    it = task(source, http_host.url(target))
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    assert len(posts(http_host)) == 3  # main first


@pytest.mark.parametrize(("status", "attempts"), [
    (413, 1), (403, 1), (400, 1), (500, 2), (502, 2), (None, 2),
])  # fmt: skip
def test_a_branch_that_makes_a_request_fail_keeps_no_other_from_arriving(
    http_host, source, target, bench, failing, status, attempts
):
    source.commit("large", files={"large": noise(90_000)})
    source.commit("a", "b")

    def answer(request):
        if len(request.body) < 50_000:
            return False
        return request.answer(status) if status else request.cut()

    failing(answer)
    it = task(source, http_host.url(target))
    for attempt in range(1, attempts + 1):
        outcome = bench.sync(it, run=7, attempt=attempt)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, attempts > 1)
    assert outcome.error_message.startswith("refs/heads/large: git push: ")
    arrived = {ref: oid for ref, oid in source.refs().items() if "large" not in ref}
    assert target.refs() == arrived
    source.commit("a", "b", "main")
    seen = len(posts(http_host))
    for attempt in range(1, attempts + 1):
        bench.sync(it, run=8, attempt=attempt)
    assert target.refs() == {ref: source.refs()[ref] for ref in arrived}
    assert attempts > 1 or len(posts(http_host)) - seen <= 4, "the large one comes last"


def test_a_host_that_fails_every_push_is_tried_a_few_times(
    http_host, source, target, bench, failing
):
    tip = source.tip()
    source.put({f"refs/heads/b{number}": tip for number in range(200)})
    failing(lambda r: r.answer(502))
    it = task(source, http_host.url(target))
    for attempt, most in ((1, 6), (2, 40)):
        seen = len(posts(http_host))
        outcome = bench.sync(it, run=7, attempt=attempt)
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
        assert len(posts(http_host)) - seen <= most
