"""All that is configured and nobody may see: what a mask of texts is made of."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from gms_hookd.config.records import Config
from gms_hookd.files import SecretFileError, read_secret
from gms_hookd.git.command import PROXIES
from gms_hookd.git.credentials import Credential

LONG_PIECE = 12  # letters: shorter ones may be an ordinary word of a path
SHORTEST = 6
# Of the addresses of vendors, and in messages of ours too.
COMMON = frozenset({
    "api.telegram.org", "cgi-bin", "open-apis", "update-package", "incoming-webhook",
    "notifications", "webhookb2", "IncomingWebhook",
})  # fmt: skip


def secrets_of(config: Config, environ: Mapping[str, str]) -> frozenset[str]:
    """Return every secret of a configuration, and the passwords of proxies."""
    hooks = (config.webhook, *config.hooks)
    secrets = [secret for hook in hooks for secret in hook.secrets]
    secrets += (*config.api.tokens, config.api.read_token or "")
    secrets += (s for credential in config.credentials for s in _of(credential))
    secrets += (s for name in PROXIES for s in _in_proxy(environ.get(name, "")))
    for target in config.notify:
        secrets += [*target.secrets, *_in_url(target.url), *_in_proxy(target.proxy)]
    return frozenset(filter(None, secrets))


def _in_url(url: str) -> Iterator[str]:
    """Give what of an address is secret: what nobody would guess of path and query.

    The whole would mask harmless texts, the name of the host among them.
    """
    parts = urlsplit(url)
    values = (field.partition("=")[2] for field in parts.query.split("&"))
    for piece in (*parts.path.split("/"), *values):
        telling = len(piece) >= LONG_PIECE or not (piece.isalpha() and piece.islower())
        if len(piece) >= SHORTEST and piece not in COMMON and telling:
            yield from {piece, unquote(piece)}


def _of(credential: Credential) -> Iterator[str]:
    """Give what its file holds now; each run reads it again, and knows it then."""
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
