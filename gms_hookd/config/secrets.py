"""All that is configured and nobody may see: what a mask of texts is made of."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from gms_hookd.auth.secret_file import SecretFileError, read_secret
from gms_hookd.config.records import Config, NotifyConfig
from gms_hookd.git.command import PROXIES
from gms_hookd.git.credentials import Credential
from gms_hookd.safetext.addresses import address_secrets


def _of_target(target: NotifyConfig) -> Iterator[str]:
    yield from target.secrets
    yield from address_secrets(target.url)
    yield from _in_proxy(target.proxy)


def secrets_of(config: Config, environ: Mapping[str, str]) -> frozenset[str]:
    """Return every secret of a configuration, and the passwords of proxies."""
    hooks = (config.webhook, *config.hooks)
    secrets = [secret for hook in hooks for secret in hook.secrets]
    secrets += (*config.api.tokens, config.api.read_token or "")
    secrets += (s for credential in config.credentials for s in _of(credential))
    secrets += (s for name in PROXIES for s in _in_proxy(environ.get(name, "")))
    secrets += (s for target in config.notify for s in _of_target(target))
    return frozenset(filter(None, secrets))


def _of(credential: Credential) -> Iterator[str]:
    """Give what its file holds now; each run reads it again, and knows it then."""
    if credential.ssh_proxy and credential.ssh_proxy.password:
        yield from _in_proxy(credential.ssh_proxy.url)
    path = credential.password_file or credential.token_file
    if path is not None:
        try:
            yield read_secret(path)
        except SecretFileError:
            return


def _in_proxy(url: str) -> Iterator[str]:
    """Give the password in a proxy's address, as written and as meant.

    curl ends the address at a "/" or "#" that should have been percent-encoded, and
    tells what stands before it: so the pieces are secret too.
    """
    user, at, _ = url.partition("://")[2 if "://" in url else 0].rpartition("@")
    if at:
        password = user.partition(":")[2] or user
        yield from {password, unquote(password), *re.split(r"[/#?@:\\]", password)}
