"""Renames and transfers: the addresses that a repository had, and the words for it."""

from collections.abc import Sequence
from dataclasses import replace

from gms_hookd.forges.base import Event
from gms_hookd.forges.values import usable


def renamed(event: Event, old: str | None, new: str | None) -> Event:
    """Say that the repository's path was `old` until now and is `new`."""
    if not old or not new or old == new:
        return replace(event, idle="a change of the repository's settings")
    former = tuple(url.replace(new, old) for url in event.urls if new in url)
    return left(event, old, new, former)


def left(event: Event, old: str, new: str, former: Sequence[str]) -> Event:
    """Say that the repository has left the addresses `former`."""
    return replace(
        event,
        idle="a rename or transfer",
        warning=f"the repository {old} is now {new}, change the source of its tasks",
        former=tuple(former),
    )


def new_default(event: Event, old: str | None, new: str | None) -> Event:
    """Say that the repository's default branch is another one."""
    if not old or not new or old == new:
        return replace(event, idle="a change of the repository's settings")
    return replace(
        event,
        idle="another default branch",
        warning=f"the default branch {old} is now {new}, see whether its tasks name it",
        former=event.urls,
    )


def joined(owner: str | None, name: str | None) -> str | None:
    """Return `owner/name`, or None if either is missing."""
    path = f"{owner}/{name}"
    return path if owner and name and usable(path) else None
