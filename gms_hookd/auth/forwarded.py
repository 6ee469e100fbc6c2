"""Whose request it is behind our own proxies: X-Forwarded-For, as far as it is ours."""

from functools import lru_cache

from gms_hookd.auth.whitelist import UNIX, Whitelist, address

HOPS = 16


def client(peer: str, forwarded: str | None, proxies: Whitelist) -> str:
    """Return whose request it is: the peer, or whom our own proxies name.

    Only when the peer is one of `proxies` is X-Forwarded-For read, from the right,
    past our own proxies to the first other address; what cannot be read ends the walk.
    """
    best = peer if peer.startswith(UNIX) else _peer(peer) or peer
    if not forwarded or not proxies.covers(peer):
        return best
    for hop in reversed(forwarded.rsplit(",", HOPS)[-HOPS:]):
        found = _plain(_without_port(hop.strip(" \t")))
        if found is None:
            return best
        best = found
        if not proxies.covers(best):
            return best
    return best


def _plain(text: str) -> str | None:
    try:
        return str(address(text))
    except ValueError:
        return None


# A peer comes again and again, and is short; what a header says need not be.
_peer = lru_cache(maxsize=4096)(_plain)


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, port = hop.rpartition(":")
    return (
        host
        if colon and port.isascii() and port.isdecimal() and ":" not in host
        else hop
    )
