"""What GitLab and those who took over its bodies share."""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import (
    GITLAB_URLS,
    MERGE,
    NO_CHANGE,
    Reader,
    at,
    ignored,
    push,
    texts,
    words,
)

EVENTS = "Push events and Tag push events"


def read(event: Event, payload: object) -> Event:
    """Read a payload of the event's name, with the repository's addresses."""
    found = located(event, payload)
    return READERS.get(words(event.name), ignored(NO_CHANGE))(found, payload)


def located(event: Event, payload: object) -> Event:
    """Add the addresses in `project` and in the older block `repository`."""
    urls = [
        url
        for block in ("project", "repository")
        for url in texts(at(payload, block), *GITLAB_URLS)
    ]
    return replace(event, urls=tuple(dict.fromkeys(urls)))


READERS: Mapping[str, Reader] = {
    "push": push,
    "tag push": push,
    "merge request": ignored(MERGE),
}
