"""Requests in, responses out: the statuses of the contract, in its order."""

import json
import os
import subprocess
from base64 import b64encode

import pytest

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.signature import hub_keys, sign
from gms_hookd.auth.whitelist import Whitelist
from gms_hookd.futures import done
from gms_hookd.http.message import Fault, Request
from gms_hookd.model import RunStatus
from gms_hookd.store import runs
from gms_hookd.web.guard import NOT_LISTED, Forwarders
from gms_hookd.web.routes import CALLS
from tests.conftest import SECRET
from tests.support.wiring import answered

ME = ("-c", "user.name=t", "-c", "user.email=t@example.com")
TRIGGER = "/api/webhooks/task-sync"
API = "/api/v1/sync/"


def ask(app, method, path, body=b"", **more):
    path, _, query = path.partition("?")
    request = Request(method, path, query, body=body, id="0123", **more)
    response = answered(app, request).result(timeout=10)
    shown = json.loads(response.body) if response.body else None
    return response.status, shown, dict(response.headers)


def signed(body, secret=SECRET, **more):
    return {
        "content-type": "application/json",
        "x-hub-signature-256": sign(secret, body),
        **more,
    }


def trigger(app, body=b'{"task_id": 1}', path=TRIGGER, peer="192.0.2.1", **headers):
    changed = {key.replace("_", "-"): value for key, value in headers.items()}
    given = {**signed(body), **changed}
    wanted = {key: value for key, value in given.items() if value is not None}
    return ask(app, "POST", path, body, headers=wanted, peer=peer)


def call(app, method, path, params=None):
    body = b"" if params is None else json.dumps(params).encode()
    status, shown, _ = ask(app, method, API + path, body, control=True)
    return status, shown


@pytest.fixture
def task(app):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b"}
    wanted["source_branch"], wanted["target_branch"] = "main", "release"
    status, shown = call(app, "POST", "task/create", wanted)
    assert status == 200, shown
    return shown["data"]


def delivery(app, number=1):
    return call(app, "GET", f"delivery?id={number}")[1]["data"]


def end(context, run_id, status=RunStatus.SUCCESS):
    context.store.write(runs.claim, context.now(), run_id).result()
    result = runs.Result(status, "1..2", details="log\n")
    context.running.ended(
        context.store.write(runs.finish, run_id, result, context.now()).result()
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


def test_an_address_that_is_not_listed_is_403_before_all_else(make_app, task):
    app = make_app(whitelist=Whitelist(["192.0.2.0/24"]), buckets=Buckets(1))
    assert trigger(app, peer="198.51.100.1", x_hub_signature_256=None)[0] == 403
    assert trigger(app, peer="::ffff:192.0.2.9")[0] == 200
    assert delivery(app, 1)["reason"] == NOT_LISTED


def test_a_trusted_proxy_names_the_client(make_app, task):
    app = make_app(
        whitelist=Whitelist(["192.0.2.0/24"]), proxies=Whitelist(["10.0.0.0/8"])
    )
    assert trigger(app, peer="10.0.0.1", x_forwarded_for="192.0.2.7")[0] == 200
    assert trigger(app, peer="10.0.0.1", x_forwarded_for="198.51.100.1")[0] == 403
    assert trigger(app, peer="198.51.100.1", x_forwarded_for="192.0.2.7")[0] == 403
    assert delivery(app, 1)["client"] == "192.0.2.7"


FRONT = "unix:/run/front.sock"


def test_a_list_of_addresses_holds_behind_a_unix_socket(make_app, task):
    listed = Whitelist(["192.0.2.0/24"])
    app = make_app(whitelist=listed)
    assert trigger(app, peer=FRONT, x_forwarded_for="192.0.2.7")[0] == 403
    assert trigger(app, peer=FRONT)[0] == 403
    assert trigger(app, peer="")[0] == 403
    app = make_app(whitelist=listed, proxies=Whitelist(["unix"]))
    assert trigger(app, peer=FRONT, x_forwarded_for="192.0.2.7")[0] == 200
    assert trigger(app, peer=FRONT, x_forwarded_for="198.51.100.1")[0] == 403
    assert trigger(app, peer=FRONT, x_forwarded_for="192.0.2.7, 10.0.0.1")[0] == 403
    assert trigger(app, peer=FRONT)[0] == 403
    listed = call(app, "GET", "deliveries?limit=4")[1]["data"]
    clients = [each["client"] for each in listed]
    assert clients == ["unix", "10.0.0.1", "198.51.100.1", "192.0.2.7"]


@pytest.mark.parametrize("entry", ["unix", FRONT])
def test_the_peer_of_a_unix_socket_is_listed_by_name(make_app, task, entry):
    app = make_app(whitelist=Whitelist([entry]))
    assert trigger(app, peer=FRONT)[0] == 200
    assert trigger(app, peer="192.0.2.7")[0] == 403


def test_a_rate_holds_for_each_client_behind_a_unix_socket(make_app, task):
    app = make_app(buckets=Buckets(2), proxies=Whitelist([FRONT]))
    for client in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        found = [trigger(app, peer=FRONT, x_forwarded_for=client)[0] for _ in range(3)]
        assert found == [200, 200, 429]


def test_a_peer_that_forwards_untrusted_is_named_once(make_app, task, caplog):
    forwarders = Forwarders()
    app = make_app(forwarders=forwarders, proxies=Whitelist(["10.0.0.1"]))
    for peer in ("127.0.0.1", FRONT, "10.0.0.1", "127.0.0.1", FRONT):
        assert trigger(app, peer=peer, x_forwarded_for="192.0.2.7")[0] == 200
    named = [line.split(" ")[0] for line in forwarders.warnings]
    assert named == ["127.0.0.1", FRONT]
    assert all("server.trusted_proxies" in line for line in forwarders.warnings)
    assert caplog.text.count("forwarded requests peer=127.0.0.1") == 1
    assert caplog.text.count("server.trusted_proxies") == 2


@pytest.mark.parametrize("header", ["x_real_ip", "forwarded"])
def test_a_proxy_that_names_its_clients_otherwise_is_named(make_app, task, header):
    forwarders = Forwarders()
    app = make_app(forwarders=forwarders, proxies=Whitelist(["10.0.0.1"]))
    trigger(app, peer="10.0.0.1", **{header: "for=192.0.2.7"})
    (warning,) = forwarders.warnings
    assert warning.startswith("10.0.0.1 forwards without X-Forwarded-For")


def test_far_peers_cannot_fill_the_list_of_those_who_forward(make_app, task):
    forwarders = Forwarders()
    app = make_app(forwarders=forwarders)
    for number in range(50):
        peer = f"8.8.{number}.8"
        trigger(app, peer=peer, x_forwarded_for="192.0.2.7", x_hub_signature_256="no")
    trigger(app, peer="172.16.0.9", x_forwarded_for="192.0.2.7")
    assert len(forwarders.warnings) < 12
    assert forwarders.warnings[-1].startswith("172.16.0.9 ")


def test_who_forwards_is_told_on_the_control_socket_only(make_app, task):
    forwarders = Forwarders()
    app = make_app(forwarders=forwarders, ready=lambda: done([]))
    trigger(app, peer="127.0.0.1", x_forwarded_for="192.0.2.7")
    shown = ask(app, "GET", "/readyz", control=True)[1]
    assert shown == {"status": "ready", "warnings": forwarders.warnings}
    assert ask(app, "GET", "/readyz", peer="192.0.2.1")[1] == {"status": "ready"}


def test_over_the_rate_is_429_before_the_signature_is_looked_at(make_app, task, clock):
    app = make_app(buckets=Buckets(2))
    assert [trigger(app)[0] for _ in range(2)] == [200, 200]
    status, _, headers = trigger(app, x_hub_signature_256=None)
    assert (status, headers["Retry-After"]) == (429, "30")
    assert trigger(app, peer="192.0.2.2")[0] == 200
    clock.forward(30)
    assert trigger(app)[0] == 200


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
    ("method", "path", "status", "allow"),
    [
        ("GET", TRIGGER, 405, "POST"),
        ("PUT", TRIGGER, 405, "POST"),
        ("POST", "/api/webhooks/runs/1", 405, "GET"),
        ("DELETE", "/healthz", 405, "GET, HEAD"),
        ("POST", "/api/webhooks/other", 404, None),
        ("POST", "/api/webhooks/", 404, None),
        ("POST", "/api/webhooks/task-sync/", 404, None),
        ("GET", "/", 404, None),
        ("POST", "/api/../api/webhooks/task-sync", 404, None),
        ("POST", "/api/webhooks/%74ask-sync", 404, None),
    ],
)
def test_unknown_paths_are_404_and_other_methods_405(app, method, path, status, allow):
    found, _, headers = ask(app, method, path)
    assert (found, headers.get("Allow")) == (status, allow)


@pytest.mark.parametrize(
    "path", ["/" + TRIGGER, "//api//webhooks//task-sync", "/api/webhooks///task-sync"]
)
def test_a_path_with_slashes_in_a_row_is_the_same_path(app, task, path):
    assert trigger(app, path=path)[0] == 200
    assert ask(app, "GET", "//healthz")[0] == 200
    assert call(app, "GET", "/tasks")[0] == 200
    assert ask(app, "POST", "/api/webhooks/task-sync//")[0] == 404


def test_health_needs_no_signature(app):
    assert ask(app, "GET", "/healthz")[:2] == (200, {"status": "ok"})
    assert ask(app, "GET", "/readyz")[0] == 200


def test_readiness_gives_its_reasons(make_app):
    status, shown, _ = ask(
        make_app(ready=lambda: done(["disk: full"])), "GET", "/readyz"
    )
    assert (status, shown["reasons"]) == (503, ["disk: full"])


def test_the_api_needs_the_token_on_the_network(app):
    def tasks(**headers):
        return ask(app, "GET", API + "tasks", headers=headers, peer="192.0.2.1")[0]

    assert tasks() == 401
    assert tasks(authorization="Bearer wrong") == 401
    assert tasks(authorization="Basic t0ken") == 401
    assert tasks(authorization="Bearer ") == 401
    assert tasks(authorization="Bearer t0ken") == 200
    assert tasks(authorization="bearer t0ken") == 200


def with_token(app, authorization, method="GET", path="tasks", body=b"{}"):
    headers = {"authorization": authorization}
    asked = ask(app, method, API + path, body, headers=headers, peer="192.0.2.1")
    return asked[0], asked[1]


def test_without_a_token_the_api_is_on_the_control_socket_only(make_app):
    app = make_app(tokens=Tokens())
    for header in ("Bearer ", "Basic Og=="):
        status, shown = with_token(app, header)
        assert (status, "set api.read_token" in shown["error"]) == (403, True)
    assert "set api.token" in with_token(app, "Bearer x", "POST", "run")[1]["error"]
    assert call(app, "GET", "tasks")[0] == 200


BASIC = "Basic " + b64encode(b"prometheus:r3ad").decode()


@pytest.mark.parametrize("header", ["Bearer r3ad", "token r3ad", BASIC])
def test_a_read_token_opens_what_reads_and_never_what_writes(make_app, task, header):
    app = make_app(anonymous=Buckets(1))
    on_socket = {"backup", "reload", "task/import"}
    paths = {path for method, path in CALLS if method == "POST"} - on_socket
    for path in sorted(paths):
        status, shown = with_token(app, header, "POST", path, b'{"id": 1}')
        assert (status, "api.token" in shown["error"]) == (403, True)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert with_token(app, header, method)[0] == 403
    for path in ("backup", "reload", "check"):
        assert with_token(app, header, "GET", path)[0] == 403
    for path in ("tasks", "task?id=1", "history", "deliveries", "status"):
        assert with_token(app, header, path=path)[0] == 200


def test_only_a_bearer_token_writes(app, task):
    browsers = "Basic " + b64encode(b"me:t0ken").decode()
    for header in ("Bearer t0ken", "token old-t0ken"):
        assert with_token(app, header, "POST", "run", b'{"task_id": 1}')[0] == 200
    assert with_token(app, browsers, "POST", "run", b'{"task_id": 1}')[0] == 403
    assert with_token(app, browsers)[0] == 200


@pytest.mark.parametrize(
    "wrong", ["Bearer wrong", "token wrong", "Basic " + b64encode(b"u:x").decode()]
)
def test_a_wrong_read_token_counts_against_the_address(make_app, wrong):
    app = make_app(tokens=Tokens((), ("r3ad",)), anonymous=Buckets(2))
    assert [with_token(app, wrong)[0] for _ in range(3)] == [401, 401, 429]
    assert with_token(app, "Bearer r3ad")[0] == 429


def test_wrong_tokens_count_against_the_address(make_app):
    app = make_app(anonymous=Buckets(2), buckets=Buckets(1))

    def tasks(token, peer="192.0.2.1"):
        headers = {"authorization": f"Bearer {token}"}
        return ask(app, "GET", API + "tasks", headers=headers, peer=peer)[0]

    assert trigger(app, b"")[0] != 429
    assert trigger(app, b"")[0] == 429
    assert tasks("t0ken") == 200
    assert [tasks("wrong") for _ in range(3)] == [401, 401, 429]
    assert tasks("t0ken") == 429
    assert [tasks("t0ken", "192.0.2.2") for _ in range(9)] == [200] * 9


def test_a_backup_is_ordered_on_the_control_socket_only(app, tmp_path):
    path = str(tmp_path / "copy.db")
    headers = {"authorization": "Bearer t0ken"}
    body = json.dumps({"path": path}).encode()
    status = ask(app, "POST", API + "backup", body, headers=headers, peer="192.0.2.1")[
        0
    ]
    assert status == 403
    assert call(app, "POST", "backup", {"path": path})[0] == 200
    assert call(app, "POST", "backup", {"path": "relative"})[0] == 400


def test_a_task_has_every_key_of_the_contract(task):
    assert task.keys() == {
        *("id", "key", "name", "source", "target", "refspecs", "force", "prune"),
        *("enabled", "timeout", "created_at", "updated_at", "last_run"),
        *("cron", "next_cron", "pattern"),
        *("source_branch", "target_branch"),
    }
    assert (task["source_branch"], task["target_branch"]) == ("main", "release")
    assert task["refspecs"] == ["refs/heads/main:refs/heads/release"]
    assert task["created_at"].endswith("Z")


def test_a_run_has_every_key_of_the_contract(app, task):
    run = call(app, "POST", "run", {"task_id": 1})[1]["data"]
    assert run.keys() == {
        *("id", "task_id", "task_key", "task_name", "status", "attempt", "trigger"),
        *("deliveries", "created_at", "start_time", "end_time", "commit_range"),
        *("error_message", "details", "refs", "attempts_max", "next_try", "waits_for"),
    }
    assert (run["trigger"], run["status"], run["attempt"]) == ("manual", "queued", 0)
    assert (run["attempts_max"], run["next_try"]) == (5, run["created_at"])
    assert run["waits_for"] == "a free worker"
    last = call(app, "GET", "task?id=1")[1]["data"]["last_run"]
    assert last.keys() == run.keys() - {"details"}


def test_tasks_are_listed_found_changed_and_removed(app, task):
    assert [t["id"] for t in call(app, "GET", "tasks")[1]["data"]] == [1]
    for by in ("id=1", f"key={task['key']}", "name=one"):
        assert call(app, "GET", f"task?{by}")[1]["data"]["id"] == 1
    changes = {"id": 1, "name": "two", "force": True, "timeout": "90s"}
    changed = call(app, "POST", "task/update", changes)[1]["data"]
    assert (changed["name"], changed["force"], changed["timeout"]) == ("two", True, 90)
    assert changed["refspecs"] == task["refspecs"]
    assert call(app, "POST", "task/delete", {"key": task["key"]})[0] == 200
    assert call(app, "GET", "task?id=1")[0] == 404


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"name": ""}, "name"),
        ({"name": "12"}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"source": "--upload-pack=touch x"}, "source"),
        ({"source": "ext::sh -c id"}, "source"),
        ({"source": "https://user:pw@example.com/a.git"}, "source"),
        ({"source": "http://example.com/a.git"}, "source"),
        ({"source": "relative/path"}, "source"),
        ({"target": "/srv/a"}, "target"),
        ({"refspecs": ["refs/heads/*:x"]}, "refspecs"),
        ({"refspecs": "refs/heads/*"}, "refspecs"),
        ({"source_branch": "a..b"}, "refspecs"),
        ({"source_branch": "-x"}, "refspecs"),
        ({"target_branch": "x"}, "source_branch"),
        ({"source_branch": "a", "refspecs": ["refs/heads/a"]}, "refspecs"),
        ({"force": 1}, "force"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"cron": "0 2 * *"}, "cron: expected exactly 5 fields"),
        ({"cron": "CRON_TZ=Mars/X @daily"}, "cron: provided bad location"),
        ({"cron": 5}, "cron"),
        ({"push_options": ["--mirror"]}, "push_options"),
        ({"push_options": "--push-option"}, "push_options"),
        ({"push_options": "--push-option="}, "push_options"),
        ({"push_options": ["--push-option=a\nb"]}, "push_options"),
        ({"push_options": ["--push-option=a"] * 21}, "push_options"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_task_that_makes_no_sense_is_400_and_names_the_thing(app, change, part):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b", **change}
    status, shown = call(app, "POST", "task/create", wanted)
    assert (status, shown["code"]) == (400, 400)
    assert part in shown["error"]
    assert "\n" not in shown["error"]


def test_push_options_of_gms_are_understood(app):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b"}
    wanted["push_options"] = "--force --prune --no-verify"
    made = call(app, "POST", "task/create", wanted)[1]["data"]
    assert (made["force"], made["prune"]) == (True, True)


@pytest.mark.parametrize(
    ("change", "branches"),
    [
        ({"target_branch": "other"}, ("main", "other")),
        ({"source_branch": "dev"}, ("dev", "release")),
        ({"source_branch": "dev", "target_branch": "dev"}, ("dev", "dev")),
        ({"source_branch": "", "target_branch": ""}, ("main", "release")),
    ],
)
def test_one_of_two_branch_names_can_be_changed(app, task, change, branches):
    changed = call(app, "POST", "task/update", {"id": 1, **change})[1]["data"]
    assert (changed["source_branch"], changed["target_branch"]) == branches


def test_a_branch_of_one_name_keeps_one_name(app, task):
    call(app, "POST", "task/update", {"id": 1, "refspecs": ["main"]})
    changed = call(app, "POST", "task/update", {"id": 1, "source_branch": "dev"})
    assert changed[1]["data"]["target_branch"] == "dev"


def test_push_options_for_the_target_stay_with_the_task(app):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b"}
    wanted["push_options"] = ["--push-option=ci.skip", "--push-option=a=b c"]
    made = call(app, "POST", "task/create", wanted)[1]["data"]
    assert made["push_options"] == wanted["push_options"]
    call(app, "POST", "task/update", {"id": 1, "timeout": 5})
    assert call(app, "GET", "task?id=1")[1]["data"]["push_options"]
    changed = call(app, "POST", "task/update", {"id": 1, "push_options": []})[1]["data"]
    assert "push_options" not in changed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chown")
def test_a_repository_of_another_user_is_refused_where_it_is_named(app, tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for path in (theirs, ours):
        path.mkdir()
    os.chown(theirs, 54321, 54321)
    for source, target, side in ((theirs, ours, "source"), (ours, theirs, "target")):
        wanted = {"name": "one", "source": str(source), "target": f"file://{target}"}
        status, shown = call(app, "POST", "task/create", wanted)
        assert status == 400
        assert shown["error"].startswith(f"{side}: {theirs} belongs to user id 54321")
        assert "sync.trust_owners = [54321]" in shown["error"]
    wanted = {"name": "one", "source": str(ours), "target": "/srv/none"}
    call(app, "POST", "task/create", wanted)
    changed = {"id": 1, "target": str(theirs)}
    assert call(app, "POST", "task/update", changed)[0] == 400
    os.chown(ours, 54321, 54321)
    assert call(app, "POST", "task/update", {"id": 1, "enabled": False})[0] == 200


def test_runs_are_listed_shown_cancelled_retried_and_deleted(app, task, context):
    run = call(app, "POST", "run", {"task_key": task["key"]})[1]["data"]
    cancelled = call(app, "POST", "run/cancel", {"id": run["id"]})[1]["data"]
    assert cancelled["status"] == "cancelled"
    again = call(app, "POST", "run/retry", {"id": run["id"]})[1]["data"]
    assert (again["id"], again["trigger"]) == (2, "retry")
    end(context, 2)
    listed = call(app, "GET", "history?task_id=1&limit=5")[1]["data"]
    assert [(r["id"], r["status"]) for r in listed] == [
        (2, "success"),
        (1, "cancelled"),
    ]
    assert listed[0]["details"] is None
    assert call(app, "GET", "history?task_id=&status=&limit=")[1]["data"] == listed
    only = call(app, "GET", "history?status=cancelled")[1]["data"]
    assert [r["id"] for r in only] == [1]
    assert call(app, "GET", "run?id=2")[1]["data"]["details"] == "log\n"
    assert call(app, "POST", "history/delete", {"id": 1})[0] == 200
    assert call(app, "GET", "run?id=1")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "params", "status"),
    [
        ("GET", "task", None, 400),
        ("GET", "task?id=x", None, 400),
        ("GET", "task?id=1&id=2", None, 400),
        ("GET", "task?colour=red", None, 400),
        ("GET", "task?" + "&".join(f"p{n}=1" for n in range(21)), None, 400),
        ("GET", "tasks?" + "&" * 5000, None, 400),
        ("GET", "history?" + "limit=1&" * 300, None, 400),
        ("GET", "history?status=done", None, 400),
        ("GET", "history?limit=0", None, 400),
        ("GET", "run?id=7", None, 404),
        ("GET", "run?id=", None, 400),
        ("POST", "run", {"task_id": 7}, 404),
        ("POST", "run", {"task_id": True}, 400),
        ("POST", "run", [1], 400),
        ("POST", "run/cancel", {"id": 7}, 404),
        ("GET", "nothing", None, 404),
        ("DELETE", "task", None, 405),
    ],
)
def test_api_calls_that_make_no_sense(app, method, path, params, status):
    found, shown = call(app, method, path, params)
    assert (found, shown["code"]) == (status, status)
    assert shown["error"] == shown["msg"]


def test_deliveries_are_listed_newest_first(app, task):
    trigger(app)
    trigger(app, x_hub_signature_256=None)
    listed = call(app, "GET", "deliveries?hook=task-sync")[1]["data"]
    assert [d["status"] for d in listed] == [401, 200]
    assert listed[0].keys() == {
        *("id", "hook", "provider", "event", "delivery_key", "received_at", "client"),
        *("status", "reason", "task_ids", "run_ids"),
    }
    assert call(app, "GET", "deliveries?hook=other")[0] == 404
    assert len(call(app, "GET", "deliveries?limit=1")[1]["data"]) == 1


MANY = {f"refs/heads/b{n}": "1" * 40 for n in range(100)}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, None), ({"confirmed": False}, None), ({"confirmed": {}}, {}),
        ({"confirmed": MANY}, MANY), ({"confirmed": True}, None),
    ],
)  # fmt: skip
def test_a_run_is_queued_with_what_is_confirmed(app, task, context, given, kept):
    """There is no source here to make a plan from: true confirms nothing then."""
    assert call(app, "POST", "run", {"task_id": 1, **given})[0] == 200
    assert context.store.write(runs.claim, context.now()).result().confirmed == kept


@pytest.mark.parametrize(
    "wrong", [1, "yes", None, [], ["refs/heads/a"], {"a": 1}, {"a": "x"}, {"a": None}]
)
def test_a_confirmation_that_names_no_deletions_is_400(app, task, context, wrong):
    given = {"task_id": 1, "confirmed": wrong}
    assert call(app, "POST", "run", given)[0] == 400
    assert context.store.write(runs.claim, context.now()).result() is None


def test_a_plan_says_what_a_run_would_do_and_does_nothing(app, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for command in (
        ["init", "-q", "-b", "main", str(source)],
        ["init", "-q", "--bare", str(target)],
        ["-C", str(source), *ME, "commit", "-q", "--allow-empty", "-m", "one"],
    ):
        subprocess.run(["git", *command], check=True)
    wanted = {"name": "one", "source": str(source), "target": str(target)}
    call(app, "POST", "task/create", {**wanted, "source_branch": "main"})
    status, shown = call(app, "POST", "task/plan", {"task_id": 1})
    assert status == 200
    refs = [(ref["ref"], ref["result"]) for ref in shown["data"]["refs"]]
    assert refs == [("refs/heads/main", "created")]
    listed = ["git", "-C", str(target), "for-each-ref"]
    assert subprocess.run(listed, check=True, capture_output=True).stdout == b""


def test_a_flood_of_refused_deliveries_is_two_rows_and_two_lines(make_app, caplog):
    caplog.set_level("INFO")
    app = make_app(buckets=Buckets(100))
    statuses = [trigger(app, x_hub_signature_256="wrong")[0] for _ in range(300)]
    assert statuses == [401] * 100 + [429] * 200
    listed = call(app, "GET", "deliveries")[1]["data"]
    assert [(d["status"], d["reason"]) for d in reversed(listed)] == [
        (401, "missing or wrong signature"),
        (429, "too many requests"),
        (401, "missing or wrong signature (99 in a second)"),
        (429, "too many requests (199 in a second)"),
    ]
    flood = [r.getMessage() for r in caplog.records if "192.0.2.1" in r.getMessage()]
    assert len(flood) == 4


def test_a_flood_of_wrong_tokens_is_counted_in_the_log(make_app, caplog):
    caplog.set_level("INFO")
    app = make_app(anonymous=Buckets(5))
    for _ in range(50):
        ask(app, "GET", API + "tasks", peer="192.0.2.1")
    call(app, "GET", "deliveries")
    flood = [r.getMessage() for r in caplog.records if "192.0.2.1" in r.getMessage()]
    assert len(flood) == 4
    assert sum("count=" in line for line in flood) == 4


@pytest.mark.parametrize("path", [TRIGGER, "/api/webhooks/runs/1", API + "tasks"])
def test_the_v6_addresses_of_one_customer_have_one_limit(make_app, path):
    buckets = Buckets(5)
    proxies = Whitelist(["192.0.2.9"])
    app = make_app(buckets=buckets, anonymous=buckets, proxies=proxies)
    found = []
    for number in range(20):
        headers = {"x-forwarded-for": f"2001:db8:1:2::{number:x}"}
        method = "POST" if path == TRIGGER else "GET"
        found.append(ask(app, method, path, headers=headers, peer="192.0.2.9")[0])
    assert found.count(429) == 15


@pytest.mark.parametrize("path", [
    "/api/webhook/dockerhub/{}", "/hooks/x?key={}", "/{}", "/api/webhooks/x&key={}",
    "/api/webhooks/x%2F{}", "/api/v1/sync/{}", "/api/webhooks/runs/{}", "/x/{}/y",
])  # fmt: skip
def test_a_secret_of_yesterday_in_an_unknown_path_is_not_logged(app, caplog, path):
    caplog.set_level("DEBUG")
    old = "e3b0c44298fc1c149afbf4c8996fb924"
    ask(app, "POST", path.format(old))
    assert "path=" in caplog.text
    assert old[:12] not in caplog.text


def test_an_unknown_path_of_usual_words_is_logged(app, caplog):
    caplog.set_level("DEBUG")
    ask(app, "POST", "/vendor/phpunit/src/Util/eval-stdin.php")
    assert "path=/vendor/phpunit/src/Util/eval-stdin.php " in caplog.text
