"""Each vendor, as its page describes it, takes what its kind sends over a real socket.

Every fake checks a request by code of its own, and refuses as that vendor refuses.
"""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from email.header import decode_header, make_header
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest

from gms_hookd.http.client import Wire, exchange
from gms_hookd.notify.base import Fate, Level, Target, VendorAnswer
from gms_hookd.notify.registry import KINDS
from tests.notify.test_kinds import LONG, NOTICE, WORST

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPTIONS = {
    "telegram": {"chat_id": "-1001234567890"},
    "packagist": {"username": "me", "repository": "https://packagist.org/packages/v/p"},
    "dingtalk": {"keyword": "mirror"},
    "feishu": {"keyword": "mirror"},
}
PATHS = {
    "telegram": "/bot1:T0K3N",
    "gotify": "",
    "teams": "/w?sp=%2Ftriggers&sig=a%2Fb",
}
ODD = replace(NOTICE, title="lone \udcff", reason="\udcff\x00\u202e", facts=(), link="")
NOTICES = [NOTICE, LONG, ODD, replace(NOTICE, level=Level.GOOD), *WORST]


def sha256(key, content):
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def refuses(status=400, /, **body):
    return status, json.dumps(body).encode()


def slack(got, sent):
    texts = [sent["text"]]
    for each in sent["attachments"]:
        for block in each["blocks"]:
            parts = [block["text"]] if "text" in block else block["elements"]
            texts += [part["text"] for part in parts]
            if any(len(part["text"]) > 3000 for part in parts):
                return 400, b"invalid_blocks"
    if not sent["text"]:
        return 400, b"no_text"
    calls = any(mark in text for text in texts for mark in ("<!", "<@", "<#"))
    return (400, b"it would call somebody") if calls else (200, b"ok")


def discord(got, sent):
    if parse_qs(urlsplit(got.path).query).get("wait") != ["true"]:
        return 204, b""
    (embed,) = sent["embeds"]
    sizes = [(embed["title"], 256), (embed.get("description", ""), 4096)]
    for field in embed["fields"]:
        sizes += [(field["name"], 256), (field["value"], 1024)]
        if not (field["name"].strip() and field["value"].strip()):
            return refuses(code=50035, message="Invalid Form Body")
    too_long = any(len(text) > most for text, most in sizes)
    if too_long or sum(len(text) for text, _ in sizes) > 6000:
        return refuses(code=50035, message="Invalid Form Body")
    if sent["allowed_mentions"] != {"parse": []} or "user-agent" not in got.headers:
        return refuses(403, message="it would call everybody")
    return refuses(200, id="1")


def dingtalk(got, sent):
    query = parse_qs(urlsplit(got.path).query)
    (at,), (sign,) = query["timestamp"], query["sign"]
    if abs(int(at) - time.time() * 1000) > 3_600_000:
        return refuses(200, errcode=310000, errmsg="invalid timestamp")
    if sign != sha256(SECRET.encode(), f"{at}\n{SECRET}".encode()):
        return refuses(200, errcode=310000, errmsg="sign not match")
    if len(got.body) > 20_000:
        return refuses(200, errcode=460101, errmsg="message too long")
    if "mirror" not in sent["markdown"]["text"]:
        return refuses(200, errcode=310000, errmsg="keywords not in content")
    kinds = {"text", "markdown", "link", "actionCard", "feedCard"} & set(sent)
    good = kinds == {sent["msgtype"]} and sent["markdown"]["title"]
    return refuses(200, errcode=0 if good else 40035, errmsg="ok")


def feishu(got, sent):
    at = sent["timestamp"]
    key = f"{at}\n{SECRET}".encode()
    late = not isinstance(at, str) or abs(int(at) - time.time()) > 3600
    if late or sent["sign"] != sha256(key, b""):
        return refuses(200, code=19021, msg="sign match fail")
    if len(got.body) > 20_480 or not isinstance(sent["card"], dict):
        return refuses(400, code=9499, msg="Bad Request")
    if "mirror" not in json.dumps(sent["card"]):
        return refuses(200, code=19024, msg="Key Words Not Found")
    return refuses(200, code=0, msg="success", StatusCode=0)


def wecom(got, sent):
    content = sent[sent["msgtype"]]["content"]
    if len(content.encode()) > 4096:
        return refuses(200, errcode=40058, errmsg="markdown.content exceed max length")
    calls = "<@" in content
    return refuses(200, errcode=40058 if calls else 0, errmsg="ok")


class Entities(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.wrong = [], "", False
        self.feed(text)
        self.close()
        self.wrong |= bool(self.open)

    def handle_starttag(self, tag, attrs):
        self.wrong |= tag not in {"a", "b", "pre"} or (tag == "a") != bool(attrs)
        self.open.append(tag)

    def handle_endtag(self, tag):
        self.wrong |= not self.open or self.open.pop() != tag

    def handle_data(self, data):
        self.text += data


def telegram(got, sent):
    if urlsplit(got.path).path != "/bot1:T0K3N/sendMessage":
        return refuses(404, ok=False, error_code=404, description="Not Found")
    if sent["chat_id"] != int(OPTIONS["telegram"]["chat_id"]):
        return refuses(400, ok=False, description="Bad Request: chat not found")
    parsed = Entities(sent["text"])
    if sent["parse_mode"] != "HTML" or parsed.wrong:
        return refuses(400, ok=False, description="Bad Request: can't parse entities")
    if not 0 < len(parsed.text.encode("utf-16-le")) <= 2 * 4096:
        return refuses(400, ok=False, description="Bad Request: message is too long")
    return refuses(200, ok=True, result={"message_id": 1})


def teams(got, sent):
    if got.path != PATHS["teams"]:
        return refuses(401, error={"code": "DirectApiAuthorizationRequired"})
    (attachment,) = sent["attachments"]
    card = attachment["content"]
    kind = attachment["contentType"], card["type"], sent["type"]
    wanted = "application/vnd.microsoft.card.adaptive", "AdaptiveCard", "message"
    if kind != wanted or len(got.body) > 28_000:
        return refuses(400, error={"code": "TriggerInputSchemaMismatch"})
    return 202, b""


def webhook(got, sent):
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    at, identity = got.headers["webhook-timestamp"], got.headers["webhook-id"]
    signed = f"{identity}.{at}.".encode() + got.body
    listed = got.headers["webhook-signature"].split(" ")
    good = f"v1,{sha256(key, signed)}" in listed and abs(int(at) - time.time()) <= 300
    wanted = good and set(sent) == {"type", "timestamp", "data"} and "." not in identity
    return (204, b"") if wanted else (410, b"wrong signature")


def ntfy(got, _sent):
    title = str(make_header(decode_header(got.headers["title"])))
    allowed = got.headers["authorization"] == f"Bearer {SECRET}"
    sound = title and got.headers["priority"] in "12345" and len(got.body) <= 4096
    return refuses(200 if allowed and sound else 403, id="1")


def gotify(got, sent):
    allowed = got.path == "/message" and got.headers["x-gotify-key"] == SECRET
    sound = sent["message"] and isinstance(sent["priority"], int)
    return refuses(200 if allowed and sound else 401, id=1)


def ping(got, _sent):
    known = got.path in ("/hook/T0K3N", "/hook/T0K3N/fail") and len(got.body) <= 10_000
    return 200, b"OK" if known else b"OK (not found)"


def packagist(got, sent):
    user, _, token = got.headers["authorization"].removeprefix("Bearer ").partition(":")
    if got.headers["content-type"] != "application/json":
        return refuses(406, status="error", message="Missing payload parameter")
    if (user, token) != ("me", SECRET):
        return refuses(403, status="error", message="Invalid credentials")
    known = sent["repository"]["url"] == OPTIONS["packagist"]["repository"]
    return refuses(202, status="success") if known else refuses(404, status="error")


def dockerhub(got, sent):
    known = sent["state"] in ("success", "failure", "error")
    return 200 if known and len(sent["description"]) <= 255 else 400, b""


FAKES = {
    "slack": slack, "discord": discord, "dingtalk": dingtalk, "feishu": feishu,
    "wecom": wecom, "telegram": telegram, "teams": teams, "webhook": webhook,
    "ntfy": ntfy, "gotify": gotify, "ping": ping, "packagist": packagist,
    "dockerhub": dockerhub,
}  # fmt: skip
SIGNED = ("dingtalk", "feishu", "webhook", "ntfy", "gotify", "packagist")


def told(vendor, kind, notice, secret=SECRET, at=0.0):
    """Send a notice as the notifier does; return what its kind makes of the answer."""

    def answers(connection, _ending):
        got = vendor.got[-1]
        json_wanted = "json" in got.headers["content-type"]
        status, said = FAKES[kind](got, json.loads(got.body) if json_wanted else None)
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\n\r\n"
        connection.sendall(head.encode() + said)

    vendor.behaviour = answers
    base = vendor.url.partition("/hook")[0]
    url = base + PATHS.get(kind, "/hook/T0K3N")
    target = Target("t", kind, url, (secret,), OPTIONS.get(kind, {}))
    request = KINDS[kind].render(notice, target, time.time() + at)
    wire = Wire(30.0)
    reply = exchange(request.method, request.url, request.body, request.headers, wire)
    return KINDS[kind].judge(VendorAnswer(reply.status, reply.body, reply.headers))


def test_there_is_a_fake_of_each_kind():
    assert FAKES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_vendor_takes_every_notice(vendor, kind):
    for notice in NOTICES:
        verdict = told(vendor, kind, notice)
        assert verdict.fate is Fate.SENT, verdict


@pytest.mark.parametrize("kind", SIGNED)
def test_a_vendor_that_is_shown_a_wrong_secret_is_believed(vendor, kind):
    verdict = told(vendor, kind, NOTICE, "whsec_" + "B" * 32)
    assert verdict.fate is Fate.NEVER


@pytest.mark.parametrize("kind", ["dingtalk", "feishu", "webhook"])
def test_a_clock_that_is_wrong_is_said_by_the_vendor(vendor, kind):
    verdict = told(vendor, kind, NOTICE, at=-7200)
    assert verdict.fate is Fate.NEVER
    assert kind == "webhook" or "this clock" in verdict.reason
