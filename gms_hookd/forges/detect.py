"""Which forge's body a verified envelope carries, by the forge's own headers.

Only for reading what another party has signed for; never for verifying. The order
matters, since most forges also send the headers of the forge that they descend from.
"""

from collections.abc import Mapping

from gms_hookd.forges import (
    azuredevops,
    bitbucket_cloud,
    bitbucket_server,
    codeup,
    coding,
    dockerhub,
    forgejo,
    generic,
    gitcode,
    gitea,
    gitee,
    github,
    gitlab,
    gogs,
    msr,
    tgit,
)
from gms_hookd.forges.base import Event, Forge
from gms_hookd.forges.payloads import at

BY_HEADER: tuple[tuple[str, Forge], ...] = (
    ("x-forgejo-event", forgejo),
    ("x-gitea-event", gitea),
    ("x-gogs-event", gogs),
    ("x-coding-event", coding),
    ("x-coding-service-hook-event", coding),
    ("x-gitee-event", gitee),
    ("x-git-oschina-event", gitee),
    ("x-gitcode-event", gitcode),
    ("x-codeup-event", codeup),
    ("codeup-event", codeup),
    ("x-event", tgit),
    ("x-gitlab-event", gitlab),
    ("x-github-event", github),
    ("x-hook-uuid", bitbucket_cloud),
    ("x-event-key", bitbucket_server),
)
BY_FIELD: tuple[tuple[str, Forge], ...] = (
    ("eventType", azuredevops),
    ("push_data", dockerhub),
    ("contents", msr),
)


def forge_of(headers: Mapping[str, str], payload: object) -> Forge:
    """Return the forge whose headers or body these are, or the generic one."""
    for name, forge in BY_HEADER:
        if name in headers:
            return forge
    for field, forge in BY_FIELD:
        if at(payload, field) is not None:
            return forge
    return generic


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the carried delivery says."""
    return forge_of(headers, payload).parse(headers, payload)
