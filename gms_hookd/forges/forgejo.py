"""Forgejo: Gitea with headers of its own."""

from collections.abc import Mapping

from gms_hookd.forges import gitea_like
from gms_hookd.forges.base import Event, Sample
from gms_hookd.forges.push import header, key
from gms_hookd.forges.samples import github_like

NAME = "forgejo"
EVENTS = gitea_like.EVENTS
SCHEMES = gitea_like.schemes("x-forgejo-signature")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-forgejo-event", "x-gitea-event")
    return gitea_like.read(
        Event(name, key(headers, "x-forgejo-delivery", "x-gitea-delivery")), payload
    )


def sample(url: str, ref: str) -> Sample:
    """Return a push to `ref` of the repository at `url`."""
    return Sample({"x-forgejo-event": "push"}, github_like(url, ref))
