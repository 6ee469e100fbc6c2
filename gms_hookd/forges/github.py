"""GitHub: github.com and Enterprise Server.

Page: docs.github.com, Webhooks: webhook-events-and-payloads.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Hmac, Scheme
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import Event

NAME = "github"
EVENTS = "Just the push event"
SCHEMES: Mapping[str, Scheme] = {"signature": Hmac(prefix="sha256=")}
sample = read.push_sample("x-github-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = read.header(headers, "x-github-event")
    urls = read.texts(read.at(payload, "repository"), *read.GITHUB_URLS)
    event = Event(name, read.key(headers, "x-github-delivery"), urls)
    return READERS.get(name, read.ignored(read.NO_CHANGE))(event, payload)


def settings(event: Event, payload: object) -> Event:
    """Read a rename, a transfer or another default branch."""
    name = read.text(payload, "repository", "name")
    full = read.text(payload, "repository", "full_name")
    changes = read.at(payload, "changes")
    match read.text(payload, "action"):
        case "renamed":
            old = read.text(changes, "repository", "name", "from")
            owner = (full or "").rpartition("/")[0]
            return read.renamed(event, read.joined(owner, old), full)
        case "transferred":
            source = read.at(changes, "owner", "from")
            owners = read.at(source, "user") or read.at(source, "organization")
            return read.renamed(
                event, read.joined(read.text(owners, "login"), name), full
            )
    new = read.text(payload, "repository", "default_branch")
    return read.new_default(event, read.text(changes, "default_branch", "from"), new)


READERS: Mapping[str, read.Reader] = {
    "push": read.push,
    "repository": settings,
    "ping": read.ignored("a ping"),
    "create": read.ignored("a creation: the push that comes with it counts"),
    "delete": read.ignored("a deletion: the push that comes with it counts"),
    "pull_request": read.ignored(read.MERGE),
}
