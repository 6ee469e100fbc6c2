"""JSON from outside: strict UTF-8, no duplicate keys, no NaN, bounded depth.

The body of a delivery: which bytes are the JSON, and the JSON of these bytes.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes


def load_json(body: bytes) -> Any:
    """Read one JSON text (RFC 8259); ValueError for anything that is not exactly it."""
    text = body.strip(b" \t\n\r").decode("utf-8")
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if end < len(text):
        raise ValueError(f"something follows: char {end}")
    return value


def load_json_texts(body: bytes) -> list[Any]:
    """Read JSON texts, one after the other with blanks between; raises ValueError."""
    text = body.decode("utf-8-sig").strip(" \t\n\r")
    found = []
    while text:
        try:
            value, end = _DECODER.raw_decode(text)
        except RecursionError:
            raise ValueError("nested too deep") from None
        found.append(value)
        text = text[end:].lstrip(" \t\n\r")
    return found


def dump_json(value: object) -> bytes:
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
FORM = "application/x-www-form-urlencoded"


class PayloadError(ValueError):
    """The body is not the JSON that it should be; the text says why in one line."""


def decode(headers: Mapping[str, str], body: bytes) -> object:
    """Return the JSON value of a JSON or form body.

    Duplicate keys are tolerated, the last one wins. Raises PayloadError.
    """
    return load_json_body(form_payload(body) if is_form(headers) else body)


def is_form(headers: Mapping[str, str]) -> bool:
    """Tell whether the headers call the body a form."""
    kind = headers.get("content-type", "").partition(";")[0]
    return kind.strip(" \t").lower() == FORM


def form_payload(body: bytes) -> bytes:
    """Return the JSON text of a form whose one field is `payload`.

    Anything beside that field is refused: otherwise a signed JSON body that contains
    `&payload=` somewhere could be sent again as a form. Raises PayloadError.
    """
    if not body.startswith(b"payload=") or b"&" in body:
        raise PayloadError("the form is not one field `payload`")
    return unquote_to_bytes(body.removeprefix(b"payload=").replace(b"+", b" "))


def load_json_body(body: bytes) -> object:
    """Return the JSON value of strict UTF-8 bytes; raises PayloadError.

    A mark of byte order is passed over, as RFC 8259, 8.1, allows: .NET writes one.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise PayloadError("the JSON is nested too deeply") from None
    except ValueError:
        raise PayloadError("the body is not JSON in UTF-8") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
