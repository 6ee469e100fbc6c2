"""The forges: each one's module, and the scheme by which a hook of it is verified."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import cast

from gms_hookd.forges.base import Forge
from gms_hookd.forges.names import PROVIDERS
from gms_hookd.forges.proof import Scheme


class _Forges(Mapping[str, Forge]):
    """The module of each provider, imported when it is asked for."""

    def __getitem__(self, provider: str) -> Forge:
        if provider not in PROVIDERS:
            raise KeyError(provider)
        name = f"{__package__}.{provider.replace('-', '_')}"
        return cast(Forge, import_module(name))

    def __iter__(self) -> Iterator[str]:
        return iter(PROVIDERS)

    def __len__(self) -> int:
        return len(PROVIDERS)


FORGES: Mapping[str, Forge] = _Forges()


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
