"""Svix: Standard Webhooks under headers of its own.

Page: docs.svix.com/receiving/verifying-payloads/how-manual.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Scheme, StandardWebhooks
from gms_hookd.forges import generic
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import key, texts

NAME = "svix"
EVENTS = generic.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "signature": StandardWebhooks(place="Signing secret", family="svix")
}
sample = generic.sample


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = next(iter(texts(payload, "type", "event_type", "event")), "")
    return generic.read(Event(name[:100], key(headers, "svix-id")), payload)
