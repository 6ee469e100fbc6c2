"""Careful reading of a payload: a stranger's JSON, whatever it turns out to be.

Nothing here raises: what is missing, of another type, too long or with controls in it
is None or empty. Text that comes out of here is one line that has bytes in UTF-8; what
of it is not to be seen is written as escapes where it is shown.
"""

import re

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
