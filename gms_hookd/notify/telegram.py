"""Telegram's bots. Page: core.telegram.org/bots/api#sendmessage.

`url` is `https://api.telegram.org/bot<token>`, `chat_id` an option of the target.
"""

import re
from html import escape

from gms_hookd.notify import base
from gms_hookd.payload import load_json_body

NAME = "telegram"
PACE = 4.0  # 20 a minute for a group
# Units of UTF-16 of title, reason and facts; a message may have 4,096 without its tags.
TITLE, MOST, FACTS = 300, 2500, 800
MARKS = {
    base.Level.GOOD: "🟢",
    base.Level.CHANGED: "🔵",
    base.Level.WARNING: "🟠",
    base.Level.BAD: "🔴",
}


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return a message in the HTML of Telegram, cut before it is escaped."""
    notice = base.bounded(notice, MOST)
    title = escape(base.cut_utf16(notice.title, TITLE))
    head = f'<a href="{escape(notice.link)}">{title}</a>' if notice.link else title
    lines = [f"{MARKS[notice.level]} <b>{head}</b>"]
    if notice.reason:
        lines.append(
            f"<pre>{escape(base.cut_utf16(notice.reason, MOST), quote=False)}</pre>"
        )
    facts = " · ".join(f"{label} {value}" for label, value in notice.facts)
    lines += [escape(base.cut_utf16(facts, FACTS), quote=False)] if facts else []
    body = {
        "chat_id": _chat(target.options.get("chat_id", "")),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
        "disable_notification": notice.level in (base.Level.GOOD, base.Level.CHANGED),
        "text": "\n".join(lines),
    }
    return base.VendorRequest(
        f"{target.url.rstrip('/')}/sendMessage", base.json_body(body)
    )


def _chat(given: str) -> int | str:
    """Return the number of a chat, or the name of a channel (`@name`)."""
    return int(given) if re.fullmatch(r"-?[0-9]{1,18}", given) else given


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means: `ok` must be true; a wait is in the parameters."""
    try:
        content = load_json_body(answer.body)
    except ValueError:
        content = None
    found = content if isinstance(content, dict) else {}
    if found.get("ok") is True and answer.status == 200:
        return base.judged_by_status(answer)
    words = found.get("description")
    reason = str(words) if words else ""
    if answer.status == 200:
        return base.SendResult(
            base.Fate.AGAIN, reason or "an answer that is not Telegram's"
        )
    parameters = found.get("parameters")
    more = parameters if isinstance(parameters, dict) else {}
    if moved := more.get("migrate_to_chat_id"):
        reason += f": its chat_id is {moved} now"
    verdict = base.judged_by_status(answer, reason)
    after = more.get("retry_after")
    if verdict.fate is base.Fate.AGAIN and isinstance(after, int) and after >= 0:
        return base.SendResult(
            base.Fate.AGAIN, verdict.reason, min(float(after), 3600.0)
        )
    return verdict
