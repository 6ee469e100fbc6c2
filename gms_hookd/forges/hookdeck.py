"""Hookdeck: passes a forge's delivery on, headers and all, under its own signature.

Page: hookdeck.com/docs, Signature verification.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Hmac, Scheme
from gms_hookd.forges import detect, github
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import key

NAME = "hookdeck"
EVENTS = "(whatever the source of the connection sends)"
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(
        place="the project's signing secret is what to enter here",
        header="x-hookdeck-signature",
        encoding="base64",
    )
}
sample = github.sample


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the carried delivery says."""
    delivery = key(headers, "x-hookdeck-eventid", "x-hookdeck-requestid")
    event = detect.parse(headers, payload)
    return replace(event, delivery_key=delivery or event.delivery_key)
