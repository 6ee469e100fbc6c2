"""Docker Hub: an image was pushed; which tasks that concerns the hook says.

Page: docs.docker.com/docker-hub/webhooks.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Scheme, UrlKey
from gms_hookd.forges.base import Event, SampleDelivery
from gms_hookd.forges.payloads import at, path_of, text

CALLBACK = "https://registry.hub.docker.com/"
NAME = "dockerhub"
EVENTS = "(every push of an image; there is nothing to choose)"
SCHEMES: Mapping[str, Scheme] = {"key": UrlKey()}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    if not isinstance(at(payload, "push_data"), dict):
        return Event("unknown", ignored="not the push of an image")
    image = text(payload, "repository", "repo_name") or "?"
    tag = text(payload, "push_data", "tag")
    name = f"push {image}:{tag}" if tag else f"push {image}"
    return Event(name[:200], everything=True, callback=callback_url(payload))


def callback_url(payload: object) -> str | None:
    """Return where Docker Hub wants the outcome.

    None unless it is an https URL of the one host that all of them have: a signed body
    must not make us call others.
    """
    url = text(payload, "callback_url") or ""
    plain = url.isascii() and not set(url) & set(" \\@#")
    return url if plain and url.startswith(CALLBACK) else None


def sample(url: str, ref: str) -> SampleDelivery:
    """Return the push of an image that is named like the repository."""
    repository = {"repo_name": path_of(url)}
    return SampleDelivery(
        {}, {"push_data": {"tag": "latest"}, "repository": repository}
    )
