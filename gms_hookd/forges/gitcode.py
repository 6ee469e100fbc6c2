"""GitCode: a signature or a token, and GitLab's bodies.

Page: docs.gitcode.com, web-hook.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Hmac, Scheme, TokenHeader
from gms_hookd.forges import gitlab_family
from gms_hookd.forges.base import Event, SampleDelivery
from gms_hookd.forges.payloads import gitlab_like as sample_body
from gms_hookd.forges.payloads import header, key

NAME = "gitcode"
EVENTS = gitlab_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(header="x-gitcode-signature-256", prefix="sha256="),
    "token": TokenHeader(place="password", header="x-gitcode-token"),
}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-gitcode-event")
    return gitlab_family.read(Event(name, key(headers, "x-gitcode-delivery")), payload)


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    name = "Tag Push Hook" if ref.startswith("refs/tags/") else "Push Hook"
    return SampleDelivery({"x-gitcode-event": name}, sample_body(url, ref))
