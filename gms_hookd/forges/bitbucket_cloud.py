"""Bitbucket Cloud: several refs in one push, and no clone address in it.

Page: support.atlassian.com/bitbucket-cloud/docs/event-payloads.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Hmac, Scheme
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import Change, Event, SampleDelivery

NAME = "bitbucket-cloud"
EVENTS = "Repository push"
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(header="x-hub-signature", prefix="sha256=")
}
HOST = "https://bitbucket.org/"


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = read.header(headers, "x-event-key")
    event = Event(name, read.key(headers, "x-request-uuid"), _urls(payload))
    return READERS.get(name, read.ignored(read.NO_CHANGE))(event, payload)


def _urls(payload: object) -> tuple[str, ...]:
    page = read.text(payload, "repository", "links", "html", "href")
    full_name = read.text(payload, "repository", "full_name")
    built = HOST + full_name if full_name else None
    return tuple(dict.fromkeys(url for url in (page, built) if url))


def push(event: Event, payload: object) -> Event:
    """Read every changed ref of a push."""
    return read.several(event, read.at(payload, "push", "changes"), _change)


def _change(value: object) -> Change | None:
    old, new = read.at(value, "old"), read.at(value, "new")
    name = read.text(new, "name") or read.text(old, "name")
    kind = read.text(new, "type") or read.text(old, "type") or ""
    if name is None:
        return None
    ref = read.full_ref(name, "tag" if kind.endswith("tag") else None)
    before, after = read.at(old, "target", "hash"), read.at(new, "target", "hash")
    return read.moved(ref, before, after, forced=read.at(value, "forced") is True)


def settings(event: Event, payload: object) -> Event:
    """Read a rename."""
    full = read.text(payload, "repository", "full_name")
    changes = read.at(payload, "changes")
    owner = (full or "").rpartition("/")[0]
    old = read.text(changes, "full_name", "old") or read.joined(
        owner, read.text(changes, "name", "old")
    )
    return read.renamed(event, old, full)


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    old, new = (
        {"type": kind, "name": name, "target": {"hash": h}}
        for h in (read.OLD, read.NEW)
    )
    repository = {"links": {"html": {"href": url}}}
    push = {"changes": [{"old": old, "new": new, "forced": False}]}
    return SampleDelivery(
        {"x-event-key": "repo:push"}, {"repository": repository, "push": push}
    )


READERS: Mapping[str, read.Reader] = {
    "repo:push": push,
    "repo:updated": settings,
    "repo:transfer": settings,
    "pullrequest:fulfilled": read.ignored(read.MERGE),
}
