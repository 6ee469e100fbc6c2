"""Gogs: like Gitea, but tags come by `create` alone."""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Scheme
from gms_hookd.forges import gitea_like
from gms_hookd.forges.base import Event, Kind, Sample
from gms_hookd.forges.push import header, key, short
from gms_hookd.forges.samples import github_like
from gms_hookd.forges.values import text

NAME = "gogs"
EVENTS = gitea_like.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "signature": gitea_like.schemes("x-gogs-signature")["signature"]
}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-gogs-event")
    event = gitea_like.read(Event(name, key(headers, "x-gogs-delivery")), payload)
    if name == "create" and text(payload, "ref_type") == "tag":
        return short(Kind.CREATED)(replace(event, idle=None), payload)
    return event


def sample(url: str, ref: str) -> Sample:
    """Return a push to `ref` of the repository at `url`."""
    return Sample({"x-gogs-event": "push"}, github_like(url, ref))
