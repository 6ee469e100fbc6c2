"""Each kind asks its vendor as the vendor wants it, and believes no 200 blindly."""

import base64
import hashlib
import hmac
import json
import re
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from gms_hookd.notify import dingtalk, feishu, mail, slack, webhook
from gms_hookd.notify.base import (
    Fate,
    Level,
    Notice,
    Target,
    VendorAnswer,
    cut_bytes,
    escaped_within,
    retry_after,
)
from gms_hookd.notify.registry import KINDS

NOW = 1_700_000_000.0
URL = "https://vendor.example/hook/T0K3N?sig=a%2Fb"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTICE = Notice(
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "failed",
    "2026-01-01T00:00:00Z",
    "[FAILED] app <!channel> *x* 分支",
    "remote: <@all> ``` & refused\n# second line",
    (("task", "7"), ("attempt", "3/5")),
    link="https://vm/runs/42",
    data={"task": {"id": 7}},
)
LONG = replace(
    NOTICE, title="分" * 5000, reason="支\n" * 50_000, facts=(("事", "实" * 900),)
)


def target(kind, **options):
    return Target("t", kind, URL, (SECRET,), options)


def rendered(kind, notice=NOTICE, **options):
    return KINDS[kind].render(notice, target(kind, **options), NOW)


def body(kind, notice=NOTICE, **options):
    return json.loads(rendered(kind, notice, **options).body)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_request_that_can_be_sent(kind):
    odd = replace(NOTICE, title="lone \udcff", reason="\udcff\x00\u202e")
    for notice in (NOTICE, LONG, odd, replace(NOTICE, reason="", facts=(), link="")):
        request = rendered(kind, notice)
        assert request.method == "POST"
        assert request.url.isascii()
        assert len(request.body) < 64_000
        for name, value in request.headers.items():
            assert f"{name}{value}".isascii()
            assert f"{name}{value}".isprintable()
        if request.headers["Content-Type"] == "application/json":
            json.loads(request.body)
        assert "T0K3N" not in repr(request)
        assert SECRET not in repr(target(kind))


WORST = [
    replace(
        LONG,
        title=character * 5000,
        reason=f"{character}\n" * 50_000,
        facts=(("way", character * 5000),) * 20,
    )
    for character in ("&", "<", "*", "[", "`", "分", "🙂", "\x01", '"')
]


@pytest.mark.parametrize("notice", WORST, ids=lambda notice: ascii(notice.title[0]))
def test_a_message_is_smaller_than_the_vendor_takes_whatever_is_escaped(notice):
    """The limits of the vendors' pages, each in the vendor's unit."""
    for kind, most in (("dingtalk", 20_000), ("feishu", 20_480), ("teams", 28_000)):
        assert len(rendered(kind, notice).body) <= most, kind
    assert len(body("wecom", notice)["markdown"]["content"].encode()) <= 4096
    head, said, facts = body("slack", notice)["attachments"][0]["blocks"]
    for section in (head["text"], said["text"], facts["elements"][0]):
        assert len(section["text"]) <= 3000
    (embed,) = body("discord", notice)["embeds"]
    values = [
        part for each in embed["fields"] for part in (each["name"], each["value"])
    ]
    assert max(map(len, values)) <= 1024
    texts = [embed["title"], embed["description"], *values]
    assert sum(map(len, texts)) <= 6000
    telegram = unescape(re.sub("<[^>]*>", "", body("telegram", notice)["text"]))
    assert len(telegram.encode("utf-16-le")) <= 2 * 4096
    assert len(rendered("ntfy", notice).body) <= 4096


def test_no_escape_and_no_tag_is_cut():
    for most in range(1, 60):
        assert not re.search(
            r"&(?!amp;)", escaped_within("&" * 99, most, slack.escaped)
        )
    for notice in WORST:
        (embed,) = body("discord", notice)["embeds"]
        assert not re.search(r"(?<!\\)(\\\\)*\\…", embed["title"])
        content = body("wecom", notice)["markdown"]["content"]
        assert content.startswith('**<font color="warning">')
        assert "</font>**\n" in content
        assert content.endswith(notice.link)


def test_what_a_host_says_makes_no_link_and_loads_no_picture():
    sly = replace(NOTICE, reason="![x](https://evil/beacon.png) <img src=x>")
    for kind in ("dingtalk", "wecom"):
        text = body(kind, sly)["markdown"]["text" if kind == "dingtalk" else "content"]
        assert "](https://evil" not in text
        assert "<img" not in text
    (card,) = body("teams", sly)["attachments"]
    assert "](https" not in json.dumps(card["content"]["body"])


def test_slack_gets_no_markup_from_outside():
    sent = body("slack")
    assert sent["text"] == "[FAILED] app &lt;!channel&gt; *x* 分支"
    (attachment,) = sent["attachments"]
    assert attachment["color"] == "#ff3232"
    texts = [b["text"]["text"] for b in attachment["blocks"] if "text" in b]
    assert all("<!" not in text and "<@" not in text for text in texts)
    assert texts[1].count("```") == 2
    longest = [
        b["text"]["text"] for b in body("slack", LONG)["attachments"][0]["blocks"][:2]
    ]
    assert len(longest[1]) <= 3000


def test_discord_mentions_nobody_and_waits_until_it_is_saved():
    request = rendered("discord")
    assert parse_qs(urlsplit(request.url).query) == {"sig": ["a/b"], "wait": ["true"]}
    for notice in (NOTICE, LONG):
        sent = body("discord", notice)
        (embed,) = sent["embeds"]
        assert sent["allowed_mentions"] == {"parse": []}
        assert len(embed["title"]) <= 256
        assert len(embed["description"]) <= 4096
        texts = [embed["title"], embed["description"]]
        texts += [part for f in embed["fields"] for part in (f["name"], f["value"])]
        assert sum(map(len, texts)) <= 6000
        assert embed["description"].count("```") == 2


def test_dingtalk_signs_the_url_again_each_time():
    secret, milliseconds = "SECtest000000000000000000000000", 1_700_000_000_000
    signed = dingtalk.signed("https://d/robot/send?access_token=x", (secret,), NOW)
    query = parse_qs(urlsplit(signed).query)
    assert query["timestamp"] == [str(milliseconds)]
    assert query["sign"] == ["7jUInIOuabj4SlWq/yYpuNr++dViatfGTqQM/WSibxQ="]
    assert signed.endswith("7jUInIOuabj4SlWq%2FyYpuNr%2B%2BdViatfGTqQM%2FWSibxQ%3D")
    assert dingtalk.signed("https://d/x", (), NOW) == "https://d/x"
    text = body("dingtalk", keyword="mirror")["markdown"]["text"]
    assert text.endswith("mirror")
    assert "\n> \\# second line" in text


def test_feishu_signs_the_body_the_other_way_round():
    assert (
        feishu.sign("demo", "1700000000")
        == "8oT2n3SMKFfEnDoiwer8BUM/SjKLwe9SqoEIHlhDTKo="
    )
    assert (
        feishu.sign("demo", "1599360473")
        == "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
    )
    sent = body("feishu", keyword="mirror")
    assert sent["timestamp"] == "1700000000"
    assert isinstance(sent["card"], dict)
    tags = {element["text"]["tag"] for element in sent["card"]["elements"]}
    assert tags == {"plain_text"}
    assert "mirror" in json.dumps(sent["card"])


def test_wecom_counts_bytes_and_calls_nobody():
    for notice in (NOTICE, LONG):
        content = body("wecom", notice)["markdown"]["content"]
        assert len(content.encode()) <= 4096
        assert "<@" not in content


def test_telegram_gets_html_whose_tags_are_closed():
    for notice in (NOTICE, LONG):
        sent = body("telegram", notice, chat_id="-100123")
        assert sent["chat_id"] == -100123
        assert len(sent["text"].encode("utf-16-le")) <= 2 * 4096
        for tag in ("b", "a", "pre"):
            assert sent["text"].count(f"<{tag}") == sent["text"].count(f"</{tag}>")
        assert "<@" not in sent["text"]
    bot = Target("t", "telegram", "https://api.telegram.org/bot1:x")
    request = KINDS["telegram"].render(NOTICE, bot, NOW)
    assert request.url == "https://api.telegram.org/bot1:x/sendMessage"


def test_teams_gets_a_card_and_its_query_untouched():
    assert rendered("teams").url == URL
    (attachment,) = body("teams")["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"


def test_webhook_signs_as_standard_webhooks_wants_it():
    known = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    assert (
        webhook.signature(SECRET, known)
        == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    twice = Target("t", "webhook", URL, (SECRET, "another secret, not of that form"))
    request = webhook.render(NOTICE, twice, NOW)
    identity = f"{NOTICE.key}.1700000000.".encode() + request.body
    keys = [base64.b64decode(SECRET.removeprefix("whsec_")), twice.secrets[1].encode()]
    expected = [hmac.new(key, identity, hashlib.sha256).digest() for key in keys]
    given = request.headers["webhook-signature"].split(" ")
    assert given == [f"v1,{base64.b64encode(digest).decode()}" for digest in expected]
    again = webhook.render(NOTICE, twice, NOW + 60)
    assert again.headers["webhook-id"] == request.headers["webhook-id"]
    assert again.body == request.body
    assert json.loads(request.body) == {
        "type": "sync.failed",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {"task": {"id": 7}},
    }


def test_the_others_say_who_we_are_in_headers():
    assert rendered("ntfy").headers["Authorization"] == f"Bearer {SECRET}"
    assert rendered("ntfy").headers["Title"].startswith("=?utf-8?")
    assert rendered("gotify").headers["X-Gotify-Key"] == SECRET
    packagist = rendered("packagist", username="me", repository="https://p/v/pkg")
    assert packagist.headers["Authorization"] == f"Bearer me:{SECRET}"
    assert packagist.headers["Content-Type"] == "application/json"
    assert json.loads(packagist.body) == {"repository": {"url": "https://p/v/pkg"}}
    assert urlsplit(rendered("ping").url).path == "/hook/T0K3N/fail"
    good = rendered("ping", replace(NOTICE, level=Level.GOOD))
    assert urlsplit(good.url).path == "/hook/T0K3N"
    assert body("dockerhub")["state"] == "failure"


SAID = [
    ("slack", 200, "ok", Fate.SENT),
    ("slack", 200, "no_text", Fate.NEVER),
    ("slack", 201, "no_text", Fate.NEVER),
    ("slack", 200, '{"ok": false, "error": "x"}', Fate.NEVER),
    ("slack", 400, "invalid_payload", Fate.NEVER),
    ("slack", 403, "invalid_token", Fate.NEVER),
    ("slack", 404, "no_service", Fate.NEVER),
    ("slack", 410, "channel_is_archived", Fate.NEVER),
    ("slack", 429, "", Fate.AGAIN),
    ("slack", 500, "rollup_error", Fate.AGAIN),
    ("discord", 200, '{"id": "1"}', Fate.SENT),
    ("discord", 429, '{"retry_after": 0.65}', Fate.AGAIN),
    ("discord", 404, '{"code": 10015}', Fate.NEVER),
    ("dingtalk", 200, '{"errcode": 0, "errmsg": "ok"}', Fate.SENT),
    ("dingtalk", 200, '{"errcode": 310000, "errmsg": "sign not match"}', Fate.NEVER),
    ("dingtalk", 200, '{"errcode": 130101, "errmsg": "too fast"}', Fate.AGAIN),
    ("dingtalk", 200, '{"status": 1111, "punish": "x"}', Fate.AGAIN),
    ("dingtalk", 200, '{"errcode": 460101, "errmsg": "too long"}', Fate.NEVER),
    ("dingtalk", 200, '{"errcode": 90030}', Fate.AGAIN),
    ("dingtalk", 502, "<html>", Fate.AGAIN),
    ("feishu", 200, '{"code": 0, "msg": "success"}', Fate.SENT),
    ("feishu", 200, '{"StatusCode": 0}', Fate.SENT),
    ("feishu", 200, '{"code": 19021, "msg": "sign match fail"}', Fate.NEVER),
    ("feishu", 400, '{"code": 99991400}', Fate.AGAIN),
    ("feishu", 400, '{"code": 9499, "msg": "Bad Request"}', Fate.NEVER),
    ("feishu", 200, '{"code": 19024, "msg": "Key Words Not Found"}', Fate.NEVER),
    ("feishu", 200, '{"code": 11232}', Fate.AGAIN),
    ("feishu", 200, '{"code": false}', Fate.NEVER),
    ("wecom", 200, '{"errcode": 0}', Fate.SENT),
    ("wecom", 200, '{"errcode": 93000, "errmsg": "invalid webhook url"}', Fate.NEVER),
    ("wecom", 200, '{"errcode": 45009}', Fate.AGAIN),
    ("wecom", 200, '{"errcode": 40058, "errmsg": "exceed"}', Fate.NEVER),
    ("telegram", 200, '{"ok": true, "result": {}}', Fate.SENT),
    ("telegram", 200, "<html>a portal</html>", Fate.AGAIN),
    ("telegram", 400, '{"ok": false, "description": "chat not found"}', Fate.NEVER),
    ("telegram", 401, '{"ok": false, "description": "Unauthorized"}', Fate.NEVER),
    ("telegram", 403, '{"ok": false, "description": "blocked"}', Fate.NEVER),
    ("telegram", 429, '{"ok": false, "parameters": {"retry_after": 7}}', Fate.AGAIN),
    ("teams", 202, "", Fate.SENT),
    ("teams", 400, '{"error": {"code": "x"}}', Fate.NEVER),
    ("webhook", 204, "", Fate.SENT),
    ("webhook", 302, "", Fate.AGAIN),
    ("webhook", 404, "", Fate.AGAIN),
    ("webhook", 410, "", Fate.NEVER),
    ("slack", 200, '{"ok":true}', Fate.SENT),
    ("slack", 200, '{"ok": false, "error": "no_text"}', Fate.NEVER),
    ("slack", 200, '{"ok": false, "error": "ratelimited"}', Fate.AGAIN),
    (
        "dingtalk",
        200,
        '{"errcode": 410100, "errmsg": "发送速度太快而限流"}',
        Fate.AGAIN,
    ),
    ("dingtalk", 200, '{"errcode": 400101, "errmsg": "no token"}', Fate.NEVER),
    ("feishu", 200, '{"code": 9499, "msg": "too many request"}', Fate.AGAIN),
    ("feishu", 500, '{"code": 1, "msg": "inner"}', Fate.AGAIN),
    (
        "wecom",
        200,
        '{"errcode": 45033, "errmsg": "concurrent out of limit"}',
        Fate.AGAIN,
    ),
    ("slack", 200, "<html>Sign in</html>", Fate.AGAIN),
    ("discord", 200, " <!DOCTYPE html><title>Sign in</title>", Fate.AGAIN),
    ("discord", 204, "", Fate.SENT),
    ("ntfy", 200, "<html>a portal</html>", Fate.AGAIN),
    ("ntfy", 200, '{"id": "x"', Fate.SENT),  # its beginning is all that we keep
    ("gotify", 200, "<html>a portal</html>", Fate.AGAIN),
    ("packagist", 200, "<html>a portal</html>", Fate.AGAIN),
    ("webhook", 200, "<p>ok", Fate.SENT),
    ("ntfy", 429, "", Fate.AGAIN),
    ("gotify", 401, "", Fate.NEVER),
    ("ping", 200, "OK", Fate.SENT),
    ("ping", 200, "OK (not found)", Fate.NEVER),
    ("ping", 200, "OK (rate limited)", Fate.AGAIN),
    ("packagist", 202, '{"status": "success"}', Fate.SENT),
    ("packagist", 202, '{"status": "error"}', Fate.NEVER),
    ("packagist", 403, "", Fate.NEVER),
    ("packagist", 406, "", Fate.NEVER),
    ("packagist", 502, "", Fate.AGAIN),
    ("dockerhub", 200, "", Fate.SENT),
]


@pytest.mark.parametrize(("kind", "status", "text", "fate"), SAID)
def test_an_answer_means_what_the_vendor_says(kind, status, text, fate):
    verdict = KINDS[kind].judge(VendorAnswer(status, text.encode()))
    assert verdict.fate is fate, verdict
    assert (fate is Fate.SENT) is (not verdict.reason or "began" in verdict.reason)


@pytest.mark.parametrize(("given", "sent"), [
    ("https://g.example", "https://g.example/message"),
    ("https://g.example/push/message/", "https://g.example/push/message"),
    ("https://g.example/message?token=x", "https://g.example/message?token=x"),
])  # fmt: skip
def test_gotify_is_reached_by_either_address(given, sent):
    target = Target("x", "gotify", given, ("t0ken",))
    assert KINDS["gotify"].render(NOTICE, target, 0.0).url == sent


def test_a_remedy_is_for_what_it_remedies():
    refused = {"dingtalk": '{"errcode": %d}', "feishu": '{"code": %d}'}
    for kind, code, helps in (
        ("dingtalk", 310000, True),
        ("dingtalk", 460101, False),
        ("feishu", 19022, True),
        ("feishu", 9499, False),
    ):
        verdict = KINDS[kind].judge(VendorAnswer(200, (refused[kind] % code).encode()))
        assert ("address list" in verdict.reason) is helps
    moved = b'{"ok": false, "description": "upgraded", "parameters":'
    answer = VendorAnswer(400, moved + b' {"migrate_to_chat_id": -1007}}')
    assert "chat_id is -1007 now" in KINDS["telegram"].judge(answer).reason


def test_a_wait_is_read_wherever_the_vendor_puts_it():
    discord = VendorAnswer(429, b'{"retry_after": 0.65}')
    assert KINDS["discord"].judge(discord).after == 0.65
    telegram = VendorAnswer(429, b'{"parameters": {"retry_after": 7}}')
    assert KINDS["telegram"].judge(telegram).after == 7.0
    slack = VendorAnswer(429, b"", {"retry-after": "30"})
    assert KINDS["slack"].judge(slack).after == 30.0
    wecom = VendorAnswer(200, b'{"errcode": 45009}')
    assert KINDS["wecom"].judge(wecom).after == 60.0
    feishu = VendorAnswer(429, b'{"code": 99991400}', {"retry-after": "90"})
    assert KINDS["feishu"].judge(feishu).after == 90.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        (
            {
                "date": "Thu, 01 Jan 2026 00:00:00 GMT",
                "retry-after": "Thu, 01 Jan 2026 00:02:00 GMT",
            },
            120.0,
        ),
        ({"retry-after": "Thu, 01 Jan 2026 00:02:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert retry_after(VendorAnswer(503, b"", headers)) == seconds


def test_no_character_is_torn():
    for most in range(3, 40):
        assert len(cut_bytes("分支 main" * 9, most).encode()) <= most


def test_a_mail_can_be_told_from_a_persons():
    to = Target(
        "m", "email", "smtps://u@h", options={"from": "Bot <b@h.org>", "to": "o@h.org"}
    )
    message = mail.compose(replace(NOTICE, title="two\r\nlines"), to)
    assert message["Subject"] == "two lines"
    assert message["Message-ID"] == f"<{NOTICE.key}@h.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert (
        "分支" not in message.as_string()
    )  # quoted-printable, whatever the server takes
    assert "second line" in message.get_content()
