"""JSON from strangers: strict UTF-8, no duplicate keys, no NaN, bounded depth."""

import json
from typing import Any, NoReturn


def loads(body: bytes) -> Any:
    """Read one JSON text (RFC 8259); ValueError for anything that is not exactly it."""
    text = body.strip(b" \t\n\r").decode("utf-8")
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if end < len(text):
        raise ValueError(f"something follows: char {end}")
    return value


def dumps(value: object) -> bytes:
    """Write JSON that any reader takes: lone surrogates stay escaped."""
    return json.dumps(value).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# json.loads would make one at every call.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
