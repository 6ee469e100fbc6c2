"""Discord's webhooks. Page: discord.com/developers/docs/resources/webhook.

Sent with `wait=true`: without it, a message that is not saved is no error there.
"""

import re
from urllib.parse import urlsplit, urlunsplit

from gms_hookd.notify import base
from gms_hookd.payload import load_json_body

NAME = "discord"
PACE = 2.5
# 256, 4096, 1024 and 25 are allowed, and 6,000 characters of all texts together.
TITLE, DESCRIPTION, VALUE, FIELDS = 256, 3000, 300, 6
_MARKUP = re.compile(r"([\\*_~`|>\[\]()#-])")


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return one embed that mentions nobody, well below 6,000 characters."""
    notice = base.bounded(notice, DESCRIPTION)
    fields = [
        {
            "name": label,
            "value": base.escaped_within(value, VALUE, escaped),
            "inline": True,
        }
        for label, value in notice.facts[:FIELDS]
        if label.strip() and value.strip()
    ]
    embed: dict[str, object] = {
        "title": base.escaped_within(base.flat(notice.title), TITLE, escaped),
        "color": notice.level.value,
        "timestamp": notice.timestamp,
        "fields": fields,
    }
    if notice.reason:
        # A zero-width space breaks a fence that would end ours.
        fenced = base.cut(notice.reason.replace("```", "`\u200b``"), DESCRIPTION)
        embed["description"] = f"```\n{fenced}\n```"
    if notice.link:
        embed["url"] = notice.link
    body = {
        "username": "gms-hookd",
        "allowed_mentions": {"parse": []},
        "embeds": [embed],
    }
    return base.VendorRequest(_waiting(target.url), base.json_body(body))


def _waiting(url: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, "wait=true")))
    return urlunsplit(parts._replace(query=query))


def escaped(text: str) -> str:
    """Escape Discord's Markdown."""
    return _MARKUP.sub(r"\\\1", text)


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means; the wait of a 429 may be in the body alone."""
    verdict = base.judged_without_page(answer)
    if verdict.fate is not base.Fate.AGAIN or verdict.after is not None:
        return verdict
    try:
        content = load_json_body(answer.body)
    except ValueError:
        return verdict
    after = content.get("retry_after") if isinstance(content, dict) else None
    if isinstance(after, int | float) and not isinstance(after, bool) and after >= 0:
        return base.SendResult(
            base.Fate.AGAIN, verdict.reason, min(float(after), 3600.0)
        )
    return verdict
