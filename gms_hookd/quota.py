"""How much all peers together, and one peer alone, may hold of something."""

import socket
from collections.abc import Callable


class Quota:
    """A limit on a sum and a limit on the share of one address.

    An exempt address has no share of its own, only the sum. IPv6 addresses of one /64
    count as one: that is what one customer gets.
    """

    def __init__(
        self, total: int, share: int, exempt: Callable[[str], bool] | None = None
    ) -> None:
        self.held = 0
        self._total = total
        self._share = share
        self._exempt = exempt
        self._shares: dict[str, int] = {}

    def take(self, peer: str, amount: int = 1) -> bool:
        """Take `amount` for `peer` if that leaves both limits kept."""
        key = _network(peer)
        share = self._shares.get(key, 0) + amount
        if self.held + amount > self._total:
            return False
        if share > self._share and not (self._exempt and self._exempt(peer)):
            return False
        self.held += amount
        self._shares[key] = share
        return True

    def give_back(self, peer: str, amount: int = 1) -> None:
        """Give back what was taken."""
        key = _network(peer)
        self.held -= amount
        self._shares[key] -= amount
        if not self._shares[key]:
            del self._shares[key]


def _network(peer: str) -> str:
    if ":" not in peer:
        return peer
    return socket.inet_pton(socket.AF_INET6, peer)[:8].hex()
