"""Patterns: one `*` in a name, a source and a target stands for many repositories.

It is one part of the source's path. What it stands for comes from payloads and lists,
so that only plain names are taken.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from gms_hookd.git import url as giturl
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.url import GitUrl, loosely

STAR = "*"
LONGEST_PART = 100  # characters, as at GitHub
_PLAIN = late_pattern(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_ENDS = (".git", ".lock", ".")  # of files beside repositories, or of none
_WHOLE_PART = late_pattern(r"(?<=[/:])\*(?:\.git)?(?=/|$)")
_MARKED = "_git"  # in a path of Azure DevOps, which leaves out what is said twice


def is_pattern(*texts: str) -> bool:
    """Tell whether one of these texts has a star."""
    return any(STAR in text for text in texts)


def filled(text: str, part: str) -> str:
    """Return a text with what its star stands for."""
    return text.replace(STAR, part, 1)


def check(name: str, source: str, target: str) -> None:
    """Raise ValueError unless the three make a pattern."""
    for key, text in (("name", name), ("source", source), ("target", target)):
        if text.count(STAR) != 1:
            raise ValueError(f"{key}: a pattern has one '*' in name, source and target")
    if not _WHOLE_PART.search(source):
        raise ValueError("source: '*' stands for one whole part of the path, as in a/*")
    for key, text in (("source", source), ("target", target)):
        one, other = (loosely(filled(text, part)) for part in ("x", "y"))
        if _before_path(one) != _before_path(other):
            raise ValueError(f"{key}: '*' stands for a part of the path only")


def _before_path(url: GitUrl) -> tuple[object, ...]:
    return url.scheme, url.host, url.port, url.user


def plain(part: str) -> str:
    """Return what a star may stand for; ValueError says why it may not be that."""
    if len(part) > LONGEST_PART:
        raise ValueError(f"a name of {len(part)} characters, over {LONGEST_PART}")
    if not _PLAIN.fullmatch(part) or ".." in part or part.lower().endswith(_ENDS):
        raise ValueError(
            f"{part!a} is no plain name: letters, digits, '.', '_' and '-' make one,"
            " no '.' or '-' in front, no '..', no '.git', '.lock' or '.' at the end"
        )
    return part


def part_of(
    source: str, places: Iterable[tuple[str | None, str]], urls: Sequence[str]
) -> str | None:
    """Return what the star of a source stands for, if it covers one of the places.

    Host None is any. The case is that of the address which was given.
    """
    host, path = giturl.place(source)
    written = [_parts(url) for url in urls]
    for place_host, place_path in places:
        if place_host not in (None, host) or (place_host is None and not host):
            continue
        if _MARKED in path.split("/"):
            found = _marked(source, (host, place_path), chain(*written))
        else:
            found = _as_written(path, _between(path, place_path), written)
        if found is not None:
            return found
    return None


def _between(path: str, covered: str) -> str | None:
    head, _, tail = path.partition(STAR)
    part = covered[len(head) : len(covered) - len(tail)]
    whole = covered == head + part + tail and len(covered) > len(head) + len(tail)
    return part if whole and "/" not in part else None


def _as_written(
    path: str, part: str | None, written: Iterable[list[str]]
) -> str | None:
    """Return a part in the case in which an address has it in its place.

    The owner may have the name of the repository in another case.
    """
    if part is None:
        return None
    place = path.partition(STAR)[2].count("/") + 1  # from the end: prefixes may differ
    there = (parts[-place] for parts in written if len(parts) >= place)
    return next((p for p in there if p.lower() == part.lower()), part)


def _marked(source: str, covered: tuple[str, str], given: Iterable[str]) -> str | None:
    return next((p for p in given if giturl.place(filled(source, p)) == covered), None)


def _parts(url: str) -> list[str]:
    """Take an address apart as its sender has written it."""
    try:
        read = loosely(url)
    except ValueError:
        return [part.removesuffix(".git") for part in re.split("[/:]", url) if part]
    return [part.removesuffix(".git") for part in read.parts]
