"""Azure DevOps service hooks: several refs in one push, no signature.

Page: learn.microsoft.com/azure/devops/service-hooks/events, git.push.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Basic, Bearer, Scheme
from gms_hookd.forges.base import Change, Event, SampleDelivery
from gms_hookd.forges.payloads import (
    MERGE,
    NEW,
    NO_CHANGE,
    OLD,
    Reader,
    at,
    ignored,
    moved,
    several,
    text,
    texts,
)

NAME = "azuredevops"
EVENTS = "Code pushed; resource details to send: All"
SCHEMES: Mapping[str, Scheme] = {
    "basic": Basic(place="Basic authentication username and password"),
    "bearer": Bearer(place="HTTP headers: `Authorization: Bearer SECRET`"),
}
URLS = ("remoteUrl", "sshUrl", "webUrl")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = text(payload, "eventType") or ""
    delivery = (text(payload, "id") or "")[:200] or None
    urls = texts(at(payload, "resource", "repository"), *URLS)
    event = Event(name[:100], delivery, tuple(dict.fromkeys(urls)))
    return READERS.get(name, ignored(NO_CHANGE))(event, payload)


def push(event: Event, payload: object) -> Event:
    """Read every changed ref of a push."""
    if at(payload, "resource", "repository") is None:
        return replace(event, ignored="no repository: let the hook send all details")
    return several(event, at(payload, "resource", "refUpdates"), _change)


def _change(value: object) -> Change | None:
    ref = text(value, "name")
    if ref is None or not ref.startswith("refs/"):
        return None
    return moved(ref, at(value, "oldObjectId"), at(value, "newObjectId"))


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    update = {"name": ref, "oldObjectId": OLD, "newObjectId": NEW}
    resource = {"refUpdates": [update], "repository": {"remoteUrl": url}}
    return SampleDelivery({}, {"eventType": "git.push", "resource": resource})


READERS: Mapping[str, Reader] = {
    "git.push": push,
    "git.pullrequest.merged": ignored(MERGE),
    "git.pullrequest.updated": ignored(MERGE),
}
