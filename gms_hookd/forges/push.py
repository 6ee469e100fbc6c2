"""What many forges share: the push of one ref, keys of URLs, names of events."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gms_hookd.forges.base import Change, Event, Kind
from gms_hookd.forges.values import (
    MOST_ITEMS,
    at,
    full_ref,
    is_hex,
    is_zero,
    oid,
    text,
    usable,
)

Reader = Callable[[Event, object], Event]
GITHUB_URLS = ("clone_url", "ssh_url", "html_url")
GITLAB_URLS = (
    "git_http_url", "git_ssh_url", "web_url", "homepage", "http_url", "ssh_url"
)  # fmt: skip
SAME = "a test delivery: before and after are the same"
NO_CHANGE = "an event that changes no ref"
MERGE = "a merge request: the push that comes with the merge counts"


def header(headers: Mapping[str, str], *names: str) -> str:
    """Return the first usable of these headers, or an empty text."""
    found = (headers.get(name, "") for name in names)
    return next((value for value in found if usable(value)), "")


def key(headers: Mapping[str, str], *names: str) -> str | None:
    """Return the delivery's id from the first of these headers, or None."""
    return header(headers, *names)[:200] or None


def words(name: str) -> str:
    """Return one spelling for `Tag Push Hook`, `tag_push_hooks` and `tag_push`."""
    parts = name.lower().replace("_", " ").split()
    return " ".join(part for part in parts if part not in {"hook", "hooks"})


def idle(reason: str) -> Reader:
    """Return a reader of events which there is nothing to do for."""
    return lambda event, payload: replace(event, idle=reason)


def push(event: Event, payload: object) -> Event:
    """Read a push of one ref; where it cannot be read, anything may have changed."""
    ref = text(payload, "ref")
    before, after = at(payload, "before"), at(payload, "after")
    if is_hex(before) and before == after:
        return replace(event, idle=SAME)
    if ref is None or not ref.startswith("refs/"):
        return replace(event, everything=True)
    return replace(event, changes=(pushed(ref, payload),))


def pushed(ref: str, value: object) -> Change:
    """Return the change told by `before`, `after` and the flags beside them."""
    before, after = at(value, "before"), at(value, "after")
    forced = at(value, "forced") is True
    if is_zero(after) or at(value, "deleted") is True:
        kind = Kind.DELETED
    elif is_zero(before) or at(value, "created") is True:
        kind = Kind.CREATED
    else:
        kind = Kind.UPDATED
    return Change(ref, kind, oid(value, "before"), oid(value, "after"), forced)


def moved(ref: str, before: object, after: object, *, forced: bool = False) -> Change:
    """Return the change between two ids, of which zeros or nothing mean none."""
    old, new = oid(before), oid(after)
    kind = Kind.UPDATED
    if (old is None) != (new is None):
        kind = Kind.DELETED if new is None else Kind.CREATED
    return Change(ref, kind, old, new, forced)


def several(
    event: Event, listed: object, read: Callable[[object], Change | None]
) -> Event:
    """Read a list of changes; where one cannot be read, anything may have changed."""
    found = listed if isinstance(listed, list) and len(listed) <= MOST_ITEMS else []
    read_ones = [read(each) for each in found]
    changes = tuple(change for change in read_ones if change)
    if not changes or len(changes) < len(read_ones):
        return replace(event, everything=True)
    return replace(event, changes=changes)


def short(kind: Kind) -> Reader:
    """Return a reader of a creation or deletion told by short name and `ref_type`."""

    def read(event: Event, payload: object) -> Event:
        name = text(payload, "ref")
        if name is None:
            return replace(event, everything=True)
        ref = full_ref(name, text(payload, "ref_type"))
        return replace(event, changes=(Change(ref, kind),))

    return read
