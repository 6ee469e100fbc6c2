"""TGit (Tencent): a token, and GitLab's bodies.

Page: git.tencent.com/help/menu/manual/git_webhooks.html.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Scheme, TokenHeader
from gms_hookd.forges import gitlab_family
from gms_hookd.forges.base import Event, SampleDelivery
from gms_hookd.forges.payloads import gitlab_like as sample_body
from gms_hookd.forges.payloads import header, key

NAME = "tgit"
EVENTS = gitlab_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "token": TokenHeader(place="Secret Token", header="x-token"),
}


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-event")
    return gitlab_family.read(Event(name, key(headers, "x-trace-id")), payload)


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    name = "Tag Push Hook" if ref.startswith("refs/tags/") else "Push Hook"
    return SampleDelivery({"x-event": name}, sample_body(url, ref))
