"""CODING: the webhooks v1 and v2, and the service hooks that came after them.

Page: open.coding.net/webhooks (v1, v2); CODING help, project-settings/service-hook.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import BodyToken, Hmac, Scheme, UrlKey
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import Event

NAME = "coding"
EVENTS = "Push"
SCHEMES: Mapping[str, Scheme] = {
    # SHA-1 is all that CODING has; as a keyed digest it is not broken.
    "v2": Hmac(header="x-coding-signature", algorithm="sha1", prefix="sha1="),
    "v1": BodyToken(place="Token"),
    "key": UrlKey(),
}
URLS = (*read.GITHUB_URLS, "https_url", "web_url")
sample = read.push_sample("x-coding-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    given = read.header(headers, "x-coding-event", "x-coding-service-hook-event")
    name = given or read.text(payload, "event") or ""
    urls = read.texts(read.at(payload, "repository"), *URLS)
    event = Event(name, read.key(headers, "x-coding-delivery"), urls)
    return READERS.get(name.replace(" ", "_"), read.ignored(read.NO_CHANGE))(
        event, payload
    )


def pushed(event: Event, payload: object) -> Event:
    """Read a push; v1 gives the short name of a branch."""
    ref = read.text(payload, "ref")
    if ref and isinstance(payload, dict) and not ref.startswith("refs/"):
        return read.push(event, {**payload, "ref": read.full_ref(ref, None)})
    return read.push(event, payload)


READERS: Mapping[str, read.Reader] = {
    "push": pushed,
    "GIT_PUSHED": pushed,
    "ping": read.ignored("a ping"),
    "merge_request": read.ignored(read.MERGE),
    "GIT_MR_MERGED": read.ignored(read.MERGE),
}
