"""Who may ask: listed addresses, proxies, rates, tokens, and floods of strangers."""

from base64 import b64encode

import pytest

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.whitelist import Whitelist
from gms_hookd.futures import done
from gms_hookd.web.guard import NOT_LISTED, Forwarders
from gms_hookd.web.routes import CALLS
from tests.support.wiring import API, TRIGGER, ask, call, delivery, trigger


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
