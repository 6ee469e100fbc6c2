"""The kinds of parameters: of each the JSON schema, and the check that keeps it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from gms_hookd.model import LARGEST_ID, RunStatus
from gms_hookd.store import notices
from gms_hookd.web.params import (
    LONGEST_TEXT,
    LONGEST_TIMEOUT,
    MOST_NAMES,
    MOST_OPTIONS,
    Params,
    read_boolean,
    read_cron,
    read_deletions,
    read_list,
    read_names,
    read_number,
    read_objects,
    read_push_options,
    read_since,
    read_strings,
    read_text,
    read_timeout,
    read_word,
)

Schema = Mapping[str, Any]


class ParameterKind(NamedTuple):
    """What a parameter may be; `check` raises HttpError 400 where it is not that."""

    schema: Schema
    check: Callable[[Params, str], object]


def _number(least: int) -> ParameterKind:
    schema = {"type": "integer", "minimum": least, "maximum": LARGEST_ID}
    return ParameterKind(schema, partial(read_number, least=least))


def _word(words: tuple[str, ...]) -> ParameterKind:
    return ParameterKind(
        {"type": "string", "enum": list(words)}, partial(read_word, words=words)
    )


_LINE = {"type": "string", "maxLength": LONGEST_TEXT}
_LINES = {"type": "array", "items": {"type": "string"}}
_SECONDS = {"type": "number", "minimum": 0, "maximum": LONGEST_TIMEOUT}
_OBJECT_ID = {"type": "string", "pattern": "^[0-9a-f]{40}([0-9a-f]{24})?$"}
_DELETIONS = {"type": "object", "additionalProperties": _OBJECT_ID}
ID, COUNT, HTTP_STATUS = _number(1), _number(0), _number(100)
TEXT = ParameterKind(_LINE, read_text)
FLAG = ParameterKind({"type": "boolean"}, partial(read_boolean, default=False))
RUN_STATUS = _word(tuple(RunStatus))
NOTICE_STATUS = _word(notices.STATUSES)
SINCE = ParameterKind(_LINE, read_since)
STRINGS = ParameterKind(_LINES, read_strings)
NAMES = ParameterKind(
    {"anyOf": [_LINE, {**_LINES, "minItems": 1}], "nullable": True}, read_names
)
LIST = ParameterKind({**_LINES, "minItems": 1, "maxItems": MOST_NAMES}, read_list)
OPTIONS = ParameterKind(
    {
        "anyOf": [{"type": "string"}, {**_LINES, "maxItems": 3 + MOST_OPTIONS}],
        "nullable": True,
    },
    read_push_options,
)
TIMEOUT = ParameterKind({"anyOf": [_SECONDS, _LINE], "nullable": True}, read_timeout)
CRON = ParameterKind({**_LINE, "nullable": True}, read_cron)
CONFIRMED = ParameterKind({"anyOf": [{"type": "boolean"}, _DELETIONS]}, read_deletions)
OBJECTS = ParameterKind({"type": "array", "items": {"type": "object"}}, read_objects)
