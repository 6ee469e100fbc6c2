"""WeCom's group robots. Page: developer.work.weixin.qq.com/document/path/91770."""

from gms_hookd.notify.base import (
    Level,
    Notice,
    SendResult,
    Target,
    VendorAnswer,
    VendorRequest,
    bounded,
    cut_bytes,
    json_body,
)
from gms_hookd.notify.coded import judged_by_code

NAME = "wecom"
PACE = 4.0  # 20 a minute
MOST = 4000  # bytes of Markdown; 4,096 are allowed
COLOURS = {
    Level.GOOD: "info",
    Level.CHANGED: "comment",
    Level.WARNING: "warning",
    Level.BAD: "warning",
}
BUSY = frozenset({45009, -1})


def render(notice: Notice, target: Target, now: float) -> VendorRequest:
    """Return a Markdown message; what is too long is cut from the reason."""
    notice = bounded(notice, MOST)
    title = f'<font color="{COLOURS[notice.level]}">{safe(notice.title)}</font>'
    head = f"**{cut_bytes(title, 1000)}**"
    facts = [f"> {safe(label)}: {safe(value)}" for label, value in notice.facts]
    tail = "\n".join([*facts, *([notice.link] if notice.link else [])])
    tail = cut_bytes(tail, 1000)
    lines = (line for line in notice.reason.splitlines() if line.strip())
    reason = "\n".join(f"> {safe(line)}" for line in lines)
    room = MOST - len(head.encode()) - len(tail.encode()) - 2
    content = "\n".join(filter(None, (head, cut_bytes(reason, room), tail)))
    body = {"msgtype": "markdown", "markdown": {"content": content}}
    return VendorRequest(target.url, json_body(body))


def safe(text: str) -> str:
    """Return the text on one line and without tags: `<@all>` would call everybody."""
    return " ".join(text.split()).replace("<", "\uff1c").replace(">", "\uff1e")


def judge(answer: VendorAnswer) -> SendResult:
    """Return what the code means; 93000 is a robot that is gone."""
    return judged_by_code(answer, ("errcode",), BUSY)
