"""Convoy: passes deliveries on under signatures of its own.

Page: docs.getconvoy.io, Signatures; frain-dev/convoy pkg/signature.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import HMAC_OPTIONS, ConvoyAdvanced, Hmac, Scheme
from gms_hookd.forges import generic
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import key, texts

NAME = "convoy"
EVENTS = generic.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "advanced": ConvoyAdvanced(),
    "simple": Hmac(header="x-convoy-signature", settable=HMAC_OPTIONS - {"prefix"}),
}
sample = generic.sample
KEYS = ("x-convoy-idempotency-key", "x-convoy-event-id")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = next(iter(texts(payload, "type", "event_type", "event")), "")
    return generic.read(Event(name[:100], key(headers, *KEYS)), payload)
