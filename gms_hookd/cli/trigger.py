"""The commands of a client: sign a body, post a trigger as a CI job would."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gms_hookd.auth import signature
from gms_hookd.cli import configuration, render
from gms_hookd.cli.api_client import get
from gms_hookd.cli.session import Args, Session, api_of, which
from gms_hookd.cli.terminal import Style, as_json
from gms_hookd.config.records import GMS_HOOK, Config
from gms_hookd.contract import HOOKS, RunStatus, control_socket, how_to_start
from gms_hookd.errors import ConfigError, Failure, UnreachableError
from gms_hookd.http import client as http_client
from gms_hookd.http.control import PATIENCE, listens
from gms_hookd.safetext import safe


def sign(session: Session, args: Args) -> int:
    """Print the signature of a body."""
    asked = args.file == "-"
    body = sys.stdin.buffer.read() if asked else Path(args.file).read_bytes()
    session.say(signature.sign(_secret(session), body))
    return 0


def _secret(session: Session) -> str:
    """Return the secret to sign with; no other is read."""
    try:
        secrets = configuration.webhook_secrets(session)
    except ConfigError as error:
        raise ConfigError(f"{error}, or set WEBHOOK_SECRET") from None
    if secrets:
        return secrets[0]
    raise ConfigError(
        "webhook.secret: there is none that this user may read: set WEBHOOK_SECRET,"
        " or run this as the daemon's user, or let `gms-hookd serve` make one"
    )


def trigger(session: Session, args: Args) -> int:
    """Post a signed trigger as a CI job would; print what it was answered with."""
    secret = _secret(session)
    body = b'{"task_id": %d}' % _trigger_id(session, args.task)
    where = destination(args.url, partial(configuration.read, session), GMS_HOOK)
    with reached(session, args):
        posted = http_client.post_signed(
            _waiting(where.url, args.wait),
            body,
            signature.sign(secret, body),
            PATIENCE + (args.wait or 0),
            where.certificate,
        )
    return _answered(session, args, posted)


def _trigger_id(session: Session, task: str) -> int:
    if "id" in (by := which(task)):
        return int(by["id"])
    with api_of(session) as api:
        return int(get(api, "task", **by)["id"])


class Destination(NamedTuple):
    """Where a hook is called, and which certificate is there; None: who knows."""

    url: str
    certificate: Path | None = None


def destination(
    url: str | None, settings: Callable[[], Config], hook: str
) -> Destination:
    """Return the URL that was given, else this machine's own with its certificate."""
    if url:
        return Destination(url)
    known = settings()
    return Destination(own_url(known, hook), known.server.tls_cert)


@contextmanager
def reached(session: Session, args: Args) -> Iterator[None]:
    """Say how the daemon is started where this machine's own does not listen."""
    try:
        yield
    except UnreachableError as error:
        if args.url:
            raise
        runs = listens(control_socket(session.state))
        look = "gms-hookd check" if runs else how_to_start(session.state)
        raise Failure(f"{error}: {look}") from None


def own_url(settings: Config, hook: str) -> str:
    """Return a hook's URL on this machine, by the first address we listen on."""
    spec = settings.server.listen[0]
    if spec.startswith("unix:"):
        return f"{spec}:{HOOKS}{hook}"
    host, _, port = spec.rpartition(":")
    scheme = "https" if settings.server.tls_cert else "http"
    if host in ("", "*", "0.0.0.0", "[::]"):  # noqa: S104 - not bound
        host = "127.0.0.1"  # which needs no resolver
    return f"{scheme}://{host}:{port}{HOOKS}{hook}"


def _waiting(url: str, seconds: int | None) -> str:
    if seconds is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}wait={seconds}"


def content_of(posted: http_client.Posted) -> dict[str, Any]:
    """Return the object that was answered, an empty one where none was."""
    return posted.body if isinstance(posted.body, dict) else {}


def refusal(posted: http_client.Posted, mask: Callable[[str], str] = str) -> Failure:
    """Return the failure that an answer is, in the words of who gave it."""
    said = content_of(posted).get("error") or posted.text.strip() or "nothing"
    return Failure(f"answered {posted.status}: {safe(mask(str(said)))[:300]}")


def _taken(posted: http_client.Posted) -> dict[str, Any]:
    answer = content_of(posted)
    if posted.status not in (200, 202, 409, 502) or "message" not in answer:
        raise refusal(posted)
    return answer


def _answered(session: Session, args: Args, posted: http_client.Posted) -> int:
    answer = _taken(posted)
    if args.json:
        session.say(as_json(answer))
    if "run" in answer:
        return _waited(session, args, answer["run"])
    if not args.json:
        number = posted.location.rpartition("/")[2]
        session.say(safe(f"{answer['message']}: run {number}"))
    return 0


def _waited(session: Session, args: Args, run: Mapping[str, Any]) -> int:
    if run["status"] != RunStatus.SUCCESS:
        raise Failure(render.result(run, Style(session.style.now)))
    if not args.json:
        session.say(render.result(run, session.style))
    return 0
