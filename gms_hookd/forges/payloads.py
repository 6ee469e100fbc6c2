"""Careful reading of a payload: JSON from outside, whatever it turns out to be.

Nothing here raises: what is missing, of another type, too long or with controls in it
is None or empty. Text that comes out of here is one line that has bytes in UTF-8; what
of it is not to be seen is written as escapes where it is shown.


What many forges share: the push of one ref, keys of URLs, names of events.

Renames and transfers: the addresses that a repository had, and the words for it.

Bodies of a push as the forges send it, for test deliveries.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gms_hookd.forges.base import Change, Event, EventKind, SampleDelivery

LONGEST_TEXT = 2000
MOST_ITEMS = 1000
# What git refuses in names of refs, and what has no bytes; str.isprintable() knows
# neither U+3000 nor joiners, private characters and those younger than this Python.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_HEX = re.compile(r"[0-9a-fA-F]{4,64}")
_OID = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")


def at(value: object, *path: str | int) -> object:
    """Return what lies at the path of keys and indexes, or None."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            return None
    return value


def text(value: object, *path: str | int) -> str | None:
    """Return the text of one line at the path, not empty, or None."""
    found = at(value, *path)
    return found if isinstance(found, str) and usable(found) else None


def usable(found: str) -> bool:
    """Tell whether the text is one line of a sane length."""
    return 0 < len(found) <= LONGEST_TEXT and not _CONTROLS.search(found)


def texts(value: object, *keys: str) -> tuple[str, ...]:
    """Return the usable texts among these keys of a mapping, in this order."""
    found = [text(value, key) for key in keys]
    return tuple(item for item in found if item)


def items(value: object, *path: str | int) -> list[object]:
    """Return the list at the path, at most 1000 of it, or an empty one."""
    found = at(value, *path)
    return found[:MOST_ITEMS] if isinstance(found, list) else []


def oid(value: object, *path: str | int) -> str | None:
    """Return the object id at the path, or None; zeros are None too."""
    found = at(value, *path)
    if not isinstance(found, str) or not _OID.fullmatch(found):
        return None
    return None if is_zero(found) else found.lower()


def is_hex(value: object) -> bool:
    """Tell whether the value looks like an object id, whole or short, or zeros."""
    return isinstance(value, str) and bool(_HEX.fullmatch(value))


def is_zero(value: object) -> bool:
    """Tell whether the value is the id that means "no object", in any hash."""
    return isinstance(value, str) and set(value) == {"0"}


def full_ref(name: str, kind: str | None) -> str:
    """Return the full ref of a branch's or tag's short name.

    Some senders write the full name where others write the short one.
    """
    if name.startswith(("refs/heads/", "refs/tags/")):
        return name
    return ("refs/tags/" if kind == "tag" else "refs/heads/") + name


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


def ignored(reason: str) -> Reader:
    """Return a reader of events which there is nothing to do for."""
    return lambda event, payload: replace(event, ignored=reason)


def push(event: Event, payload: object) -> Event:
    """Read a push of one ref; where it cannot be read, anything may have changed."""
    ref = text(payload, "ref")
    before, after = at(payload, "before"), at(payload, "after")
    if is_hex(before) and before == after:
        return replace(event, ignored=SAME)
    if ref is None or not ref.startswith("refs/"):
        return replace(event, everything=True)
    return replace(event, changes=(pushed(ref, payload),))


def pushed(ref: str, value: object) -> Change:
    """Return the change told by `before`, `after` and the flags beside them."""
    before, after = at(value, "before"), at(value, "after")
    forced = at(value, "forced") is True
    if is_zero(after) or at(value, "deleted") is True:
        kind = EventKind.DELETED
    elif is_zero(before) or at(value, "created") is True:
        kind = EventKind.CREATED
    else:
        kind = EventKind.UPDATED
    return Change(ref, kind, oid(value, "before"), oid(value, "after"), forced)


def moved(ref: str, before: object, after: object, *, forced: bool = False) -> Change:
    """Return the change between two ids, of which zeros or nothing mean none."""
    old, new = oid(before), oid(after)
    kind = EventKind.UPDATED
    if (old is None) != (new is None):
        kind = EventKind.DELETED if new is None else EventKind.CREATED
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


def short(kind: EventKind) -> Reader:
    """Return a reader of a creation or deletion with a short name and `ref_type`."""

    def read(event: Event, payload: object) -> Event:
        name = text(payload, "ref")
        if name is None:
            return replace(event, everything=True)
        ref = full_ref(name, text(payload, "ref_type"))
        return replace(event, changes=(Change(ref, kind),))

    return read


def renamed(event: Event, old: str | None, new: str | None) -> Event:
    """Say that the repository's path was `old` until now and is `new`."""
    if not old or not new or old == new:
        return replace(event, ignored="a change of the repository's settings")
    former = tuple(url.replace(new, old) for url in event.urls if new in url)
    return left(event, old, new, former)


def left(event: Event, old: str, new: str, former: Sequence[str]) -> Event:
    """Say that the repository has left the addresses `former`."""
    return replace(
        event,
        ignored="a rename or transfer",
        warning=f"the repository {old} is now {new}, change the source of its tasks",
        former=tuple(former),
    )


def new_default(event: Event, old: str | None, new: str | None) -> Event:
    """Say that the repository's default branch is another one."""
    if not old or not new or old == new:
        return replace(event, ignored="a change of the repository's settings")
    return replace(
        event,
        ignored="another default branch",
        warning=f"the default branch {old} is now {new}, see whether its tasks name it",
        former=event.urls,
    )


def joined(owner: str | None, name: str | None) -> str | None:
    """Return `owner/name`, or None if either is missing."""
    path = f"{owner}/{name}"
    return path if owner and name and usable(path) else None


Sampler = Callable[[str, str], SampleDelivery]
Body = Callable[[str, str], Mapping[str, object]]
OLD, NEW = "1" * 40, "2" * 40


def path_of(url: str) -> str:
    """Return the last two parts of a URL's path, without `.git`."""
    parts = url.replace(":", "/").removesuffix(".git").split("/")
    return "/".join(part for part in parts if part)[-200:]


def hook_sample(header: str, body: Body) -> Sampler:
    """Return what makes a push with this body, its event named as GitLab does."""

    def sample(url: str, ref: str) -> SampleDelivery:
        name = "Tag Push Hook" if ref.startswith("refs/tags/") else "Push Hook"
        return SampleDelivery({header: name}, body(url, ref))

    return sample


def push_sample(header: str) -> Sampler:
    """Return what makes a push with GitHub's body, and `push` in this header."""

    def sample(url: str, ref: str) -> SampleDelivery:
        return SampleDelivery({header: "push"}, github_like(url, ref))

    return sample


def github_like(url: str, ref: str) -> dict[str, object]:
    """Return the body of GitHub and those who took over its shape."""
    repository = {"full_name": path_of(url), "clone_url": url}
    return {
        "ref": ref,
        "before": OLD,
        "after": NEW,
        "repository": repository,
        "commits": [],
    }


def gitlab_like(url: str, ref: str) -> dict[str, object]:
    """Return the body of GitLab and those who took over its shape."""
    kind = "tag_push" if ref.startswith("refs/tags/") else "push"
    return {
        "object_kind": kind,
        "ref": ref,
        "before": OLD,
        "after": NEW,
        "project": {"git_http_url": url},
        "repository": {"git_http_url": url},
        "commits": [],
    }
