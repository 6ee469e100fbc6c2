"""What an HTTP host answered, from the trace that git makes of it."""

import pytest

from gms_hookd.git.http_answer import parse

GET = "=> Send header: GET /x.git/info/refs?service=git-upload-pack HTTP/1.1"
URL = "https://git.example/x.git"


def trace(status, body="", request=GET, **fields):
    lines = [f"10:00:00.1 http.c:1   {request}", "== Info: noise"]
    head = [f"HTTP/1.1 {status}", *(f"{n}: {v}" for n, v in fields.items()), ""]
    lines += [f"10:00:00.2 http.c:2   <= Recv header: {line}" for line in head]
    chunks = [body[n : n + 60] for n in range(0, len(body), 60)]
    lines += [f"10:00:00.3 http.c:3   <= Recv data: {chunk}" for chunk in chunks]
    return "\n".join(lines) + "\n"


def said(status, body, kind="text/html", **fields):
    return parse(trace(status, body, **{"Content-Type": kind} | fields)).words


@pytest.mark.parametrize(("body", "kind", "words"), [
    ("HTTP Basic: Access denied", "text/plain; charset=utf-8",
     "HTTP Basic: Access denied"),
    ("one line..another one.", "text/plain", "one line. another one."),
    ("<html><head><title>Sign In &amp; more</title>..<body>x", "text/html",
     "Sign In & more"),
    ("<HTML><body><H1>Blocked <b>here</b></H1>", "text/html", "Blocked here"),
    ("<html><style>x{}</style>Please <a>wait</a>.", "text/html", "Please wait ."),
    ('{"message": "no such right"}', "application/json", "no such right"),
    ('{"error": {"message": "nested"}}', "application/problem+json", "nested"),
    ("not json", "application/json", "not json"),
    ("<html><title>403 Forbidden</title>", "text/html", ""),  # says no more than git
    ("............", "text/plain", ""),  # not ASCII
    ("PACK", "application/octet-stream", ""),
])  # fmt: skip
def test_a_body_is_read_as_people_would(body, kind, words):
    assert said(403, body, kind) == words


def test_a_body_in_chunks_is_put_together():
    words = said(403, "5..Hello..7.. world...0....", **{"Transfer-Encoding": "chunked"})
    assert words == "Hello world."


def test_a_body_that_is_packed_is_not_told():
    assert said(403, ".k...IM,NU", "text/html", **{"Content-Encoding": "gzip"}) == ""


def test_a_body_of_any_length_gives_one_line_of_a_sane_one():
    assert len(said(403, "x" * 100_000, "text/plain")) <= 300


def test_the_answer_to_git_is_meant_not_that_of_a_proxy_or_of_older_protocols():
    connect = trace(
        "200 OK", request="=> Send header: CONNECT git.example:443 HTTP/1.1"
    )
    head = trace(404, request="=> Send header: GET /x.git/HEAD HTTP/1.1")
    asked = trace(401, **{"WWW-Authenticate": "Basic"})
    last = trace(203, **{"Content-Type": "text/html"})
    assert parse(connect + asked + last + head).status == 203
    assert parse(connect) is None
    assert parse("") is None


@pytest.mark.parametrize(("status", "kind", "git"), [
    (200, "application/x-git-upload-pack-advertisement", True),
    (203, "application/x-git-receive-pack-advertisement", True),
    (200, "text/html", False), (200, "", False), (302, "text/plain", False),
])  # fmt: skip
def test_git_is_known_by_its_media_type(status, kind, git):
    assert parse(trace(status, **{"Content-Type": kind})).is_git is git


@pytest.mark.parametrize(("there", "says"), [
    ("https://new.example/y.git/info/refs?service=git-upload-pack",
     "the repository has moved to https://new.example/y.git: give that URL"),
    ("/y.git/git-receive-pack",
     "the repository has moved to https://git.example/y.git: give that URL"),
    ("https://new.example/y/git-upload-pack",
     "the repository has moved to https://new.example/y: give that URL"),
    ("/y.git/info/refs?x=1",
     "the repository has moved to https://git.example/y.git: give that URL"),
    ("https://signin.example/_signin?token=secret",
     "a page, not with git: 302 to https://signin.example/_signin"),
    ("/users/sign_in", "a page, not with git: 302 to https://git.example/users/sign_in"),
])  # fmt: skip
def test_a_new_place_is_told_from_a_sign_in_page(there, says):
    line = parse(trace(302, Location=there)).instead_of_git(URL)
    assert line.rstrip("\n").endswith(says)
    assert "secret" not in line
