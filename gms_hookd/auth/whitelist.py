"""Who may ask: addresses, and networks in CIDR notation."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
UNIX = "unix"
LONGEST = 64  # characters; 45 of an address, then its scope: "%" and an interface


def address(text: str) -> Address:
    """Read an address; a v4-mapped v6 one is the v4 one, a scope is dropped.

    ValueError for anything else. RFC 4291, 2.5.5.2: `::ffff:192.0.2.1`.
    """
    if len(text) > LONGEST:
        raise ValueError("too long for an address")
    found = ip_address(text.partition("%")[0])
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def network(text: str) -> Network:
    """Read an address or a CIDR block, v4, v6 or v4-mapped; ValueError otherwise."""
    found = ip_network(text, strict=False)
    mapped = (
        found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    )
    if mapped is not None and found.prefixlen >= 96:
        return IPv4Network((mapped, found.prefixlen - 96))
    return found


def is_socket(entry: str) -> bool:
    """Return whether an entry means peers of unix sockets: `unix`, or `unix:/PATH`."""
    return entry == UNIX or entry.startswith(f"{UNIX}:/")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name or its address."""
    try:
        return host.lower() == "localhost" or address(host).is_loopback
    except ValueError:
        return False


def is_near(peer: str) -> bool:
    """Return whether a peer is on this machine or in a private network."""
    try:
        return peer.startswith(UNIX) or address(peer).is_private
    except ValueError:
        return False


class Whitelist:
    """A list of networks, and of unix sockets, whose peers have no address.

    Addresses are remembered, since the same ones come again.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        given = tuple(entries)
        self._sockets = frozenset(filter(is_socket, given))
        self._networks = tuple(network(e) for e in given if not is_socket(e))
        self._admits_all = not given
        self._covers = lru_cache(maxsize=4096)(self._look)

    def __bool__(self) -> bool:
        """Return whether there is any entry."""
        return not self._admits_all

    def covers(self, text: str) -> bool:
        """Return whether the address lies in one of the networks.

        The peer of a unix socket is written as the listener is: `unix:/PATH`.
        """
        if text.startswith(UNIX):
            return UNIX in self._sockets or text in self._sockets
        return len(text) <= LONGEST and self._covers(text)

    def admits(self, text: str) -> bool:
        """Return whether the address may ask; a list without entries admits all."""
        return self._admits_all or self.covers(text)

    def _look(self, text: str) -> bool:
        try:
            wanted = address(text)
        except ValueError:
            return False
        return any(wanted in block for block in self._networks)
