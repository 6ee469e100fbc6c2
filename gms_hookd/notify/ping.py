"""A heartbeat as healthchecks.io takes it: the URL for success, `/fail` for failure.

Page: healthchecks.io/docs/signaling_failures.
"""

from urllib.parse import urlsplit, urlunsplit

from gms_hookd.notify import base

NAME = "ping"
PACE = 1.0
MOST = 9000  # bytes; 10 kB are kept there
GOOD = (base.Level.GOOD, base.Level.CHANGED)


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return the ping; its body is kept there as a note."""
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/") + ("" if notice.level in GOOD else "/fail")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    body = base.cut_bytes(base.plain(notice), MOST).encode()
    return base.VendorRequest(urlunsplit(parts._replace(path=path)), body, headers)


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means: a check that is not there is a 200, too.

    Page: healthchecks.io/docs/http_api, Response Codes.
    """
    said = answer.text.lower()
    if answer.status == 200 and "(not found)" in said:
        return base.SendResult(base.Fate.NEVER, f"it says {answer.text}")
    if answer.status == 200 and "(rate limited)" in said:
        return base.SendResult(base.Fate.AGAIN, f"it says {answer.text}", 60.0)
    return base.judged_by_status(answer)
