"""Bitbucket Server and Data Center: several refs in one push, addresses mostly.

Page: confluence.atlassian.com/bitbucketserver, Event payload.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Basic, Hmac, Scheme
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import ANY_HOST, Change, Event, SampleDelivery

NAME = "bitbucket-server"
EVENTS = "Repository: Push"
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(header="x-hub-signature", prefix="sha256="),
    "basic": Basic(),
}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = read.header(headers, "x-event-key")
    event = Event(
        name, read.key(headers, "x-request-id"), urls(read.at(payload, "repository"))
    )
    return READERS.get(name, read.ignored(read.NO_CHANGE))(event, payload)


def urls(repository: object) -> tuple[str, ...]:
    """Return the addresses of a repository, those of its path included.

    Versions before 6 send no address: then the path has to do, on any host.
    """
    links = read.items(repository, "links", "clone")
    found = [read.text(link, "href") for link in links]
    path = path_of(repository)
    if path:
        found += _from_page(read.text(repository, "links", "self", 0, "href"), path)
    return tuple(dict.fromkeys(url for url in found if url))


def path_of(repository: object) -> str | None:
    """Return `key/slug`, or None."""
    return read.joined(
        read.text(repository, "project", "key"), read.text(repository, "slug")
    )


def _from_page(page: str | None, path: str) -> list[str]:
    base, scheme, rest = (page or "").partition("://")
    if not scheme:
        return [f"{ANY_HOST}{path}", f"{ANY_HOST}scm/{path}"]
    site = rest.partition("/projects/")[0].partition("/users/")[0]
    host = site.partition("/")[0].partition(":")[0]
    return [f"{base}://{site}/scm/{path}.git", f"ssh://{host}/{path}.git"]


def push(event: Event, payload: object) -> Event:
    """Read every changed ref of a push, or of a mirror's update."""
    if read.at(payload, "refLimitExceeded") is True:
        return replace(event, everything=True)
    return read.several(event, read.at(payload, "changes"), _change)


def _change(value: object) -> Change | None:
    ref = read.text(value, "refId") or read.text(value, "ref", "id")
    if ref is None or not ref.startswith("refs/"):
        return None
    return read.moved(ref, read.at(value, "fromHash"), read.at(value, "toHash"))


def settings(event: Event, payload: object) -> Event:
    """Read a rename or a move to another project."""
    old, new = path_of(read.at(payload, "old")), path_of(read.at(payload, "new"))
    if not old or not new or old == new:
        return replace(event, ignored="a change of the repository's settings")
    return read.left(event, old, new, urls(read.at(payload, "old")))


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    change = {"refId": ref, "fromHash": read.OLD, "toHash": read.NEW, "type": "UPDATE"}
    repository = {"links": {"clone": [{"href": url, "name": "http"}]}}
    body: dict[str, object] = {"repository": repository, "changes": [change]}
    return SampleDelivery({"x-event-key": "repo:refs_changed"}, body)


READERS: Mapping[str, read.Reader] = {
    "repo:refs_changed": push,
    "mirror:repo_synchronized": push,
    "repo:modified": settings,
    "pr:merged": read.ignored(read.MERGE),
    "diagnostics:ping": read.ignored("a ping"),
}
