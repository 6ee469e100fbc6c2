"""What GitLab and those who took over its bodies share."""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.forges import payloads
from gms_hookd.forges.base import Event

EVENTS = "Push events and Tag push events"


def read(event: Event, payload: object) -> Event:
    """Read a payload of the event's name, with the repository's addresses."""
    found = located(event, payload)
    return READERS.get(
        payloads.words(event.name), payloads.ignored(payloads.NO_CHANGE)
    )(found, payload)


def located(event: Event, payload: object) -> Event:
    """Add the addresses in `project` and in the older block `repository`."""
    urls = [
        url
        for block in ("project", "repository")
        for url in payloads.texts(payloads.at(payload, block), *payloads.GITLAB_URLS)
    ]
    return replace(event, urls=tuple(dict.fromkeys(urls)))


READERS: Mapping[str, payloads.Reader] = {
    "push": payloads.push,
    "tag push": payloads.push,
    "merge request": payloads.ignored(payloads.MERGE),
}
