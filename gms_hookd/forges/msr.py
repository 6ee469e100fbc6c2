"""Mirantis Secure Registry, once Docker Trusted Registry: an image was pushed.

Page: docs.mirantis.com/msr/2.9/ops/manage-webhooks.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Scheme, UrlKey
from gms_hookd.forges.base import Event, SampleDelivery
from gms_hookd.forges.payloads import path_of, text

NAME = "msr"
EVENTS = "Tag pushed to repository"
SCHEMES: Mapping[str, Scheme] = {"key": UrlKey()}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    kind = text(payload, "type") or "unknown"
    event = Event(
        f"{kind} {text(payload, 'contents', 'imageName') or ''}"[:200].strip()
    )
    if kind in {"TAG_PUSH", "MANIFEST_PUSH"}:
        return replace(event, everything=True)
    return replace(event, ignored="not the push of an image")


def sample(url: str, ref: str) -> SampleDelivery:
    """Return the push of an image that is named like the repository."""
    contents = {"imageName": f"{path_of(url)}:latest", "tag": "latest"}
    return SampleDelivery({}, {"type": "TAG_PUSH", "contents": contents})
