"""What GMS's own hook answers to a trigger: the statuses of the contract."""

import json

import pytest

from gms_hookd.auth.signature import hub_keys, sign
from gms_hookd.http.message import Fault, Request
from gms_hookd.model import RunStatus
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import runs
from gms_hookd.store.deliveries import NewDelivery, RecordedDelivery
from gms_hookd.web.gms_hook import tell_delivery
from tests.conftest import SECRET
from tests.support.wiring import (
    TRIGGER,
    answered,
    ask,
    call,
    delivery,
    end,
    signed,
    trigger,
)


def test_a_signed_trigger_gets_exactly_the_answer_of_gms(app, task):
    status, shown, headers = trigger(app)
    assert (status, shown) == (
        200,
        {"message": "Sync triggered successfully", "task_id": 1},
    )
    assert headers == {"Location": "/api/webhooks/runs/1"}


def by_key(app, key, query=""):
    return trigger(app, json.dumps({"task_key": key}).encode(), TRIGGER + query)


def test_a_task_is_named_by_its_key_as_newer_clients_do(app, task):
    status, shown, headers = by_key(app, task["key"])
    answer = {"message": "Sync triggered successfully", "task_key": task["key"]}
    assert (status, shown) == (200, answer)
    assert headers == {"Location": "/api/webhooks/runs/1"}
    assert delivery(app)["task_ids"] == [1]
    status, shown, _ = by_key(app, task["key"], "?wait=0")
    assert (status, shown["task_key"], shown["run"]["id"]) == (202, task["key"], 1)
    assert by_key(app, "x" * 36)[0] == 404
    assert "no task with key 'xxx" in delivery(app, 3)["reason"]
    call(app, "POST", "task/update", {"id": 1, "enabled": False})
    assert by_key(app, task["key"])[0] == 409
    for wrong in ("", 5, None, True, ["x"], "a\nb", "x" * 201, "\ud800"):
        assert by_key(app, wrong)[0] == 400, wrong


def test_an_accepted_delivery_keeps_its_run(app, task):
    trigger(app)
    kept = delivery(app)
    assert (kept["status"], kept["task_ids"], kept["run_ids"]) == (200, [1], [1])
    assert (kept["hook"], kept["client"]) == ("task-sync", "192.0.2.1")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        "sha1=" + "0" * 40,
        sign(SECRET, b'{"task_id": 1}').upper(),
        sign(SECRET, b'{"task_id": 1}')[:-1],
        sign(SECRET, b'{"task_id": 1}') + ", " + sign(SECRET, b'{"task_id": 1}'),
        sign("another", b'{"task_id": 1}'),
        sign(SECRET, b'{"task_id": 2}'),
        "sha256=\xe9\xff",
        "\u20ac",
        "sha256=" + "0" * 10_000,
    ],
)
def test_a_missing_or_wrong_signature_is_401_and_says_no_more(app, task, header):
    status, shown, _ = trigger(app, x_hub_signature_256=header)
    assert (status, shown) == (401, {"error": "missing or wrong signature"})
    assert delivery(app)["status"] == 401


def test_every_active_secret_is_good(make_app, task):
    app = make_app(keys=hub_keys(["newest", SECRET]))
    assert trigger(app)[0] == 200
    body = b'{"task_id": 1}'
    assert trigger(app, x_hub_signature_256=sign("newest", body))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"[]",
        b'"task_id"',
        b"null",
        b"{}",
        b'{"task_id": true}',
        b'{"task_id": 1.0}',
        b'{"task_id": "1"}',
        b'{"task_id": null}',
        b'{"task_id": 0}',
        b'{"task_id": -1}',
        b'{"task_id": 9223372036854775808}',
        b'{"task_id": ' + b"9" * 5000 + b"}",
        b'{"task_id": 1, "task_id": 2}',
        b'{"task_id": 1, "x": NaN}',
        b'{"task_id": 1, "x": Infinity}',
        b'\xef\xbb\xbf{"task_id": 1}',
        '{"task_id": 1}'.encode("utf-16"),
        b'{"task_id": 1, "x": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"task_id": 1}\x00',
        b"task_id=1",
    ],
)
def test_a_body_that_is_not_a_task_id_is_400(app, task, body):
    assert trigger(app, body)[0] == 400


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        (None, 400),
        ("", 400),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("application/jsonx", 400),
    ],
)
def test_the_body_must_be_said_to_be_json(app, task, content_type, status):
    assert trigger(app, content_type=content_type)[0] == status


def test_a_outsider_learns_nothing_but_401(app):
    assert trigger(app, b"junk", x_hub_signature_256=None)[0] == 401
    assert trigger(app, b'{"task_id": 99}', x_hub_signature_256=None)[0] == 401


def test_no_such_task_is_404_and_a_disabled_one_409(app, task):
    assert trigger(app, b'{"task_id": 2}')[0] == 404
    call(app, "POST", "task/update", {"id": 1, "enabled": False})
    assert trigger(app)[0] == 409
    assert [delivery(app, n)["status"] for n in (1, 2)] == [404, 409]


def test_what_the_front_refused_is_answered_and_kept(app, task):
    status, shown, _ = ask(app, "POST", TRIGGER, fault=Fault(413, "too large"))
    assert (status, shown) == (413, {"error": "too large"})
    assert delivery(app)["reason"] == "too large"


def test_a_store_that_cannot_commit_is_503_with_retry_after(app, task, context):
    context.store.close()
    status, shown, headers = trigger(app)
    assert (status, headers["Retry-After"]) == (503, "10")
    assert "error" in shown


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (RunStatus.SUCCESS, 200),
        (RunStatus.CONFLICT, 409),
        (RunStatus.FAILED, 502),
        (RunStatus.CANCELLED, 502),
    ],
)
def test_waiting_holds_the_answer_until_the_run_ends(
    app, task, context, ending, status
):
    body = b'{"task_id": 1}'
    request = Request("POST", TRIGGER, "wait=60", signed(body), body, "192.0.2.1")
    answer = answered(app, request)
    while not context.store.read(runs.history, 1, None, 1).result():
        pass
    assert not answer.done()
    end(context, 1, ending)
    response = answer.result(timeout=10)
    shown = json.loads(response.body)
    assert response.status == status
    assert shown.keys() == {"message", "task_id", "run"}
    assert shown["run"]["status"] == ending


def test_waiting_ends_with_202_when_the_time_is_up(app, task):
    status, shown, headers = trigger(app, path=TRIGGER + "?wait=0")
    assert (status, shown["run"]["status"]) == (202, "queued")
    assert headers["Location"] == "/api/webhooks/runs/1"


@pytest.mark.parametrize("wait", ["", "x", "-1", "301", "1e2", "1&wait=2", "nan"])
def test_a_wait_that_is_no_number_up_to_300_is_400(app, task, wait):
    assert trigger(app, path=f"{TRIGGER}?wait={wait}")[0] == 400


def ask_run(app, path, signed_text, secret=SECRET):
    headers = {"x-hub-signature-256": sign(secret, signed_text.encode())}
    return ask(app, "GET", path, headers=headers)


def test_a_run_is_shown_to_whoever_signs_its_path(app, task, context):
    trigger(app)
    end(context, 1)
    path = "/api/webhooks/runs/1"
    status, shown, _ = ask_run(app, path, path)
    assert (status, shown["status"], shown["details"]) == (200, "success", "log\n")
    assert ask_run(app, "//api/webhooks//runs/1", path)[0] == 200
    for number in ("2", "x", "-1", "1/2", "9" * 30, "%31"):
        path = f"/api/webhooks/runs/{number}"
        assert ask_run(app, path, path)[0] == 404


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("x", SECRET),
        ("/api/webhooks/runs/2", SECRET),
        ("/api/webhooks/runs/1", "another"),
        ("/api/webhooks/runs/1\n", SECRET),
        ("", "another"),
    ],
)
def test_another_signature_shows_no_run(app, task, text, secret):
    trigger(app)
    status, shown, _ = ask_run(app, "/api/webhooks/runs/1", text, secret)
    assert (status, shown) == (401, {"error": "missing or wrong signature"})


@pytest.mark.parametrize("path", ["/api/webhooks/runs/1", "/api/webhooks/runs/77"])
def test_the_signature_of_the_empty_body_is_told_what_to_sign(app, task, path):
    trigger(app)
    status, shown, _ = ask_run(app, path, "")
    assert (status, "the empty body" in shown["error"]) == (401, True)
    assert f"sign {path}" in shown["error"]


@pytest.mark.parametrize(
    ("event", "reason"), [(f"push {SECRET}", "accepted"), (None, f"no task {SECRET}")]
)
def test_the_line_of_a_delivery_holds_no_secret(caplog, event, reason):
    caplog.set_level("INFO")
    came = NewDelivery("ci", "github", "192.0.2.1", 0, event)
    for request_id in ("1", "2"):
        tell_delivery(request_id, RecordedDelivery(came, 404, reason), Mask([SECRET]))
    assert SECRET not in caplog.text
    shown_event = '"push ***"' if event else None
    shown = f"client=192.0.2.1 event={shown_event} status=404"
    assert [r.getMessage().count(shown) for r in caplog.records] == [1, 1]
    assert caplog.text.count("***") == 2
