"""The calls about notices, and what status says of them."""

import json
from dataclasses import replace

import pytest

from gms_hookd.http.message import Request
from gms_hookd.store import notices
from tests.support.wiring import answered


@pytest.fixture
def call(app, context):
    app.adopt(replace(context, targets=("chat",)), app._policy)

    def ask(method, path, **body):
        path, _, query = path.partition("?")
        raw = json.dumps(body).encode() if body else b""
        headers = {"content-type": "application/json"}
        where = "/api/v1/sync/" + path
        request = Request(method, where, query, headers, raw, control=True)
        response = answered(app, request).result(30)
        return response.status, json.loads(response.body)

    return ask


def made(context, count=1, target="chat"):
    for _ in range(count):
        subject = notices.Subject(7, "app", 3)
        given = target, "failed", subject, context.now()
        yield context.store.write(notices.add, *given).result()


def test_a_notice_is_shown_with_every_key(call, context):
    (key,) = made(context)
    (shown,) = call("GET", "notices")[1]["data"]
    at = shown["created_at"]
    assert shown == {
        "id": key, "target": "chat", "event": "failed", "task_id": 7, "run_id": 3,
        "status": "waiting", "attempts": 0, "next_try": at, "created_at": at,
        "sent_at": None, "error": None,
    }  # fmt: skip


def test_lists_are_by_target_status_and_page(call, context):
    keys = [*made(context, 3), *made(context, 1, "mail")]

    def ids(query):
        return [each["id"] for each in call("GET", f"notices?{query}")[1]["data"]]

    assert ids("target=chat&limit=2") == keys[2:0:-1]
    assert ids(f"target=chat&before={keys[1]}") == keys[:1]
    assert ids("status=sent") == []
    assert call("GET", "notices?status=odd")[0] == 400
    assert call("GET", "notices?target=odd")[0] == 404
    assert call("GET", "notices?before=odd")[0] == 404


def test_a_page_leads_to_the_next(app, call, context):
    keys = [*made(context, 5)][::-1]
    query, seen = "target=chat&limit=2", []
    while query:
        request = Request("GET", "/api/v1/sync/notices", query, {}, b"", control=True)
        response = answered(app, request).result(30)
        seen.append([each["id"] for each in json.loads(response.body)["data"]])
        link = dict(response.headers).get("Link", "")
        assert not link or link.endswith('>; rel="next"')
        query = link.partition("?")[2].partition(">")[0]
    assert seen == [keys[:2], keys[2:4], keys[4:]]


def test_one_is_sent_again_unless_its_target_is_gone(call, context):
    (key,) = made(context)
    lot = context.store.write(notices.take, "chat", context.now(), together=True)
    context.store.write(notices.bury, lot.result(), context.now(), "no", None).result()
    status, told = call("POST", "notice/resend", id=key)
    assert (status, told["data"]["status"]) == (200, "waiting")
    (other,) = made(context, 1, "mail")
    assert call("POST", "notice/resend", id=other)[0] == 409
    assert call("POST", "notice/resend", id="none")[0] == 404
    assert call("POST", "notice/test", target="none")[0] == 404


def test_what_is_dead_needs_hands_until_something_gets_through(call, context):
    list(made(context))
    list(made(context, 1, "mail"))
    for target in ("chat", "mail"):
        lot = context.store.write(notices.take, target, context.now(), together=True)
        given = lot.result(), context.now(), "status 404: gone", None
        context.store.write(notices.bury, *given).result()
    status = call("GET", "status")[1]["data"]
    assert "1 notice for chat not delivered: status 404: gone" in status["needs_hands"]
    (tally,) = status["notices"]
    assert (tally["target"], tally["dead"], tally["last_sent"]) == ("chat", 1, None)
