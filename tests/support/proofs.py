"""How each forge proves a body."""

import hmac
import os

from gms_hookd.auth.schemes import Incoming
from gms_hookd.forges.registry import scheme_of

PAYLOADS = os.environ.get("GMS_HOOKD_PAYLOADS", "")


NOW = 1_700_000_000.5


SECRET = "sëcret number one"


BODY = b'{"ref":"refs/heads/main","note":"\xc3\xa9"}'


PROVIDERS = {
    "github",
    "gitlab",
    "gitea",
    "forgejo",
    "gogs",
    "gitee",
    "bitbucket-cloud",
    "bitbucket-server",
    "coding",
    "dockerhub",
    "msr",
    "azuredevops",
    "codeup",
    "tgit",
    "gitcode",
    "argo-events",
    "standard-webhooks",
    "svix",
    "convoy",
    "hookdeck",
    "generic",
}


def mac(secret, body, algorithm="sha256"):
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.new(key, body, algorithm)


def hexed(secret, body, algorithm="sha256"):
    return mac(secret, body, algorithm).hexdigest()


def verify(
    provider, name, secrets, headers, body=BODY, *, key=None, now=NOW, **options
):
    scheme = scheme_of(provider, name, secrets, options)
    return scheme.verify(Incoming(body, headers, now, key), secrets)
