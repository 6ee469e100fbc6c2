"""The API as a document: OpenAPI 3.0.3 (spec.openapis.org), made of the calls."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from gms_hookd import __version__
from gms_hookd.contract import API
from gms_hookd.model import RefResult, RunStatus
from gms_hookd.payload import dump_json
from gms_hookd.store import notices
from gms_hookd.web.calls import TABLE, Call, Parameter

PATH = "/api/v1/openapi.json"
Json = dict[str, Any]
_INTEGER: Json = {"type": "integer"}
_NUMBER: Json = {"type": "number"}
_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_TIME: Json = {"type": "string", "format": "date-time"}
_REFUSALS = {
    400: "a parameter is unknown, missing or wrong",
    401: "no token, or a wrong one",
    403: "the token only reads, or none is set; or only the control socket may",
    404: "there is no such thing",
    409: "it cannot be done as things are",
    429: "too many wrong tokens from this address",
    503: "the store cannot be read or written now",
}


def _maybe(schema: Json) -> Json:
    """Return a schema that also lets null through."""
    if "$ref" in schema:
        return {"allOf": [schema], "nullable": True}
    return {**schema, "nullable": True}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _words(words: Iterable[str]) -> Json:
    return {"type": "string", "enum": list(words)}


def _object(optional: Iterable[str] = (), **properties: Json) -> Json:
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "required": required, "properties": properties}


_RUN_FIELDS: Json = {
    "id": _INTEGER,
    "task_id": _INTEGER,
    "task_key": _TEXT,
    "task_name": _TEXT,
    "status": _words(RunStatus),
    "attempt": _INTEGER,
    "attempts_max": _INTEGER,
    "next_try": _maybe(_TIME),
    "waits_for": _maybe(_TEXT),
    "trigger": _TEXT,
    "deliveries": _list(_INTEGER),
    "created_at": _TIME,
    "start_time": _maybe(_TIME),
    "end_time": _maybe(_TIME),
    "commit_range": _TEXT,
    "error_message": _maybe(_TEXT),
}
_REFS: Json = {"refs": _list(_ref("Ref"))}
_RUNS = _maybe(_list(_ref("BriefRun")))
SCHEMAS: Mapping[str, Json] = {
    "Task": _object(
        ("push_options", "max", "create"),
        id=_INTEGER,
        key=_TEXT,
        name=_TEXT,
        source=_TEXT,
        target=_TEXT,
        refspecs=_list(_TEXT),
        force=_FLAG,
        prune=_FLAG,
        enabled=_FLAG,
        timeout=_maybe(_NUMBER),
        cron=_maybe(_TEXT),
        next_cron=_maybe(_TIME),
        pattern=_maybe(_TEXT),
        created_at=_TIME,
        updated_at=_TIME,
        last_run=_maybe(_ref("LastRun")),
        source_branch=_maybe(_TEXT),
        target_branch=_maybe(_TEXT),
        push_options=_list(_TEXT),
        max=_INTEGER,
        create=_FLAG,
    ),
    "Run": _object(**_RUN_FIELDS, details=_maybe(_TEXT), **_REFS),
    "LastRun": _object(**_RUN_FIELDS, **_REFS),
    "BriefRun": _object(**_RUN_FIELDS),
    "Ref": _object(
        ref=_TEXT,
        result=_words(RefResult),
        old=_maybe(_TEXT),
        new=_maybe(_TEXT),
        reason=_maybe(_TEXT),
    ),
    "Plan": _object(
        status=_words(RunStatus),
        commit_range=_TEXT,
        error_message=_maybe(_TEXT),
        details=_TEXT,
        held=_maybe({"type": "object", "additionalProperties": _TEXT}),
        **_REFS,
    ),
    "Imported": _object(
        imported_id=_maybe(_INTEGER),
        key=_maybe(_TEXT),
        result=_words(("created", "unchanged", "skipped")),
        id=_maybe(_INTEGER),
        name=_maybe(_TEXT),
        reason=_maybe(_TEXT),
    ),
    "Expanded": _object(
        name=_TEXT,
        result=_words(("created", "unchanged", "refused")),
        task_id=_maybe(_INTEGER),
        run_id=_maybe(_INTEGER),
        reason=_maybe(_TEXT),
    ),
    "Output": _object(text=_TEXT, offset=_INTEGER, done=_FLAG),
    "Delivery": _object(
        id=_INTEGER,
        hook=_TEXT,
        provider=_TEXT,
        event=_maybe(_TEXT),
        delivery_key=_maybe(_TEXT),
        received_at=_TIME,
        client=_TEXT,
        status=_INTEGER,
        reason=_TEXT,
        task_ids=_list(_INTEGER),
        run_ids=_list(_INTEGER),
    ),
    "Content": _object(
        headers=_maybe({"type": "object", "additionalProperties": _TEXT}),
        body=_maybe(_TEXT),
    ),
    "Status": _object(
        version=_TEXT,
        since=_maybe(_TIME),
        listeners=_list(_TEXT),
        ready=_FLAG,
        problems=_list(_TEXT),
        warnings=_list(_TEXT),
        restart_for=_list(_TEXT),
        reload_refused=_maybe(_TEXT),
        workers=_INTEGER,
        disk=_object(free=_maybe(_INTEGER), database=_maybe(_INTEGER)),
        notices=_maybe(_list(_ref("Tally"))),
        queue=_maybe(_ref("Queue")),
        running=_RUNS,
        failing=_RUNS,
        retried=_RUNS,
        refused=_maybe(_list(_ref("Delivery"))),
        scheduled=_maybe(_list(_ref("Scheduled"))),
        needs_hands=_list(_TEXT),
    ),
    "Queue": _object(
        queued=_INTEGER,
        oldest=_maybe(_ref("BriefRun")),
        running=_INTEGER,
        failing=_INTEGER,
        retried=_INTEGER,
    ),
    "Scheduled": _object(
        task_id=_INTEGER, task_name=_TEXT, cron=_TEXT, next_cron=_maybe(_TIME)
    ),
    "Tally": _object(
        target=_TEXT,
        waiting=_INTEGER,
        dead=_INTEGER,
        last_sent=_maybe(_TIME),
        last_error=_maybe(_TEXT),
    ),
    "Finding": _object(
        level=_words(("ok", "warning", "error")),
        subject=_TEXT,
        finding=_TEXT,
        remedy=_maybe(_TEXT),
    ),
    "Notice": _object(
        id=_TEXT,
        target=_TEXT,
        event=_TEXT,
        task_id=_maybe(_INTEGER),
        run_id=_maybe(_INTEGER),
        status=_words(notices.STATUSES),
        attempts=_INTEGER,
        next_try=_maybe(_TIME),
        created_at=_TIME,
        sent_at=_maybe(_TIME),
        error=_maybe(_TEXT),
    ),
    "Sent": _object(sent=_FLAG, answer=_TEXT),
    "Backup": _object(path=_TEXT),
    "Reloaded": _object(restart_for=_list(_TEXT)),
    "Error": _object(code=_INTEGER, msg=_TEXT, error=_TEXT),
}


@cache
def document() -> bytes:
    """Return the document as JSON."""
    paths: dict[str, Json] = {}
    for call in TABLE:
        paths.setdefault(API + call.path, {})[call.method.lower()] = _operation(call)
    tokens = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    whole = {
        "openapi": "3.0.3",
        "info": {"title": "gms-hookd", "version": __version__},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {str(s): _refusal(says) for s, says in _REFUSALS.items()},
            "securitySchemes": tokens,
        },
    }
    return dump_json(whole)


def _operation(call: Call) -> Json:
    reads = call.method == "GET"
    name = f"{call.method.lower()}_{call.path.replace('/', '_')}"
    shown: Json = {
        "operationId": name,
        "summary": call.says,
        "security": [{"bearer": []}, *([{"basic": []}] if reads else [])],
        "responses": {"200": _answer(call), **_refused()},
    }
    if call.command:
        shown["description"] = f"On the control socket only: gms-hookd {call.command}"
    if call.which:
        shown["description"] = f"One of these says which: {', '.join(call.which)}."
    if reads and call.parameters:
        shown["parameters"] = [_in_query(each) for each in call.parameters]
    if not reads:
        body = {"application/json": {"schema": _body(call)}}
        shown["requestBody"] = {"required": bool(call.parameters), "content": body}
    return shown


def _in_query(each: Parameter) -> Json:
    shown: Json = {"name": each.name, "in": "query", "required": each.required}
    return {**shown, **_described(each), "schema": each.kind.schema}


def _described(each: Parameter) -> Json:
    return {"description": each.says} if each.says else {}


def _body(call: Call) -> Json:
    """Return the schema of a body; that one of some is needed is said in words."""
    given = call.parameters
    body: Json = {
        "type": "object",
        "properties": {p.name: {**p.kind.schema, **_described(p)} for p in given},
        "additionalProperties": False,
    }
    required = [each.name for each in given if each.required]
    return {**body, "required": required} if required else body


def _answer(call: Call) -> Json:
    data = _list(_ref(call.answer)) if call.listed else _ref(call.answer)
    envelope = _object(code=_INTEGER, msg=_TEXT, data=data)
    shown: Json = {
        "description": "done",
        "content": {"application/json": {"schema": envelope}},
    }
    if any(each.name == "limit" for each in call.parameters):
        link = {"description": "the next page (RFC 8288)", "schema": _TEXT}
        shown["headers"] = {"Link": link}
    return shown


def _refused() -> Json:
    return {str(s): {"$ref": f"#/components/responses/{s}"} for s in _REFUSALS}


def _refusal(says: str) -> Json:
    return {
        "description": says,
        "content": {"application/json": {"schema": _ref("Error")}},
    }
