"""Gitea: a signature, and one ref a push.

Page: docs.gitea.com/usage/webhooks.
"""

from collections.abc import Mapping

from gms_hookd.forges import gitea_family
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import header, key, push_sample

NAME = "gitea"
EVENTS = gitea_family.EVENTS
SCHEMES = gitea_family.schemes("x-gitea-signature")
sample = push_sample("x-gitea-event")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-gitea-event")
    return gitea_family.read(Event(name, key(headers, "x-gitea-delivery")), payload)
