"""Hand a mail to a server: over TLS from the start, or by STARTTLS; never without.

Pages: RFC 5321, RFC 3207, RFC 8314.
"""

import smtplib
import socket
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from gms_hookd.errors import ClientError
from gms_hookd.http.client import one_line_errors
from gms_hookd.http.timed import Budget, TimedSocket, connected, secured

READY, LET_IN = 220, 235
PERMANENT = 500
# Seconds in which a message is taken once we are let in. RFC 5321, 4.5.3.2.6, has ten
# minutes for the last reply: who looks for viruses takes long, and has it all the same.
TAKING = 90.0


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over; `implicit`: TLS from the start.

    `insecure`: without any TLS, which is for a server on this machine.
    """

    host: str
    port: int
    implicit: bool = False
    insecure: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None

    @classmethod
    def of(
        cls, url: str, password: str, *, insecure: bool, ca_file: Path | None
    ) -> "MailServer":
        """Return the server at `smtps://USER@HOST`, or `smtp://` for STARTTLS.

        The usual ports are 465 (RFC 8314, 3.3) and 587 (RFC 6409, 3.1).
        """
        parts = urlsplit(url)
        implicit = parts.scheme == "smtps"
        port = parts.port or (465 if implicit else 587)
        user = unquote(parts.username or "")
        place = parts.hostname or "", port, implicit, insecure
        return cls(*place, user, password, ca_file)


class RefusedError(ClientError):
    """The server said no, and will say it again: a reply of 500 or more."""


class HandedOver(NamedTuple):
    """What a server has taken, in one line; `refused` is for whom it has not."""

    said: str
    refused: str = ""


def deliver(message: EmailMessage, server: MailServer, within: float) -> HandedOver:
    """Hand a message over.

    Raises RefusedError, and ClientError where another try may help. It takes `within`
    seconds at most until the server lets us in, and TAKING from then on.
    """
    budget = Budget(within)
    where = f"{server.host}:{server.port}"
    with (
        one_line_errors(where, within, "a mail server"),
        _smtp_errors(where),
        closing(_opened(server, budget)) as session,
    ):
        if server.username:
            _log_in(session, server)
        budget.renew(TAKING)
        refused = _refused(session.send_message(message))
        return HandedOver(
            f"{where} has taken it{refused and ', but ' + refused}", refused
        )


def _log_in(session: smtplib.SMTP, server: MailServer) -> None:
    """Log in, with characters too that smtplib does not take: RFC 4616 has UTF-8."""
    both = f"\0{server.username}\0{server.password}"
    if both.isascii():
        session.login(server.username, server.password)
        return
    code, said = session.docmd("AUTH PLAIN", b64encode(both.encode()).decode())
    if code != LET_IN:
        raise smtplib.SMTPAuthenticationError(code, said)


def _refused(found: Mapping[str, tuple[int, bytes]]) -> str:
    """Say for whom a message was not taken, "" if it was for all.

    It is not sent again then: the others would get it twice.
    """
    if not found:
        return ""
    address, (code, why) = next(iter(found.items()))
    words = " ".join(why.decode(errors="replace").split())
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"not for {address}{others}: {code} {words}"


def _opened(server: MailServer, budget: Budget) -> smtplib.SMTP:
    plain = connected(server.host, server.port, budget)
    # Without the name it would ask a name server for it, for as long as that takes.
    session = smtplib.SMTP(local_hostname=_own_name(plain))
    _use(session, plain)
    try:
        if server.implicit:
            _use(session, secured(plain, server.host, budget, server.ca_file))
        _greet(session)
        if not (server.implicit or server.insecure):
            _start_tls(session, plain, server, budget)
    except BaseException:
        session.close()
        raise
    return session


def _own_name(plain: socket.socket) -> str:
    """Return our name if it is a whole one, else our address (RFC 5321, 4.1.4)."""
    name, (address, *_) = socket.gethostname(), plain.getsockname()
    if "." in name:
        return name
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _greet(session: smtplib.SMTP) -> None:
    code, said = session.getreply()
    if code != READY:
        raise smtplib.SMTPConnectError(code, said)
    session.ehlo_or_helo_if_needed()


def _start_tls(
    session: smtplib.SMTP, plain: TimedSocket, server: MailServer, budget: Budget
) -> None:
    if not session.has_extn("starttls"):
        raise RefusedError(
            f"{server.host}:{server.port}: offers no STARTTLS: use smtps://"
        )
    code, said = session.docmd("STARTTLS")
    if code != READY:
        raise smtplib.SMTPResponseException(code, said)
    _use(session, secured(plain, server.host, budget, server.ca_file))
    # What was said before TLS is forgotten (RFC 3207, 4.2).
    session.ehlo_resp = session.helo_resp = None
    session.esmtp_features, session.does_esmtp = {}, False
    session.ehlo_or_helo_if_needed()


def _use(session: smtplib.SMTP, connection: socket.socket) -> None:
    session.sock = connection
    session.file = None


@contextmanager
def _smtp_errors(where: str) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise _error(where, code, said) from None
    except smtplib.SMTPResponseException as error:
        raise _error(where, error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPServerDisconnected as error:
        raise ClientError(f"{where}: {error}") from None
    except smtplib.SMTPException as error:
        raise RefusedError(f"{where}: {error}") from None


def _error(where: str, code: int, said: bytes | str) -> ClientError:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    kind = RefusedError if code >= PERMANENT else ClientError
    return kind(f"{where}: {code} {' '.join(text.split())}")
