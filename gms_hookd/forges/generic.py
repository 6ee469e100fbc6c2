"""Anything else: the payload names a task, or a repository and perhaps a ref.

    {"task_id": 1}                      or "task": 1, "task": "name"
    {"repository": "https://host/path", "ref": "refs/heads/main"}

The same may lie in the field `data`. `repository` may also be an object with a forge's
`clone_url` or the like. Without either, the hook's own list of tasks says what to run.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import HMAC_OPTIONS, Basic, Bearer, Hmac, Scheme, UrlKey
from gms_hookd.forges.base import Event, SampleDelivery
from gms_hookd.forges.payloads import (
    GITHUB_URLS,
    GITLAB_URLS,
    at,
    full_ref,
    header,
    key,
    pushed,
    text,
    texts,
)

NAME = "generic"
EVENTS = "(whatever should start a sync)"
SCHEMES: Mapping[str, Scheme] = {
    "hmac": Hmac(prefix="sha256=", several=True, settable=HMAC_OPTIONS),
    "bearer": Bearer(),
    "basic": Basic(),
    "key": UrlKey(),
}
KEYS = ("x-delivery-id", "idempotency-key", "x-request-id")


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    kinds = texts(payload, "event", "event_type", "type")
    name = header(headers, "x-event", "x-event-key") or next(iter(kinds), "")
    return read(Event(name[:100], key(headers, *KEYS)), payload)


def read(event: Event, payload: object) -> Event:
    """Read the payload, or what lies in its field `data`."""
    inner = at(payload, "data")
    has_own = any(at(payload, field) is not None for field in FIELDS)
    found = inner if isinstance(inner, dict) and not has_own else payload
    event = replace(event, tasks=named(found), urls=addresses(found))
    if event.name.lower() in {"ping", "test"}:
        return replace(event, ignored="a ping")
    return ref_of(event, found)


def named(payload: object) -> tuple[int | str, ...]:
    """Return the task that the payload names, by id or by name."""
    given = at(payload, "task_id")
    task = given if given is not None else at(payload, "task")
    if isinstance(task, int) and not isinstance(task, bool):
        return (task,) if 0 < task < 1 << 63 else ()
    return texts({"task": task}, "task")


def addresses(payload: object) -> tuple[str, ...]:
    """Return the addresses of the repository that the payload names."""
    for field in ("repository", "project"):
        found = texts(payload, field) or texts(
            at(payload, field), *GITHUB_URLS, *GITLAB_URLS, "url"
        )
        if found:
            return tuple(dict.fromkeys(found))
    return ()


def ref_of(event: Event, payload: object) -> Event:
    """Add the changed ref; without a usable one, anything may have changed."""
    ref = text(payload, "ref")
    if ref is None:
        return replace(event, everything=True)
    full = ref if ref.startswith("refs/") else full_ref(ref, text(payload, "ref_type"))
    return replace(event, changes=(pushed(full, payload),))


def sample(url: str, ref: str) -> SampleDelivery:
    """Return a push to `ref` of the repository at `url`."""
    return SampleDelivery({}, {"event": "push", "repository": url, "ref": ref})


FIELDS = ("task_id", "task", "repository", "project")
