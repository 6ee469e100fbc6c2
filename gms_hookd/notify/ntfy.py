"""ntfy, of ntfy.sh or one's own. Page: docs.ntfy.sh/publish."""

from email.header import Header

from gms_hookd.notify.base import (
    Level,
    Notice,
    Target,
    VendorRequest,
    cut,
    cut_bytes,
    judged_by_status,
    plain,
)

NAME = "ntfy"
PACE = 5.0  # ntfy.sh gives one message each five seconds
MOST = 4000  # bytes; what is over 4,096 would become an attachment
PRIORITIES = {Level.GOOD: "2", Level.CHANGED: "2", Level.WARNING: "4", Level.BAD: "4"}
TAGS = {
    Level.GOOD: "white_check_mark",
    Level.CHANGED: "arrows_counterclockwise",
    Level.WARNING: "warning",
    Level.BAD: "rotating_light",
}
judge = judged_by_status


def render(notice: Notice, target: Target, now: float) -> VendorRequest:
    """Return text for the topic that the URL names; its title may need RFC 2047."""
    title = " ".join(cut(notice.title, 200).split())
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Title": title if title.isascii() and title.isprintable() else _encoded(title),
        "Priority": PRIORITIES[notice.level],
        "Tags": TAGS[notice.level],
    }
    if notice.link:
        headers["Click"] = notice.link
    if target.secrets:
        headers["Authorization"] = f"Bearer {target.secrets[0]}"
    return VendorRequest(target.url, cut_bytes(plain(notice), MOST).encode(), headers)


def _encoded(title: str) -> str:
    return Header(title, "utf-8").encode(linesep="")
