"""TGit (Tencent): a token, and GitLab's bodies.

Page: git.tencent.com/help/menu/manual/git_webhooks.html.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Scheme, TokenHeader
from gms_hookd.forges import gitlab_family
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import gitlab_like, header, hook_sample, key

NAME = "tgit"
EVENTS = gitlab_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "token": TokenHeader(place="Secret Token", header="x-token"),
}
sample = hook_sample("x-event", gitlab_like)


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-event")
    return gitlab_family.read(Event(name, key(headers, "x-trace-id")), payload)
