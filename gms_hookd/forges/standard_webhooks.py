"""Standard Webhooks: whoever signs by that specification.

Page: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Scheme, StandardWebhooks
from gms_hookd.forges import generic
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import key, texts

NAME = "standard-webhooks"
EVENTS = generic.EVENTS
SCHEMES: Mapping[str, Scheme] = {"signature": StandardWebhooks()}
sample = generic.sample


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = next(iter(texts(payload, "type", "event_type", "event")), "")
    return generic.read(Event(name[:100], key(headers, "webhook-id")), payload)
