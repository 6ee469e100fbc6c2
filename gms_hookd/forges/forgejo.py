"""Forgejo: Gitea with headers of its own.

Page: forgejo.org/docs/latest/user/webhooks; the headers as in Forgejo's
services/webhook/shared/payloader.go.
"""

from collections.abc import Mapping

from gms_hookd.forges import gitea_family
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import header, key, push_sample

NAME = "forgejo"
EVENTS = gitea_family.EVENTS
SCHEMES = gitea_family.schemes("x-forgejo-signature")
sample = push_sample("x-forgejo-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-forgejo-event", "x-gitea-event")
    return gitea_family.read(
        Event(name, key(headers, "x-forgejo-delivery", "x-gitea-delivery")), payload
    )
