"""Gotify. Page: gotify.net/docs/pushmsg."""

from urllib.parse import urlsplit, urlunsplit

from gms_hookd.notify import base

NAME = "gotify"
PACE = 0.5
MOST = 8000  # characters
PRIORITIES = {
    base.Level.GOOD: 2,
    base.Level.CHANGED: 2,
    base.Level.WARNING: 6,
    base.Level.BAD: 8,
}
judge = base.judged_without_page


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return a message; the application's token goes into a header, not the URL."""
    body = {
        "title": base.cut(notice.title, 200),
        "message": base.cut(base.plain(notice), MOST),
        "priority": PRIORITIES[notice.level],
    }
    key = {"X-Gotify-Key": target.secrets[0]} if target.secrets else {}
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/").removesuffix("/message") + "/message"
    url = urlunsplit(parts._replace(path=path))
    return base.VendorRequest(url, base.json_body(body), {**base.JSON, **key})
