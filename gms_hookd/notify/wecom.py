"""WeCom's group robots. Page: developer.work.weixin.qq.com/document/path/91770."""

from gms_hookd.notify import base
from gms_hookd.notify.coded import judged_by_code

NAME = "wecom"
PACE = 4.0  # 20 a minute
MOST = 4000  # bytes of Markdown; 4,096 are allowed
COLOURS = {
    base.Level.GOOD: "info",
    base.Level.CHANGED: "comment",
    base.Level.WARNING: "warning",
    base.Level.BAD: "warning",
}
BUSY = frozenset({45009, -1})


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return a Markdown message; what is too long is cut from the reason."""
    notice = base.bounded(notice, MOST)
    title = base.cut_bytes(safe(notice.title), 600)
    head = f'**<font color="{COLOURS[notice.level]}">{title}</font>**'
    facts = [f"> {safe(label)}: {safe(value)}" for label, value in notice.facts]
    shown = base.cut_bytes("\n".join(facts), 900)
    tail = "\n".join(filter(None, (shown, notice.link)))
    lines = (line for line in notice.reason.splitlines() if line.strip())
    reason = "\n".join(f"> {safe(line)}" for line in lines)
    room = MOST - len(head.encode()) - len(tail.encode()) - 2
    said = base.cut_bytes(reason, room) if room > 0 else ""
    content = "\n".join(filter(None, (head, said, tail)))
    body = {"msgtype": "markdown", "markdown": {"content": content}}
    return base.VendorRequest(target.url, base.json_body(body))


def safe(text: str) -> str:
    """Return the text on one line and without tags: `<@all>` would call everybody."""
    return base.unlinked(base.flat(text)).replace("<", "\uff1c")


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the code means; 93000 is a robot that is gone."""
    return judged_by_code(answer, ("errcode",), BUSY)
