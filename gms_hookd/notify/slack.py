"""Slack's incoming webhooks.

Page: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks; escaping:
docs.slack.dev/messaging/formatting-message-text.
"""

import re

from gms_hookd.notify import base

NAME = "slack"
PACE = 1.0
_GOOD = re.compile(r'ok|\{"ok": ?true\b.*', re.DOTALL)  # workflows answer in JSON
MOST = 2900  # characters: a section's text may have 3,000


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return an attachment with a colour; the plain text is for notifications."""
    notice = base.bounded(notice, MOST)
    title = base.escaped_within(base.flat(notice.title), MOST // 2, escaped)
    head = f"<{notice.link}|{title.replace('|', '¦')}>" if notice.link else title
    facts = " · ".join(f"{label} {value}" for label, value in notice.facts)
    blocks = [_section(f"*{head}*")]
    if notice.reason:
        fenced = notice.reason.replace("```", "'''")
        blocks.append(_section(f"```{base.escaped_within(fenced, MOST, escaped)}```"))
    if facts:
        element = {"type": "mrkdwn", "text": base.escaped_within(facts, MOST, escaped)}
        blocks.append({"type": "context", "elements": [element]})
    attachment = {
        "color": f"#{notice.level.value:06x}",
        "fallback": title,
        "blocks": blocks,
    }
    return base.VendorRequest(
        target.url, base.json_body({"text": title, "attachments": [attachment]})
    )


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def escaped(text: str) -> str:
    """Escape what Slack reads: without it `<!channel>` would call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means: 200 is success only if the body says so, too."""
    verdict = base.judged_without_page(answer)
    if verdict.fate is not base.Fate.SENT or _GOOD.fullmatch(answer.text):
        return verdict
    fate = base.Fate.AGAIN if "rate" in answer.text else base.Fate.NEVER
    return base.SendResult(fate, f"slack says {answer.text}", base.retry_after(answer))
