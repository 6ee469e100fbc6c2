"""The places at which a repository may be known, beside the one a payload names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from gms_hookd.git import url as giturl
from gms_hookd.git.forgeurl import canonical
from gms_hookd.git.url import PORTS

Place = tuple[str, str]
MOST = 20  # places of one address; aliases that lead to each other end there


class Address(NamedTuple):
    """A host and what lies below a path on it; a port of None is any."""

    host: str
    port: int | None
    path: str

    def below(self, other: "Address") -> str | None:
        """Return the rest of the path of an address that lies in this one."""
        ports = {self.port, other.port} - {None}
        if self.host != other.host or len(ports) > 1:
            return None
        prefix = f"{self.path}/" if self.path else ""
        inside = other.path.startswith(prefix)
        return other.path.removeprefix(prefix) if inside else None


def read(text: str) -> Address:
    """Read `host`, `host:port` or `host/path`, as it is or as a URL.

    Raises ValueError.
    """
    bare = re.sub(r"(?i)^[a-z]+://(?:[^@/]*@)?", "", text).rstrip("/")
    try:
        url = giturl.parse(f"ssh://{bare}/x", PORTS)
    except ValueError:
        url = None
    if url is None or url.user is not None:
        raise ValueError(f"{text!r} is no host, host:port or host/path")
    return Address(url.host, url.port, giturl.bare_path(url).removesuffix("x")[:-1])


@dataclass(frozen=True, slots=True)
class Aliases:
    """Pairs of addresses: what payloads say, and what tasks do."""

    pairs: tuple[tuple[Address, Address], ...] = ()

    def places(self, text: str) -> tuple[Place, ...]:
        """Return the places of an address's repository, its own first.

        Raises ValueError where it is no address.
        """
        found = giturl.normalised(text)
        if not found[0] or not self.pairs:
            return (found,)
        url = giturl.loosely(text)
        port = url.port or PORTS[url.scheme]
        seen = [Address(url.host, port, giturl.bare_path(url))]
        for address in seen:
            new = (each for each in self._others(address) if each not in seen)
            seen.extend(list(new)[: MOST - len(seen)])
        others = (canonical(a.host, a.path, None) for a in seen[1:])
        return tuple(dict.fromkeys((found, *others)))

    def _others(self, address: Address) -> Iterator[Address]:
        both_ways = chain(self.pairs, (pair[::-1] for pair in self.pairs))
        for one, other in both_ways:
            if rest := one.below(address):
                path = f"{other.path}/{rest}" if other.path else rest
                yield Address(other.host, other.port, path)


def gerrit(place: Place) -> tuple[Place, ...]:
    """Return the places that Gerrit may have for a repository, this one first.

    Its `a/` in front of the project, behind the server's own path, asks for a login
    (gerrit-review.googlesource.com/Documentation: REST API, Authentication).
    """
    host, path = place
    parts = path.split("/")
    if not host:
        return (place,)
    if "a" in parts[:2]:
        at = parts.index("a")
        ways = [parts[:at] + parts[at + 1 :]]
    else:
        ways = [[*parts[:at], "a", *parts[at:]] for at in (0, 1) if parts[at:]]
    return (place, *((host, "/".join(way)) for way in ways if way))
