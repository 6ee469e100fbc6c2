"""Bitbucket Cloud: several refs in one push, and no clone address in it.

Page: support.atlassian.com/bitbucket-cloud/docs/event-payloads.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Hmac, Scheme
from gms_hookd.forges.base import Change, Event, SampleDelivery
from gms_hookd.forges.payloads import (
    MERGE,
    NEW,
    NO_CHANGE,
    OLD,
    Reader,
    at,
    full_ref,
    header,
    ignored,
    joined,
    key,
    moved,
    renamed,
    several,
    text,
)

NAME = "bitbucket-cloud"
EVENTS = "Repository push"
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(header="x-hub-signature", prefix="sha256=")
}
HOST = "https://bitbucket.org/"


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-event-key")
    event = Event(name, key(headers, "x-request-uuid"), _urls(payload))
    return READERS.get(name, ignored(NO_CHANGE))(event, payload)


def _urls(payload: object) -> tuple[str, ...]:
    page = text(payload, "repository", "links", "html", "href")
    full_name = text(payload, "repository", "full_name")
    built = HOST + full_name if full_name else None
    return tuple(dict.fromkeys(url for url in (page, built) if url))


def push(event: Event, payload: object) -> Event:
    """Read every changed ref of a push."""
    return several(event, at(payload, "push", "changes"), _change)


def _change(value: object) -> Change | None:
    old, new = at(value, "old"), at(value, "new")
    name = text(new, "name") or text(old, "name")
    kind = text(new, "type") or text(old, "type") or ""
    if name is None:
        return None
    ref = full_ref(name, "tag" if kind.endswith("tag") else None)
    before, after = at(old, "target", "hash"), at(new, "target", "hash")
    return moved(ref, before, after, forced=at(value, "forced") is True)


def settings(event: Event, payload: object) -> Event:
    """Read a rename."""
    full = text(payload, "repository", "full_name")
    changes = at(payload, "changes")
    owner = (full or "").rpartition("/")[0]
    old = text(changes, "full_name", "old") or joined(
        owner, text(changes, "name", "old")
    )
    return renamed(event, old, full)


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    old, new = ({"type": kind, "name": name, "target": {"hash": h}} for h in (OLD, NEW))
    repository = {"links": {"html": {"href": url}}}
    push = {"changes": [{"old": old, "new": new, "forced": False}]}
    return SampleDelivery(
        {"x-event-key": "repo:push"}, {"repository": repository, "push": push}
    )


READERS: Mapping[str, Reader] = {
    "repo:push": push,
    "repo:updated": settings,
    "repo:transfer": settings,
    "pullrequest:fulfilled": ignored(MERGE),
}
