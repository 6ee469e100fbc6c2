"""Feishu's and Lark's custom bots. Page: open.feishu.cn, Custom bot usage guide.

With a secret the body is signed: base64 of the HMAC-SHA256 of nothing, under the
seconds, a line feed and the secret. DingTalk has key and message the other way round.
"""

import hashlib
import hmac

from gms_hookd.auth.signature import base64_text
from gms_hookd.notify import base
from gms_hookd.notify.coded import judged_by_code

NAME = "feishu"
PACE = 1.0
MOST = 18_000  # bytes; a message may have 20 KB
REASON = 6000  # characters
TEMPLATES = {
    base.Level.GOOD: "green",
    base.Level.CHANGED: "blue",
    base.Level.WARNING: "orange",
    base.Level.BAD: "red",
}
BUSY = frozenset({11232, 99991400})
_CHECK = ": check secret, keyword and address list of the bot, and this clock"
SECURITY = dict.fromkeys((19021, 19022, 19024), _CHECK)


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return a card; texts from outside are plain text, which has no markup."""
    body = base.body_within(notice, REASON, MOST, lambda text: _body(text, target, now))
    return base.VendorRequest(target.url, body)


def _body(notice: base.Notice, target: base.Target, now: float) -> bytes:
    elements = [_text(notice.reason)] if notice.reason else []
    elements += [_text(f"{label}: {value}") for label, value in notice.facts]
    if notice.link:
        elements.append(_text(notice.link))
    keyword = target.options.get("keyword", "")
    if keyword:
        elements.append(_text(keyword))
    title = {"tag": "plain_text", "content": base.cut_bytes(notice.title, 300)}
    header = {"template": TEMPLATES[notice.level], "title": title}
    card = {"header": header, "elements": elements or [_text(notice.title)]}
    body: dict[str, object] = {"msg_type": "interactive", "card": card}
    if target.secrets:
        seconds = str(int(now))
        body |= {"timestamp": seconds, "sign": sign(target.secrets[0], seconds)}
    return base.json_body(body)


def _text(content: str) -> dict[str, object]:
    return {"tag": "div", "text": {"tag": "plain_text", "content": content}}


def sign(secret: str, seconds: str) -> str:
    """Return the signature of a time."""
    key = f"{seconds}\n{secret}".encode()
    return base64_text(hmac.new(key, b"", hashlib.sha256).digest())


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the code means; older bots have `StatusCode` alone."""
    return judged_by_code(answer, ("code", "StatusCode"), BUSY, SECURITY)
