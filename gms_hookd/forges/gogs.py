"""Gogs: like Gitea, but tags come by `create` alone.

Page: gogs.io/advancing/webhooks.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Scheme
from gms_hookd.forges import gitea_family
from gms_hookd.forges.base import Event, EventKind
from gms_hookd.forges.payloads import header, key, push_sample, short, text

NAME = "gogs"
EVENTS = gitea_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "signature": gitea_family.schemes("x-gogs-signature")["signature"]
}
sample = push_sample("x-gogs-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-gogs-event")
    event = gitea_family.read(Event(name, key(headers, "x-gogs-delivery")), payload)
    if name == "create" and text(payload, "ref_type") == "tag":
        return short(EventKind.CREATED)(replace(event, ignored=None), payload)
    return event
