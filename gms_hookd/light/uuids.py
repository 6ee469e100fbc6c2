"""UUIDs (RFC 9562) as texts: the standard `uuid` looks for MAC addresses, for 4 ms."""

import os
from hashlib import sha1

URLS = bytes.fromhex("6ba7b8119dad11d180b400c04fd430c8")  # the namespace of URLs


def random_uuid() -> str:
    """Return a new one that nobody guesses (RFC 9562, 5.4)."""
    return _uuid(os.urandom(16), 4)


def uuid_of(name: str) -> str:
    """Return the one that stands for a name, as for a URL (RFC 9562, 5.5)."""
    return _uuid(sha1(URLS + name.encode(), usedforsecurity=False).digest()[:16], 5)


def _uuid(content: bytes, version: int) -> str:
    raw = bytearray(content)
    raw[6] = raw[6] & 0x0F | version << 4
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
