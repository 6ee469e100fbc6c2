"""What Gitea, Forgejo and Gogs share: the signature, and what they tell apart."""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Basic, Bearer, Hmac, Scheme
from gms_hookd.forges import payloads
from gms_hookd.forges.base import Event, EventKind

EVENTS = "Push, Create and Delete; content type application/json"


def schemes(header: str) -> Mapping[str, Scheme]:
    """Return the signature in this header; the JSON inside a form is what is signed."""
    place = "the header `Authorization` of the hook"
    return {
        "signature": Hmac(header=header, form_json=True),
        "bearer": Bearer(place=place),
        "basic": Basic(place=place),
    }


def read(event: Event, payload: object) -> Event:
    """Read a payload of the event's name."""
    urls = payloads.texts(payloads.at(payload, "repository"), *payloads.GITHUB_URLS)
    reader = READERS.get(event.name, payloads.ignored(payloads.NO_CHANGE))
    return reader(replace(event, urls=urls), payload)


READERS: Mapping[str, payloads.Reader] = {
    "push": payloads.push,
    "create": payloads.ignored("a creation: the push that comes with it counts"),
    "delete": payloads.short(EventKind.DELETED),
    "pull_request": payloads.ignored(payloads.MERGE),
}
