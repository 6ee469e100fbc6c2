"""Argo Events and CloudEvents: an envelope around a forge's body, or around any.

Page: argoproj.github.io/argo-events, Event Sources: webhook; cloudevents.io.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Basic, Bearer, Scheme
from gms_hookd.auth.signature import base64_bytes
from gms_hookd.forges import detect, generic
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import at, key, text, usable
from gms_hookd.payload import PayloadError, load_json_body

NAME = "argo-events"
EVENTS = "(whatever the sensor's trigger sends)"
SCHEMES: Mapping[str, Scheme] = {
    "bearer": Bearer(place="secureHeaders: `Authorization: Bearer SECRET`"),
    "basic": Basic(place="basicAuth of the trigger"),
}
sample = generic.sample


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the body inside the envelope says, or the payload without one."""
    context = at(payload, "context")
    context = context if isinstance(context, dict) else payload
    data = opened(at(payload, "data"))
    body = at(data, "body")
    inner = opened(body) if body is not None else data
    event = detect.parse(sent_headers(data), inner if inner is not None else payload)
    delivery = (text(context, "id") or "")[:200] or key(headers, "ce-id")
    name = event.name or text(context, "subject") or text(context, "type") or ""
    return replace(event, name=name[:100], delivery_key=delivery)


def opened(value: object) -> object:
    """Return what lies in a text of JSON, plain or base64; else the value itself."""
    if not isinstance(value, str):
        return value
    for read in (str.encode, base64_bytes):
        try:
            return load_json_body(read(value))
        except (PayloadError, ValueError):
            continue
    return value


def sent_headers(data: object) -> dict[str, str]:
    """Return the carried headers, lower case, the first value of each."""
    carried = at(data, "header") or at(data, "headers")
    pairs = carried.items() if isinstance(carried, dict) else ()
    firsts = ((name, at(v, 0) if isinstance(v, list) else v) for name, v in pairs)
    return {
        name.lower(): value
        for name, value in firsts
        if isinstance(value, str) and usable(value)
    }
