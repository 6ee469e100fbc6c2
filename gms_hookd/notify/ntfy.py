"""ntfy, of ntfy.sh or one's own. Page: docs.ntfy.sh/publish."""

from email.header import Header

from gms_hookd.notify import base

NAME = "ntfy"
PACE = 5.0  # ntfy.sh gives one message each five seconds
MOST = 4000  # bytes; what is over 4,096 would become an attachment
PRIORITIES = {
    base.Level.GOOD: "2",
    base.Level.CHANGED: "2",
    base.Level.WARNING: "4",
    base.Level.BAD: "4",
}
TAGS = {
    base.Level.GOOD: "white_check_mark",
    base.Level.CHANGED: "arrows_counterclockwise",
    base.Level.WARNING: "warning",
    base.Level.BAD: "rotating_light",
}
judge = base.judged_without_page


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return text for the topic that the URL names; its title may need RFC 2047."""
    title = " ".join(base.cut(notice.title, 200).split())
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
    return base.VendorRequest(
        target.url, base.cut_bytes(base.plain(notice), MOST).encode(), headers
    )


def _encoded(title: str) -> str:
    return Header(title, "utf-8").encode(linesep="")
