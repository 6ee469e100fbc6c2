"""CODING: the webhooks v1 and v2, and the service hooks that came after them.

Page: open.coding.net/webhooks (v1, v2); CODING help, project-settings/service-hook.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import BodyToken, Hmac, Scheme, UrlKey
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import (
    GITHUB_URLS,
    MERGE,
    NO_CHANGE,
    Reader,
    at,
    full_ref,
    header,
    ignored,
    key,
    push,
    push_sample,
    text,
    texts,
)

NAME = "coding"
EVENTS = "Push"
SCHEMES: Mapping[str, Scheme] = {
    # SHA-1 is all that CODING has; as a keyed digest it is not broken.
    "v2": Hmac(header="x-coding-signature", algorithm="sha1", prefix="sha1="),
    "v1": BodyToken(place="Token"),
    "key": UrlKey(),
}
URLS = (*GITHUB_URLS, "https_url", "web_url")
sample = push_sample("x-coding-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    given = header(headers, "x-coding-event", "x-coding-service-hook-event")
    name = given or text(payload, "event") or ""
    urls = texts(at(payload, "repository"), *URLS)
    event = Event(name, key(headers, "x-coding-delivery"), urls)
    return READERS.get(name.replace(" ", "_"), ignored(NO_CHANGE))(event, payload)


def pushed(event: Event, payload: object) -> Event:
    """Read a push; v1 gives the short name of a branch."""
    ref = text(payload, "ref")
    if ref and isinstance(payload, dict) and not ref.startswith("refs/"):
        return push(event, {**payload, "ref": full_ref(ref, None)})
    return push(event, payload)


READERS: Mapping[str, Reader] = {
    "push": pushed,
    "GIT_PUSHED": pushed,
    "ping": ignored("a ping"),
    "merge_request": ignored(MERGE),
    "GIT_MR_MERGED": ignored(MERGE),
}
