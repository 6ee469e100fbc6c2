"""What is sent, to whom, how often: by a real socket to a vendor that misbehaves."""

import base64
import email.policy
import json
import os
import socket
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from gms_hookd.errors import ClientError
from gms_hookd.http import client
from gms_hookd.http.client import Wire, exchange
from gms_hookd.model import Ref, RefResult, RunStatus
from gms_hookd.notify import slack
from gms_hookd.notify.base import Target
from gms_hookd.notify.policy import Subscriber
from gms_hookd.store import dbthread, notices
from gms_hookd.threads import Pool, Threads
from gms_hookd.web import views
from gms_hookd.workers import messages, notifier
from gms_hookd.workers.notifier import Notifier, Recipient
from gms_hookd.workers.retry import backoff
from tests.http.test_smtp import certificate, needs_server, serve
from tests.store.test_notices import USUAL, Outbox
from tests.support import vendor as vendors
from tests.support.in_process import until
from tests.support.vendor import Vendor

__all__ = ["certificate", "serve"]  # fixtures
WIRE = Wire(0.3)


def recipient(vendor, name="chat", kind="slack", **more):
    subscriber = Subscriber(name, USUAL)
    secrets = more.pop("secrets", ())
    target = Target(name, kind, getattr(vendor, "url", vendor), secrets)
    return Recipient(target, subscriber, **more)


class Office:
    """A notifier, its outbox, and who is told."""

    def __init__(self, context, clock, *recipients):
        self.recipients = {each.target.name: each for each in recipients}
        subscribers = [each.subscriber for each in recipients]
        self.outbox = Outbox(context.store, *subscribers)
        self.outbox.now = context.now()
        self.context, self.clock = context, clock
        self.stopping = threading.Event()
        self.pool = Pool(Threads(), "notice", 4)
        self.notifier = Notifier(
            lambda: self.context,
            lambda: self.recipients,
            self.pool,
            lambda run, task: views.subject(run, task, 5),
            self.stopping,
            chance=lambda: 1.0,
        )
        self.app = self.outbox.task()

    def fails(self, task=None, **more):
        self.outbox.now = self.context.now()
        return self.outbox.end(task or self.app, RunStatus.FAILED, "network", **more)

    def send(self, forward=0.0):
        """Have what is due sent, and wait for that."""
        self.clock.forward(forward)
        self.notifier.turn()
        assert until(lambda: not self.notifier._busy)

    def counted(self):
        counts = self.context.counters.notices.counts()
        return {labels: count for labels, count in counts.items() if count}

    def statuses(self):
        return [row.status for row in self.outbox.listed()]


@pytest.fixture
def office(context, clock):
    made = []

    def make(*recipients):
        made.append(Office(context, clock, *recipients))
        return made[-1]

    yield make
    for each in made:
        each.pool.close()


def test_a_failure_reaches_a_chat_once(office, vendor):
    place = office(recipient(vendor))
    place.fails(error_message="remote: no")
    place.send()
    place.send(60)
    (got,) = vendor.got
    sent = json.loads(got.body)
    assert sent["text"] == "[FAILED] app"
    assert "remote: no" in got.body.decode()
    assert place.statuses() == ["sent"]


def test_a_program_gets_task_and_run_signed_and_with_one_id(office, vendor):
    place = office(recipient(vendor, kind="webhook", secrets=("whsec_" + "A" * 32,)))
    vendor.answer = 503, b"busy"
    run_id = place.fails()
    place.send()
    vendor.answer = 204, b""
    place.send(3600)
    first, second = vendor.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert second.headers["webhook-signature"].startswith("v1,")
    sent = json.loads(second.body)
    assert sent["type"] == "sync.failed"
    assert sent["data"]["run"]["id"] == run_id
    assert sent["data"]["task"]["name"] == "app"
    assert sent["data"]["failures"] == 1
    assert sent["data"]["failing_since"] == sent["timestamp"]


VERIFY = """
import json, sys
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as Svix
secrets, headers, body = json.load(sys.stdin)
for secret in secrets:
    Webhook(secret).verify(body, headers)
    Svix(secret).verify(body, headers)
    try:
        Webhook(secret).verify(body + " ", headers)
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif("VERIFIERS" not in os.environ, reason="VERIFIERS names no Python")
def test_the_official_libraries_believe_what_is_sent(office, vendor):
    """VERIFIERS names a Python that has `standardwebhooks` and `svix`."""
    secrets = tuple("whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in "ab")
    place = office(recipient(vendor, kind="webhook", secrets=secrets))
    place.clock.now = time.time()
    place.fails(error_message="分支 <&> ☠")
    place.send()
    (got,) = vendor.got
    given = json.dumps([secrets, got.headers, got.body.decode()])
    done = subprocess.run(
        [os.environ["VERIFIERS"], "-c", VERIFY],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    refused = "WebhookVerificationError\n" * 2
    assert (done.returncode, done.stdout) == (0, refused), done.stderr


@needs_server
def test_a_mail_arrives_by_starttls(office, serve, certificate):
    process, port = serve("starttls")
    options = {"from": "gms-hookd <hookd@example.org>", "to": "ops@example.org"}
    url = f"smtp://user@127.0.0.1:{port}"
    target = Target("mail", "email", url, ("pass word",), options)
    subscriber, ca_file = Subscriber("mail", USUAL), certificate[0]
    place = office(Recipient(target, subscriber, language="zh", ca_file=ca_file))
    place.fails(error_message="remote: no")
    place.send()
    assert place.statuses() == ["sent"]
    got = json.loads(process.stdout.readline())
    assert (got["tls"], got["login"]) == (True, True)
    message = email.message_from_string(got["text"], policy=email.policy.default)
    assert message["Subject"] == "[失败] app"
    assert message["Auto-Submitted"] == "auto-generated"
    assert "remote: no" in message.get_content()


def test_500_tasks_that_fail_at_once_are_at_most_three_messages(office, vendor):
    place = office(recipient(vendor), recipient(vendor, "beat", kind="ping"))
    place.outbox.fill(3)
    place.send()
    place.outbox.fill(497)
    for _ in range(30):
        place.send(10)
    assert place.statuses() == ["sent"] * 500
    assert len(vendor.got) <= 3
    assert (
        "497" in vendor.got[-1].body.decode() or "499" in vendor.got[-1].body.decode()
    )


def test_a_recovery_says_for_how_long_in_the_language_of_its_target(office, vendor):
    place = office(recipient(vendor), recipient(vendor, "zh", language="zh"))
    for _ in range(3):
        place.fails()
        place.send(1200)
    place.outbox.now = place.context.now()
    place.outbox.end(place.app, RunStatus.SUCCESS)
    place.send(60)
    titles = {json.loads(got.body)["text"] for got in vendor.got}
    assert "[RECOVERED after 3 failures, 1 h] app" in titles
    assert "[已恢复] app（此前失败 3 次，历时 1 小时）" in titles  # noqa: RUF001


def test_a_message_leads_to_the_page_of_what_it_tells(office, vendor):
    place = office(recipient(vendor))
    place.notifier.pages = lambda: "https://hookd.example/status"
    run_id = place.fails()
    place.send()
    place.outbox.fill(9)
    place.send(60)
    first, digest = (json.loads(got.body)["attachments"][0] for got in vendor.got)
    assert f"<https://hookd.example/status/run/{run_id}|" in json.dumps(first)
    assert "<https://hookd.example/status|" in json.dumps(digest)


def test_a_run_of_many_refs_is_told_with_those_that_say_most(
    office, vendor, monkeypatch
):
    monkeypatch.setattr(messages, "MOST_REFS", 3)
    place = office(recipient(vendor, kind="webhook"))
    same = Ref("refs/heads/same", RefResult.UNCHANGED, "1", "1")
    no = Ref("refs/heads/no", RefResult.REJECTED, "1", "2", "declined")
    place.fails(refs=(*[same] * 9, no))
    place.send()
    refs = json.loads(vendor.got[0].body)["data"]["run"]["refs"]
    assert [ref["result"] for ref in refs] == ["rejected", "unchanged", "unchanged"]


def test_what_is_refused_for_good_goes_to_the_fallback(office, vendor):
    gone = Vendor()
    gone.answer = 404, b"no_service"
    place = office(
        recipient(gone, fallback="other"), recipient(vendor, "other", kind="discord")
    )
    place.outbox.subscribers = (place.recipients["chat"].subscriber,)
    place.fails()
    place.send()
    place.send()
    gone.stop()
    assert place.statuses() == ["dead", "sent"]
    assert "could not be delivered to chat" in vendor.got[0].body.decode()


def test_a_target_that_is_no_longer_configured_gets_nothing(office, vendor):
    place = office(recipient(vendor))
    place.fails()
    place.recipients = {}
    place.send()
    assert (place.statuses(), vendor.got) == (["dropped"], [])


def test_a_retry_after_is_obeyed_and_it_is_given_up_in_the_end(office, vendor):
    place = office(recipient(vendor))
    vendor.answer, vendor.headers = (429, b""), {"Retry-After": "1800"}
    place.fails()
    place.send()
    (row,) = place.outbox.listed()
    assert row.next_try == place.context.now() + 1_800_000
    for _ in range(40):
        place.send(12 * 3600)
    assert place.statuses() == ["dead"]
    assert len(vendor.got) < 15


def test_a_clock_that_jumps_gives_no_message_up(office, vendor):
    place = office(recipient(vendor))
    vendor.answer = 503, b""
    place.fails()
    place.send(365 * 86400)
    assert place.statuses() == ["waiting"]
    vendor.answer = 200, b"ok"
    place.send(60)
    assert place.statuses() == ["sent"]


def test_a_target_that_is_back_gets_what_it_missed_at_once(office, vendor):
    place = office(recipient(vendor, kind="webhook"))
    vendor.answer = 503, b""
    place.outbox.fill(3)
    for _ in range(24):
        place.send(1800)
    assert place.statuses() == ["waiting"] * 3
    vendor.answer = 200, b""
    while "sent" not in place.statuses():
        place.send(600)
    for _ in range(4):
        place.send(1)
    assert place.statuses() == ["sent"] * 3


@pytest.mark.parametrize("kind", ["slack", "webhook"])
def test_a_recovery_is_told_after_the_failure_that_it_ends(office, vendor, kind):
    place = office(recipient(vendor, kind=kind))
    vendor.answer = 503, b""
    place.fails(error_message="remote: no")
    for _ in range(6):
        place.send(600)
    place.outbox.now = place.context.now()
    place.outbox.end(place.app, RunStatus.SUCCESS)
    seen = len(vendor.got)
    for _ in range(20):
        place.send(600)
    assert len(vendor.got) - seen < 10, "what waits behind it is no reason to try again"
    vendor.answer = 200, b"ok"
    while place.statuses() != ["sent"] * 2:
        place.send(600)
    failed, recovered = (got.body.decode().lower() for got in vendor.got[-2:])
    assert "recovered" in recovered
    assert "recovered" not in failed


@pytest.mark.parametrize("asked", [None, 0.0, 3600.0])
def test_the_delay_grows_from_seconds_to_half_a_day(asked):
    for chance in (0.0, 1.0):
        delays = [backoff(n, chance, asked) for n in range(60)]
        assert delays == sorted(delays)
        assert 10 <= delays[0] <= max(10, asked or 0)
        assert delays[-1] <= 12 * 3600
        assert all(delay >= (asked or 0) for delay in delays)


def test_no_secret_of_a_target_is_in_row_or_log(office, vendor, caplog):
    place = office(recipient(vendor))
    mask = place.context.mask.plus(["T0K3N-of-vendor"])
    place.context = replace(place.context, mask=mask)
    vendor.answer = 400, b"no such hook: /hook/T0K3N-of-vendor"
    place.fails()
    place.send()
    (row,) = place.outbox.listed()
    assert row.status == "dead"
    assert "no such hook" in row.error
    assert "T0K3N" not in row.error + caplog.text


@pytest.mark.parametrize("kind", ["slack", "feishu", "telegram"])
def test_an_answer_is_masked_before_it_is_cut(office, vendor, kind):
    place = office(recipient(vendor, kind=kind))
    mask = place.context.mask.plus(["T0K3N-of-vendor"])
    place.context = replace(place.context, mask=mask)
    for before in range(250, 310):
        said = "x" * before + "T0K3N-of-vendor"
        fields = {"ok": False, "description": said, "code": 7, "msg": said}
        answer = said if kind == "slack" else json.dumps(fields)
        vendor.answer = 400, answer.encode()
        told = place.notifier.test("chat").result(30)
        assert "T0K" not in told.said
        assert len(told.said) <= 300


@pytest.mark.parametrize(
    "behaviour",
    [vendors.hangs, vendors.drips, vendors.closes, vendors.floods_headers],
)
def test_a_peer_that_misbehaves_is_left_within_the_deadline(vendor, behaviour):
    vendor.behaviour = behaviour
    began = time.monotonic()
    with pytest.raises(ClientError) as raised:
        exchange("POST", vendor.url, b"{}", {}, WIRE)
    assert time.monotonic() - began < 20
    assert "T0K3N" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_comes_before_an_answer_is_none(vendor):
    vendor.behaviour = vendors.announces
    reply = exchange("POST", vendor.url, b"{}", {}, WIRE)
    assert (reply.status, reply.body) == (200, b"ok")


@pytest.mark.parametrize("behaviour", [vendors.floods, vendors.closes_early])
def test_of_an_answer_the_beginning_is_enough(vendor, behaviour):
    vendor.behaviour = behaviour
    reply = exchange("POST", vendor.url, b"{}", {}, WIRE)
    assert reply.status == 200
    assert len(reply.body) <= client.KEPT


def test_a_body_that_drips_ends_in_time_too(vendor):
    vendor.behaviour = vendors.drips_body
    with pytest.raises(ClientError):
        exchange("POST", vendor.url, b"{}", {}, WIRE)


def test_an_address_that_is_silent_leaves_time_for_the_next(vendor, monkeypatch):
    """Nobody accepts there and its queue is full: the kernel drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", place)
            for place in (silent.getsockname(), vendor.server.server_address)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        reply = exchange("POST", vendor.url, b"{}", {}, Wire(2.0))
        for each in waiting:
            each.close()
    assert reply.status == 200
    assert vendor.got[0].headers["user-agent"].startswith("gms-hookd/")


def test_what_the_store_cannot_take_is_not_sent_twice(office, vendor, monkeypatch):
    """A vendor's answer comes while somebody has the store locked."""
    monkeypatch.setattr(dbthread, "BUSY_MS", 0)
    place = office(recipient(vendor))
    other = sqlite3.connect(place.context.store.path, check_same_thread=False)

    def locks(connection, _ending):
        other.execute("BEGIN IMMEDIATE")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    vendor.behaviour = locks
    place.fails()
    for _ in range(3):
        place.send(60)
    assert (len(vendor.got), place.statuses()) == (1, ["waiting"])
    other.execute("ROLLBACK")
    other.close()
    place.send(60)
    assert (len(vendor.got), place.statuses()) == (1, ["sent"])
    assert place.counted() == {("chat", "sent"): 1}


def test_each_notice_is_counted_by_what_became_of_it(office, vendor, monkeypatch):
    monkeypatch.setattr(notices, "MOST", 10)
    place = office(recipient(vendor))
    place.outbox.fill(12)
    place.send()
    vendor.answer = 503, b""
    place.outbox.fill(1)
    place.send(600)
    vendor.answer = 404, b""
    place.send(600)
    place.outbox.fill(1)
    place.recipients = {}
    place.send(600)
    found = {result: count for (_, result), count in place.counted().items()}
    assert found == {"sent": 10, "dropped": 3, "failed": 1, "dead": 1}


def test_a_defect_of_ours_keeps_no_other_notice_from_going(
    office, vendor, monkeypatch, caplog
):
    place = office(recipient(vendor))
    place.fails()
    with monkeypatch.context() as broken:
        broken.setattr(slack, "render", lambda *_: 1 / 0)
        place.send()
    (row,) = place.outbox.listed()
    assert (row.status, row.attempts) == ("waiting", 1)
    assert "ZeroDivisionError" in caplog.text
    place.send(60)
    assert place.statuses() == ["sent"]


def test_no_redirect_is_followed(office, vendor):
    other = Vendor()
    vendor.answer, vendor.headers = (308, b""), {"Location": other.url}
    place = office(recipient(vendor))
    place.fails()
    place.send()
    other.stop()
    assert (len(vendor.got), other.got) == (1, [])
    assert place.statuses() == ["dead"]


def test_a_peer_that_hangs_holds_up_no_other(office, vendor, monkeypatch):
    monkeypatch.setattr(notifier, "DEADLINE", 30.0)
    slow = Vendor()
    slow.behaviour = vendors.hangs
    names = {f"slow-{number}" for number in range(notifier.LEAST + 1)}
    place = office(*(recipient(slow, name) for name in names), recipient(vendor, "z"))
    place.fails()
    place.notifier.turn()
    assert until(lambda: len(vendor.got) == 1)
    assert until(lambda: place.notifier._busy == names)
    place.notifier.turn()
    assert until(lambda: len(slow.got) == len(names))
    slow.stop()
    assert until(lambda: not place.notifier._busy)


def test_a_target_is_tried_out_and_says_what_it_was_answered(office, vendor):
    place = office(recipient(vendor))
    told = place.notifier.test("chat").result(30)
    assert (told.sent, told.said) == (True, "status 200: ok")
    vendor.answer = 403, b"invalid_token"
    told = place.notifier.test("chat").result(30)
    assert (told.sent, "invalid_token" in told.said) == (False, True)
    assert place.outbox.listed() == []


def test_an_unusual_request_goes_by_the_proxy(vendor):
    proxied = exchange(
        "POST",
        "http://far.example/x",
        b"",
        {},
        Wire(
            5.0,
            None,
            vendor.url.replace("http://", "http://user:pa%20ss@").partition("/hook")[0],
        ),
    )
    (got,) = vendor.got
    assert proxied.status == 200
    assert got.path == "http://far.example/x"
    assert got.headers["proxy-authorization"] == "Basic dXNlcjpwYSBzcw=="
    assert got.headers["host"] == "far.example"
