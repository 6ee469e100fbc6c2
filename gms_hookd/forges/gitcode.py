"""GitCode: a signature or a token, and GitLab's bodies.

Page: docs.gitcode.com, web-hook.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Hmac, Scheme, TokenHeader
from gms_hookd.forges import gitlab_family
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import gitlab_like, header, hook_sample, key

NAME = "gitcode"
EVENTS = gitlab_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "signature": Hmac(header="x-gitcode-signature-256", prefix="sha256="),
    "token": TokenHeader(place="password", header="x-gitcode-token"),
}
sample = hook_sample("x-gitcode-event", gitlab_like)


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-gitcode-event")
    return gitlab_family.read(Event(name, key(headers, "x-gitcode-delivery")), payload)
