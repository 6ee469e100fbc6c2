"""Microsoft Teams by a workflow, "When a Teams webhook request is received".

Page: learn.microsoft.com/power-automate/teams/send-a-message-in-teams; the card:
adaptivecards.io. The older connectors (webhook.office.com) are switched off.
"""

import re

from gms_hookd.notify import base

NAME = "teams"
PACE = 1.0
MOST = 24_000  # bytes; a message may have 28 KB
REASON = 5000  # characters
COLOURS = {
    base.Level.GOOD: "Good",
    base.Level.CHANGED: "Accent",
    base.Level.WARNING: "Warning",
    base.Level.BAD: "Attention",
}
_MARKUP = re.compile(r"([\\*_\[\]()#-])")
_SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return a message with one adaptive card; the URL's query stays as it is."""
    return base.VendorRequest(target.url, base.body_within(notice, REASON, MOST, _body))


def _body(notice: base.Notice) -> bytes:
    bold = {"size": "Medium", "weight": "Bolder", "color": COLOURS[notice.level]}
    parts: list[dict[str, object]] = [_block(notice.title, **bold)]
    if notice.reason:
        parts.append(_block(notice.reason, fontType="Monospace"))
    if notice.facts:
        facts = [{"title": label, "value": plain} for label, plain in _plain(notice)]
        parts.append({"type": "FactSet", "facts": facts})
    card: dict[str, object] = {
        "$schema": _SCHEMA,
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "full"},
        "body": parts,
    }
    if notice.link:
        action = {"type": "Action.OpenUrl", "title": "Open", "url": notice.link}
        card["actions"] = [action]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return base.json_body({"type": "message", "attachments": [attachment]})


def _plain(notice: base.Notice) -> list[tuple[str, str]]:
    return [(label, _MARKUP.sub(r"\\\1", value)) for label, value in notice.facts]


def _block(text: str, **look: object) -> dict[str, object]:
    escaped = _MARKUP.sub(r"\\\1", text).replace("\n", "\n\n")
    return {"type": "TextBlock", "wrap": True, "text": escaped, **look}


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means: 202 says that the workflow began, no more."""
    verdict = base.judged_by_status(answer)
    if verdict.fate is base.Fate.SENT:
        begun = f"status {answer.status}: the workflow began; look whether it posted"
        return base.SendResult(base.Fate.SENT, begun)
    return verdict
