"""Mail: a text message by RFC 5322, marked as not written by a person."""

from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from gms_hookd.notify.base import Notice, Target, cut, plain

NAME = "email"
PACE = 6.0
MOST = 100_000  # characters


def compose(notice: Notice, target: Target) -> EmailMessage:
    """Return the message; the same key gives the same Message-ID.

    `Auto-Submitted` is RFC 3834: no holiday notice comes back.
    """
    sender = target.options.get("from", "")
    domain = sender.rpartition("@")[2].strip(" >") or "localhost"
    message = EmailMessage()
    message["Subject"] = " ".join(cut(notice.title, 200).split())
    message["From"] = sender
    message["To"] = target.options.get("to", "")
    message["Date"] = format_datetime(datetime.fromisoformat(notice.timestamp))
    message["Message-ID"] = f"<{notice.key}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Gms-Hookd-Event"] = notice.event
    message.set_content(cut(plain(notice), MOST) + "\n", cte="quoted-printable")
    return message
