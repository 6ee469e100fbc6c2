"""GitHub: github.com and Enterprise Server.

Page: docs.github.com, Webhooks: webhook-events-and-payloads.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Hmac, Scheme
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import (
    GITHUB_URLS,
    MERGE,
    NO_CHANGE,
    Reader,
    at,
    header,
    ignored,
    joined,
    key,
    new_default,
    push,
    push_sample,
    renamed,
    text,
    texts,
)

NAME = "github"
EVENTS = "Just the push event"
SCHEMES: Mapping[str, Scheme] = {"signature": Hmac(prefix="sha256=")}
sample = push_sample("x-github-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-github-event")
    urls = texts(at(payload, "repository"), *GITHUB_URLS)
    event = Event(name, key(headers, "x-github-delivery"), urls)
    return READERS.get(name, ignored(NO_CHANGE))(event, payload)


def settings(event: Event, payload: object) -> Event:
    """Read a rename, a transfer or another default branch."""
    name = text(payload, "repository", "name")
    full = text(payload, "repository", "full_name")
    changes = at(payload, "changes")
    match text(payload, "action"):
        case "renamed":
            old = text(changes, "repository", "name", "from")
            owner = (full or "").rpartition("/")[0]
            return renamed(event, joined(owner, old), full)
        case "transferred":
            source = at(changes, "owner", "from")
            owners = at(source, "user") or at(source, "organization")
            return renamed(event, joined(text(owners, "login"), name), full)
    new = text(payload, "repository", "default_branch")
    return new_default(event, text(changes, "default_branch", "from"), new)


READERS: Mapping[str, Reader] = {
    "push": push,
    "repository": settings,
    "ping": ignored("a ping"),
    "create": ignored("a creation: the push that comes with it counts"),
    "delete": ignored("a deletion: the push that comes with it counts"),
    "pull_request": ignored(MERGE),
}
