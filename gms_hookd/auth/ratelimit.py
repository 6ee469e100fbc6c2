"""Token buckets, one for each address: no address can use up another's share."""

import socket
from collections import OrderedDict
from threading import Lock


def block(address: str) -> str:
    """Return whom an address counts as: a v6 one as its /64, which one customer gets.

    What is no address counts as itself.
    """
    if ":" not in address:
        return address
    try:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex()
    except OSError:
        return address


class Buckets:
    """`per_minute` tokens a minute for each address, as many at once; 0 = no limit.

    At most `size` addresses are remembered; the one unseen for longest goes first.
    """

    def __init__(self, per_minute: int, size: int = 65_536) -> None:
        self.per_minute = per_minute
        self._size = size
        self._lock = Lock()
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now: float) -> float:
        """Take a token; 0.0, or the seconds to wait when there is none."""
        if not self.per_minute:
            return 0.0
        key = block(address)
        with self._lock:
            tokens = self._tokens(key, now)
            if tokens >= 1.0:
                self._keep(key, tokens - 1.0, now)
        return self._missing(tokens)

    def wait(self, address: str, now: float) -> float:
        """Tell the seconds until the address has a token; takes none."""
        if not self.per_minute:
            return 0.0
        return self._missing(self._tokens(block(address), now))

    def charge(self, address: str, now: float) -> None:
        """Take a token from the address, as far as it has one."""
        if not self.per_minute:
            return
        key = block(address)
        with self._lock:
            self._keep(key, max(self._tokens(key, now) - 1.0, 0.0), now)

    def _keep(self, key: str, tokens: float, now: float) -> None:
        self._seen[key] = tokens, now
        self._seen.move_to_end(key)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)

    def _missing(self, tokens: float) -> float:
        return max(1.0 - tokens, 0.0) * 60.0 / self.per_minute

    def _tokens(self, key: str, now: float) -> float:
        tokens, at = self._seen.get(key, (float(self.per_minute), now))
        gained = max(now - at, 0.0) * self.per_minute / 60.0
        # A sum of small floats must not hide the last token for ever.
        return min(tokens + gained + 1e-9, float(self.per_minute))
