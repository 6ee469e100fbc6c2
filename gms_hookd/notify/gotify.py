"""Gotify. Page: gotify.net/docs/pushmsg."""

from gms_hookd.notify.base import (
    JSON,
    Level,
    Notice,
    Target,
    VendorRequest,
    cut,
    json_body,
    judged_by_status,
    plain,
)

NAME = "gotify"
PACE = 0.5
MOST = 8000  # characters
PRIORITIES = {Level.GOOD: 2, Level.CHANGED: 2, Level.WARNING: 6, Level.BAD: 8}
judge = judged_by_status


def render(notice: Notice, target: Target, now: float) -> VendorRequest:
    """Return a message; the application's token goes into a header, not the URL."""
    body = {
        "title": cut(notice.title, 200),
        "message": cut(plain(notice), MOST),
        "priority": PRIORITIES[notice.level],
    }
    key = {"X-Gotify-Key": target.secrets[0]} if target.secrets else {}
    base = target.url.rstrip("/").removesuffix("/message")
    return VendorRequest(f"{base}/message", json_body(body), {**JSON, **key})
