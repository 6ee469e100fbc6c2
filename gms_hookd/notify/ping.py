"""A heartbeat as healthchecks.io takes it: the URL for success, `/fail` for failure.

Page: healthchecks.io/docs/signaling_failures.
"""

from urllib.parse import urlsplit, urlunsplit

from gms_hookd.notify.base import (
    Fate,
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
    """Return what the answer means: a check that is not there is a 200, too.

    Page: healthchecks.io/docs/http_api, Response Codes.
    """
    said = answer.text.lower()
    if answer.status == 200 and "(not found)" in said:
        return SendResult(Fate.NEVER, f"it says {answer.text}")
    if answer.status == 200 and "(rate limited)" in said:
        return SendResult(Fate.AGAIN, f"it says {answer.text}", 60.0)
    return judged_by_status(answer)
