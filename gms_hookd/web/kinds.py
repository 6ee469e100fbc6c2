"""The kinds of parameters: of each the JSON schema, and the check that keeps it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from gms_hookd.model import LARGEST_ID, RunStatus
from gms_hookd.store import notices
from gms_hookd.web import params

Schema = Mapping[str, Any]


class ParameterKind(NamedTuple):
    """What a parameter may be; `check` raises HttpError 400 where it is not that."""

    schema: Schema
    check: Callable[[params.Params, str], object]


def _number(least: int) -> ParameterKind:
    schema = {"type": "integer", "minimum": least, "maximum": LARGEST_ID}
    return ParameterKind(schema, partial(params.read_number, least=least))


def _word(words: tuple[str, ...]) -> ParameterKind:
    return ParameterKind(
        {"type": "string", "enum": list(words)}, partial(params.read_word, words=words)
    )


_LINE = {"type": "string", "maxLength": params.LONGEST_TEXT}
_LINES = {"type": "array", "items": {"type": "string"}}
_SECONDS = {"type": "number", "minimum": 0, "maximum": params.LONGEST_TIMEOUT}
_OBJECT_ID = {"type": "string", "pattern": "^[0-9a-f]{40}([0-9a-f]{24})?$"}
_DELETIONS = {"type": "object", "additionalProperties": _OBJECT_ID}
ID, COUNT, HTTP_STATUS = _number(1), _number(0), _number(100)
TEXT = ParameterKind(_LINE, params.read_text)
FLAG = ParameterKind({"type": "boolean"}, partial(params.read_boolean, default=False))
RUN_STATUS = _word(tuple(RunStatus))
NOTICE_STATUS = _word(notices.STATUSES)
SINCE = ParameterKind(_LINE, params.read_since)
STRINGS = ParameterKind(_LINES, params.read_strings)
NAMES = ParameterKind(
    {"anyOf": [_LINE, {**_LINES, "minItems": 1}], "nullable": True}, params.read_names
)
LIST = ParameterKind(
    {**_LINES, "minItems": 1, "maxItems": params.MOST_NAMES}, params.read_list
)
OPTIONS = ParameterKind(
    {
        "anyOf": [{"type": "string"}, {**_LINES, "maxItems": 3 + params.MOST_OPTIONS}],
        "nullable": True,
    },
    params.read_push_options,
)
TIMEOUT = ParameterKind(
    {"anyOf": [_SECONDS, _LINE], "nullable": True}, params.read_timeout
)
CRON = ParameterKind({**_LINE, "nullable": True}, params.read_cron)
CONFIRMED = ParameterKind(
    {"anyOf": [{"type": "boolean"}, _DELETIONS]}, params.read_deletions
)
OBJECTS = ParameterKind(
    {"type": "array", "items": {"type": "object"}}, params.read_objects
)
