"""Azure DevOps service hooks: several refs in one push, no signature.

Page: learn.microsoft.com/azure/devops/service-hooks/events, git.push.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Basic, Bearer, Scheme
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import Change, Event, SampleDelivery

NAME = "azuredevops"
EVENTS = "Code pushed; resource details to send: All"
SCHEMES: Mapping[str, Scheme] = {
    "basic": Basic(place="Basic authentication username and password"),
    "bearer": Bearer(place="HTTP headers: `Authorization: Bearer SECRET`"),
}
URLS = ("remoteUrl", "sshUrl", "webUrl")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = read.text(payload, "eventType") or ""
    delivery = (read.text(payload, "id") or "")[:200] or None
    urls = read.texts(read.at(payload, "resource", "repository"), *URLS)
    event = Event(name[:100], delivery, tuple(dict.fromkeys(urls)))
    return READERS.get(name, read.ignored(read.NO_CHANGE))(event, payload)


def push(event: Event, payload: object) -> Event:
    """Read every changed ref of a push."""
    if read.at(payload, "resource", "repository") is None:
        return replace(event, ignored="no repository: let the hook send all details")
    return read.several(event, read.at(payload, "resource", "refUpdates"), _change)


def _change(value: object) -> Change | None:
    ref = read.text(value, "name")
    if ref is None or not ref.startswith("refs/"):
        return None
    return read.moved(ref, read.at(value, "oldObjectId"), read.at(value, "newObjectId"))


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    update = {"name": ref, "oldObjectId": read.OLD, "newObjectId": read.NEW}
    resource = {"refUpdates": [update], "repository": {"remoteUrl": url}}
    return SampleDelivery({}, {"eventType": "git.push", "resource": resource})


READERS: Mapping[str, read.Reader] = {
    "git.push": push,
    "git.pullrequest.merged": read.ignored(read.MERGE),
    "git.pullrequest.updated": read.ignored(read.MERGE),
}
