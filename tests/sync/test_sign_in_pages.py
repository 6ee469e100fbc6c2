"""Hosts that answer by a page where git was asked for, as Azure DevOps does."""

import pytest

from gms_hookd.git.credentials import Credential
from gms_hookd.model import RunStatus
from tests.support.repositories import task

TOKEN = "pat-abcdefgh"
PAGE = b"<html><head><title>Azure DevOps Services | Sign In</title></head></html>"
PLACE = {"Location": "https://signin.example/_signin?state=1"}
HTML = {"Content-Type": "text/html; charset=utf-8"}

ONE, ALL = ("refs/heads/main:refs/heads/main",), ()
PAGES = {
    "302": (302, PLACE, b""),
    "303": (303, PLACE, PAGE),
    "203 html": (203, HTML, PAGE),
    "201 html": (201, HTML, PAGE),
    "200 html": (200, HTML, PAGE),
    "200 html of lines": (200, HTML, PAGE.replace(b"><", b">\n<")),
    "200 without a body": (200, {"Content-Type": "text/plain"}, b""),
    "200 json": (200, {"Content-Type": "application/json"}, b'{"message": "log in"}'),
}


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture(params=PAGES.values(), ids=PAGES)
def page(request):
    return request.param


@pytest.fixture
def refspecs(page):
    """Fetch one branch of some hosts, all of others."""
    return ONE if page[0] == 200 else ALL


@pytest.fixture
def signing_in(page, http_host):
    """Make the host answer all but one password by a page."""
    status, headers, body = page
    http_host.let_in("x-access-token", TOKEN)

    def fault(asked):
        if asked.headers.get("Authorization") in http_host.accounts:
            return False
        asked.answer(status, headers, body)
        return True

    http_host.faults.append(fault)
    return http_host


def credential(host, token):
    return Credential(host.base + "/", token_file=token)


def test_a_token_that_is_answered_by_a_page_is_tried_as_a_password(
    signing_in, source, target, opened, token, refspecs
):
    bench = opened(credentials=[credential(signing_in, token)])
    urls = signing_in.url(source), signing_in.url(target)
    outcome = bench.sync(task(*urls, *refspecs, prune=True))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()
    seen = len(signing_in.requests)
    source.commit()
    assert bench.sync(task(*urls, *refspecs)).status is RunStatus.SUCCESS
    given = [h.get("Authorization") for _, _, h in signing_in.requests[seen:]]
    assert set(given) == signing_in.accounts, "what worked is remembered"


def test_a_page_is_never_an_empty_repository(
    signing_in, source, target, opened, token, refspecs
):
    target.set(main=target.commit("other"))
    before = target.refs()
    token.write_text("another\n")
    bench = opened(credentials=[credential(signing_in, token)])
    it = task(signing_in.url(source), target, *refspecs, prune=True, force=True)
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "the host answers with a page, not with git: " in outcome.error_message
    assert outcome.error_message.endswith(f"the token was {token}")
    assert "--yes" not in outcome.error_message
    assert target.refs() == before


def test_a_target_that_answers_with_a_page_is_an_authentication_failure(
    signing_in, source, target, opened
):
    outcome = opened().sync(task(source, signing_in.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "the host answers with a page, not with git: " in outcome.error_message
    assert f'[credentials."{signing_in.base}/"]' in outcome.error_message


def test_the_page_is_named(http_host, source, target, opened):
    http_host.faults.append(lambda r: r.answer(203, HTML, PAGE) or True)
    outcome = opened().sync(task(http_host.url(source), target))
    assert "203 text/html; the host says: Azure DevOps Ser" in outcome.error_message
    http_host.faults[:] = [lambda r: r.answer(302, PLACE) or True]
    outcome = opened().sync(task(http_host.url(source), target))
    assert "302 to https://signin.example/_signin;" in outcome.error_message


def test_a_page_about_maintenance_is_waited_for(http_host, source, target, opened):
    page = b"<html><title>We are down for maintenance</title></html>"
    http_host.faults.append(lambda r: r.answer(200, HTML, page) or True)
    outcome = opened().sync(task(http_host.url(source), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)


def test_a_repository_that_has_moved_is_named_with_its_new_url(
    http_host, source, target, opened
):
    def fault(request):
        place = f"{http_host.base}/new.git/info/refs?service=git-upload-pack"
        request.answer(301, {"Location": place})
        return True

    http_host.faults.append(fault)
    outcome = opened().sync(task(http_host.url(source), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    moved = f"the repository has moved to {http_host.base}/new.git: give that URL"
    assert moved in outcome.error_message


def test_a_repository_that_is_really_empty_is_told_from_a_page(
    http_host, source, target, opened
):
    outcome = opened().sync(task(http_host.url(target), source))
    assert outcome.status is RunStatus.CONFLICT
    assert "the source has none of the selected refs" in outcome.error_message


@pytest.mark.parametrize(("status", "kind", "body", "words"), [
    (401, "text/plain", b"Token expired on 2026-11-01\n", "Token expired on 20"),
    (403, "application/json", b'{"message": "The key is read-only"}', "The key is"),
    (403, "text/html", b"<title>Blocked by the firewall</title>", "Blocked by the"),
    (413, "text/plain", b"This is more than 50 MB\n", "This is more than 50 MB"),
])  # fmt: skip
def test_the_body_of_a_refusal_is_the_reason(
    http_host, source, target, opened, status, kind, body, words
):
    http_host.faults.append(
        lambda r: r.answer(status, {"Content-Type": kind}, body) or True
    )
    for outcome in (
        opened().sync(task(http_host.url(source), target)),
        opened().sync(task(source, http_host.url(target))),
    ):
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
        assert f"the host says: {words}" in outcome.error_message


@pytest.mark.parametrize(
    ("status", "part"), [(302, "upload-pack"), (303, "receive-pack"), (307, "pack")]
)
def test_a_page_that_a_request_is_sent_to_midway_is_named(
    http_host, source, target, opened, status, part
):
    def fault(request):
        midway = request.command == "POST" and part in request.path
        return midway and (request.answer(status, PLACE) or True)

    http_host.faults.append(fault)
    outcome = opened().sync(task(http_host.url(source), http_host.url(target)))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert f": {status} to https://signin.example/_signin;" in outcome.error_message
    assert target.refs() == {}
