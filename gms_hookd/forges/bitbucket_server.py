"""Bitbucket Server and Data Center: several refs in one push, addresses mostly.

Page: confluence.atlassian.com/bitbucketserver, Event payload.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Basic, Hmac, Scheme
from gms_hookd.forges.base import ANY_HOST, Change, Event, SampleDelivery
from gms_hookd.forges.payloads import (
    MERGE,
    NEW,
    NO_CHANGE,
    OLD,
    Reader,
    at,
    header,
    ignored,
    items,
    joined,
    key,
    left,
    moved,
    several,
    text,
)

NAME = "bitbucket-server"
EVENTS = "Repository: Push"
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(header="x-hub-signature", prefix="sha256="),
    "basic": Basic(),
}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-event-key")
    event = Event(name, key(headers, "x-request-id"), urls(at(payload, "repository")))
    return READERS.get(name, ignored(NO_CHANGE))(event, payload)


def urls(repository: object) -> tuple[str, ...]:
    """Return the addresses of a repository, those of its path included.

    Versions before 6 send no address: then the path has to do, on any host.
    """
    links = items(repository, "links", "clone")
    found = [text(link, "href") for link in links]
    path = path_of(repository)
    if path:
        found += _from_page(text(repository, "links", "self", 0, "href"), path)
    return tuple(dict.fromkeys(url for url in found if url))


def path_of(repository: object) -> str | None:
    """Return `key/slug`, or None."""
    return joined(text(repository, "project", "key"), text(repository, "slug"))


def _from_page(page: str | None, path: str) -> list[str]:
    base, scheme, rest = (page or "").partition("://")
    if not scheme:
        return [f"{ANY_HOST}{path}", f"{ANY_HOST}scm/{path}"]
    site = rest.partition("/projects/")[0].partition("/users/")[0]
    host = site.partition("/")[0].partition(":")[0]
    return [f"{base}://{site}/scm/{path}.git", f"ssh://{host}/{path}.git"]


def push(event: Event, payload: object) -> Event:
    """Read every changed ref of a push, or of a mirror's update."""
    if at(payload, "refLimitExceeded") is True:
        return replace(event, everything=True)
    return several(event, at(payload, "changes"), _change)


def _change(value: object) -> Change | None:
    ref = text(value, "refId") or text(value, "ref", "id")
    if ref is None or not ref.startswith("refs/"):
        return None
    return moved(ref, at(value, "fromHash"), at(value, "toHash"))


def settings(event: Event, payload: object) -> Event:
    """Read a rename or a move to another project."""
    old, new = path_of(at(payload, "old")), path_of(at(payload, "new"))
    if not old or not new or old == new:
        return replace(event, ignored="a change of the repository's settings")
    return left(event, old, new, urls(at(payload, "old")))


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    change = {"refId": ref, "fromHash": OLD, "toHash": NEW, "type": "UPDATE"}
    repository = {"links": {"clone": [{"href": url, "name": "http"}]}}
    body: dict[str, object] = {"repository": repository, "changes": [change]}
    return SampleDelivery({"x-event-key": "repo:refs_changed"}, body)


READERS: Mapping[str, Reader] = {
    "repo:refs_changed": push,
    "mirror:repo_synchronized": push,
    "repo:modified": settings,
    "pr:merged": ignored(MERGE),
    "diagnostics:ping": ignored("a ping"),
}
