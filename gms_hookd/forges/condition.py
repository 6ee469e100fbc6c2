"""Which payloads a hook is to act on: `[hooks.NAME.when]`, all of which must hold."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

Scalar = str | int | float | bool
LONGEST = 80  # characters of a value that is shown


@dataclass(frozen=True, slots=True)
class Condition:
    """A dotted path into a payload, and the values or globs that it may have there."""

    path: str
    wanted: tuple[Scalar, ...]

    def holds(self, payload: object) -> bool:
        """Tell whether the payload has one of the values; of a list, in one place."""
        found = [each for value in _at(payload, self.path) for each in _each(value)]
        return any(_equal(want, have) for want in self.wanted for have in found)


def unmet(conditions: tuple[Condition, ...], payload: object) -> str | None:
    """Say which condition does not hold; None where all do."""
    for condition in conditions:
        if not condition.holds(payload):
            wanted = " or ".join(json.dumps(each) for each in condition.wanted)
            found = next(_at(payload, condition.path), None)
            shown = json.dumps(found, ensure_ascii=False)[:LONGEST]
            return f"filtered: {condition.path} is {shown}, not {wanted}"
    return None


def _at(value: object, path: str) -> Iterator[object]:
    """Give what is at a path; a key may have dots itself, a list is counted from 0."""
    if not path:
        yield value
    elif isinstance(value, dict):
        inside = ((inner, _within(key, path)) for key, inner in value.items())
        found = ((inner, rest) for inner, rest in inside if rest is not None)
        for inner, rest in found:
            yield from _at(inner, rest)
    elif isinstance(value, list):
        head, _, rest = path.partition(".")
        if head.isascii() and head.isdigit() and len(head) < 6:
            yield from _item(value, int(head), rest)


def _within(key: object, path: str) -> str | None:
    """Return the rest of a path that leads through a key, None where it does not."""
    if path == key:
        return ""
    return path[len(f"{key}.") :] if path.startswith(f"{key}.") else None


def _item(found: list[object], number: int, rest: str) -> Iterator[object]:
    if number < len(found):
        yield from _at(found[number], rest)


def _each(value: object) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
    else:
        yield value


def _equal(want: Scalar, have: object) -> bool:
    if isinstance(want, str):
        text = have if isinstance(have, str) else json.dumps(have)
        return not isinstance(have, dict | list) and fnmatchcase(text, want)
    return type(have) is type(want) and have == want
