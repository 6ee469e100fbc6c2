"""DingTalk's custom robots. Page: open.dingtalk.com/document, custom robot access.

With a secret the URL is signed: base64 of the HMAC-SHA256, under the secret, of the
milliseconds, a line feed and the secret. That holds for an hour, so it is computed for
each attempt and never kept.
"""

import hashlib
import hmac
from urllib.parse import quote_plus

from gms_hookd.auth.signature import base64_text
from gms_hookd.notify import base
from gms_hookd.notify.coded import judged_by_code

NAME = "dingtalk"
PACE = 4.0  # 20 a minute; more, and the robot is muted for ten minutes
MOST = 18_000  # bytes; a message may have 20,000
REASON = 5000  # characters
BUSY = frozenset({130101, -1, 90018, 90030})
SECURITY = {
    310000: ": check secret, keyword and address list of the robot, and this clock"
}


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return a Markdown message, with the keyword that the robot wants."""
    keyword = target.options.get("keyword", "")
    body = base.body_within(notice, REASON, MOST, lambda text: _body(text, keyword))
    return base.VendorRequest(signed(target.url, target.secrets, now), body)


def _body(notice: base.Notice, keyword: str) -> bytes:
    lines = [f"### {_flat(notice.title)}"]
    lines += [f"> {_flat(line)}" for line in notice.reason.splitlines() if line.strip()]
    lines += [f"- {_flat(label)}: {_flat(value)}" for label, value in notice.facts]
    lines += [f"[{notice.link}]({notice.link})"] if notice.link else []
    text = "  \n".join(lines)
    if keyword and keyword not in text:
        text += f"  \n{keyword}"
    markdown = {"title": base.cut_bytes(_flat(notice.title), 200), "text": text}
    return base.json_body({"msgtype": "markdown", "markdown": markdown})


def signed(url: str, secrets: tuple[str, ...], now: float) -> str:
    """Return the URL with time and signature, encoded once."""
    if not secrets:
        return url
    milliseconds, secret = str(round(now * 1000)), secrets[0]
    said = f"{milliseconds}\n{secret}".encode()
    digest = hmac.new(secret.encode(), said, hashlib.sha256).digest()
    joint = "&" if "?" in url else "?"
    sign = quote_plus(base64_text(digest))
    return f"{url}{joint}timestamp={milliseconds}&sign={sign}"


def _flat(text: str) -> str:
    """Return one line whose start is no Markdown, with no link, picture or tag."""
    line = base.unlinked(base.flat(text)).replace("<", "\uff1c")
    return f"\\{line}" if line[:1] in ("#", ">", "-", "*") else line


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the code means; 310000 is a check of the robot that failed."""
    return judged_by_code(answer, ("errcode",), BUSY, SECURITY)
