"""The forges: each one's module, and the scheme by which a hook of it is verified."""

from collections.abc import Mapping, Sequence

from gms_hookd.auth.schemes import Scheme
from gms_hookd.forges import (
    argo_events,
    azuredevops,
    bitbucket_cloud,
    bitbucket_server,
    codeup,
    coding,
    convoy,
    dockerhub,
    forgejo,
    generic,
    gitcode,
    gitea,
    gitee,
    github,
    gitlab,
    gogs,
    hookdeck,
    msr,
    standard_webhooks,
    svix,
    tgit,
)
from gms_hookd.forges.base import Forge

# A literal table, so that the type checker holds each module against Forge.
FORGES: Mapping[str, Forge] = {
    "github": github,
    "gitlab": gitlab,
    "gitea": gitea,
    "forgejo": forgejo,
    "gogs": gogs,
    "gitee": gitee,
    "bitbucket-cloud": bitbucket_cloud,
    "bitbucket-server": bitbucket_server,
    "coding": coding,
    "dockerhub": dockerhub,
    "msr": msr,
    "azuredevops": azuredevops,
    "codeup": codeup,
    "tgit": tgit,
    "gitcode": gitcode,
    "argo-events": argo_events,
    "standard-webhooks": standard_webhooks,
    "svix": svix,
    "convoy": convoy,
    "hookdeck": hookdeck,
    "generic": generic,
}
PROVIDERS = tuple(FORGES)


def scheme_of(
    provider: str, name: str | None, secrets: Sequence[str], options: Mapping[str, str]
) -> Scheme:
    """Return the one scheme of a hook, with its options.

    Raises ValueError, in one line, for a scheme, an option or a secret that does not
    fit the provider.
    """
    schemes = FORGES[provider].SCHEMES
    chosen = name or default_scheme(provider, secrets)
    if chosen not in schemes:
        raise ValueError(f"scheme: {provider} has {', '.join(schemes)}")
    scheme = schemes[chosen].with_options(options)
    scheme.check(secrets)
    return scheme


def default_scheme(provider: str, secrets: Sequence[str]) -> str:
    """Return the scheme of a hook that does not name one."""
    if provider == "gitlab" and secrets[:1] and secrets[0].startswith("whsec_"):
        return "signing"  # a signing token shows by its prefix
    return next(iter(FORGES[provider].SCHEMES))
