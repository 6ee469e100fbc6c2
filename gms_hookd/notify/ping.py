"""A heartbeat as healthchecks.io takes it: the URL for success, `/fail` for failure.

Page: healthchecks.io/docs/signaling_failures.
"""

from urllib.parse import urlsplit, urlunsplit

from gms_hookd.notify.base import (
    Level,
    Notice,
    SendResult,
    Target,
    VendorAnswer,
    VendorRequest,
    cut_bytes,
    judged_by_status,
    plain,
)

NAME = "ping"
PACE = 1.0
MOST = 9000  # bytes; 10 kB are kept there
GOOD = (Level.GOOD, Level.CHANGED)


def render(notice: Notice, target: Target, now: float) -> VendorRequest:
    """Return the ping; its body is kept there as a note."""
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/") + ("" if notice.level in GOOD else "/fail")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    body = cut_bytes(plain(notice), MOST).encode()
    return VendorRequest(urlunsplit(parts._replace(path=path)), body, headers)


def judge(answer: VendorAnswer) -> SendResult:
    """Return what the answer means."""
    return judged_by_status(answer)
