"""The API's document: it says what is checked, and what is answered."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.store import deliveries, notices, runs
from gms_hookd.web import openapi, params
from gms_hookd.web.calls import CALLS, TABLE
from tests.conftest import TOKENS
from tests.support.wiring import API, ask, call

MANUAL = Path(openapi.__file__).parent.parent / "manual" / "api.md"
ANY = (
    None, True, False, -1, 0, 1, 1.5, 2**63, 10**30, "", "x", "1", "-1", "0x1", "1.0",
    "x" * 5000, [], [1], [None], ["x"], {}, {"a": 1}, "queued", "200", "99",
)  # fmt: skip
TYPES = {
    "integer": int, "number": (int, float), "string": str, "boolean": bool,
    "array": list, "object": dict,
}  # fmt: skip
DOCUMENT = json.loads(openapi.document())


def fits(schema, value, exact=False):
    """Tell whether a value is what a schema says; `exact`: with no other keys."""
    if "$ref" in schema:
        return fits(resolved(schema), value, exact)
    if value is None:
        return schema.get("nullable", not schema)
    for every, join in (("anyOf", any), ("allOf", all)):
        if every in schema and not join(fits(s, value, exact) for s in schema[every]):
            return False
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or is_odd(kind, value)):
        return False
    return within(schema, value) and parts_fit(schema, value, exact)


def is_odd(kind, value):
    return isinstance(value, bool) and kind != "boolean"


def within(schema, value):
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, int | float):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, str) and "pattern" in schema:
        return re.search(schema["pattern"], value) is not None
    least, most = schema.get("minItems", 0), schema.get("maxItems", 1 << 40)
    return least <= len(value) <= schema.get("maxLength", most)


def parts_fit(schema, value, exact):
    if isinstance(value, list):
        return all(fits(schema.get("items", {}), each, exact) for each in value)
    if not isinstance(value, dict):
        return True
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    if not set(schema.get("required", ())) <= value.keys():
        return False
    if exact and known and not value.keys() <= known.keys():
        return False
    return all(
        fits(known.get(key) or others or {}, v, exact) for key, v in value.items()
    )


def resolved(schema):
    return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path.removeprefix(API), operation


def asked(app, method, path, given):
    if method == "POST":
        return call(app, method, path, given)
    query = "&".join(f"{key}={value}" for key, value in given.items())
    return call(app, method, f"{path}?{query}")


def parameters(operation):
    """Return the schemas of a call's parameters by the names, and which are needed."""
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        return body["properties"], body.get("required", [])
    given = operation.get("parameters", [])
    needed = [each["name"] for each in given if each["required"]]
    return {each["name"]: each["schema"] for each in given}, needed


def values(method, schema):
    """Give values that a schema does not let through, as they are sent."""
    if method == "POST":
        yield from (value for value in ANY if not fits(schema, value))
        return
    for value in (each for each in ANY if isinstance(each, str) and each):
        number = schema["type"] == "integer" and value.isdecimal()
        if not fits(schema, int(value) if number else value):
            yield value


@pytest.mark.parametrize(
    ("method", "path", "operation"), list(operations()), ids=lambda each: str(each)[:20]
)
def test_no_call_takes_what_its_document_does_not_let_through(
    app, method, path, operation
):
    known, needed = parameters(operation)
    assert asked(app, method, path, {"no-such": 1})[0] == 400
    for name in needed:
        status, shown = asked(app, method, path, {})
        assert (status, "is missing" in shown["error"]) == (400, True), name
    for name, schema in known.items():
        others = {each: 1 for each in needed if each != name}
        for value in values(method, schema):
            status, shown = asked(app, method, path, {**others, name: value})
            assert status == 400, (name, value, shown)
            said = shown["error"].partition(":")[0]
            assert said in {name, *needed} or "is missing" in shown["error"], shown


def test_a_call_that_needs_one_of_several_says_so(app):
    for each in (each for each in TABLE if each.which):
        status, shown = asked(app, each.method, each.path, {})
        assert (status, shown["error"]) == (400, f"{each.which[0]}: is missing")


def test_every_call_is_in_the_document_and_no_other():
    assert {(method, path) for method, path, _ in operations()} == CALLS.keys()
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)
    assert all(each["summary"].endswith(".") for _, _, each in operations())


def test_the_changes_of_a_task_are_one_set():
    create = next(each for each in TABLE if each.path == "task/create")
    assert {each.name for each in create.parameters} == params.TASK_KEYS


def answer(operation):
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return schema["properties"]["data"]


@pytest.fixture
def used(app, context):
    """Return an application with something of everything in its store."""
    fields = {"name": "app", "source": "/srv/a", "target": "/srv/b", "cron": "@daily"}
    for more in ({}, {"name": "b", "push_options": ["--push-option=x"]}):
        assert call(app, "POST", "task/create", {**fields, **more})[0] == 200

    def fill(db):
        for status in (RunStatus.FAILED, RunStatus.SUCCESS):
            run = runs.trigger(db, 1, runs.NewRun("manual"), context.now())
            runs.claim(db, context.now(), run)
            runs.finish(db, run, runs.Result(status, "a..b", "why"), context.now())
        runs.trigger(db, 2, runs.NewRun("manual"), context.now())
        new = deliveries.NewDelivery("task-sync", "gms", "unix", context.now(), "push")
        kept = deliveries.DeliveryContent('{"a": "b"}', b"{}")
        deliveries.record(db, new, 401, "x", task_ids=(1,), run_ids=(1,), content=kept)
        subject = notices.Subject(1, "app", 1)
        key = notices.add(db, "ops", "failed", subject, context.now())
        db.execute("UPDATE notices SET status='dead'")
        return key

    key = context.store.write(fill).result()
    app.adopt(replace(context, targets=("ops",)), app._policy)
    return app, key


ANSWERED = {
    ("GET", "tasks"): {}, ("GET", "task"): {"name": "b"},
    ("GET", "run"): {"id": 1}, ("GET", "run/output"): {"id": 1},
    ("GET", "history"): {"limit": 1}, ("GET", "deliveries"): {}, ("GET", "notices"): {},
    ("GET", "delivery"): {"id": 1}, ("GET", "delivery/parcel"): {"id": 1},
    ("GET", "status"): {}, ("POST", "task/update"): {"id": 1, "timeout": "10m"},
    ("POST", "run"): {"task_id": 1}, ("POST", "run/retry"): {"id": 1},
    ("POST", "run/cancel"): {"id": 3}, ("POST", "history/delete"): {"id": 2},
    ("POST", "task/delete"): {"name": "b"}, ("POST", "notice/resend"): {},
    ("POST", "task/import"): {"tasks": [{"name": "c"}], "dry_run": True},
    ("POST", "task/create"): {"name": "d", "source": "/s", "target": "/t"},
}  # fmt: skip


def test_what_is_answered_is_what_the_document_says(used):
    app, notice = used
    said = {(method, path): answer(each) for method, path, each in operations()}
    for (method, path), given in ANSWERED.items():
        with_id = {"id": notice} if path == "notice/resend" else given
        status, shown = asked(app, method, path, with_id)
        assert status == 200, (path, shown)
        data = shown["data"]
        assert data, path
        assert fits(said[method, path], data, exact=True), (path, data)


def test_it_is_read_with_a_token_as_all_is_that_reads(app):
    assert ask(app, "GET", openapi.PATH, control=True)[1]["openapi"] == "3.0.3"
    for token, status in (("r3ad", 200), ("t0ken", 200), ("wrong", 401)):
        given = {"authorization": f"Bearer {token}"}
        assert ask(app, "GET", openapi.PATH, headers=given)[0] == status
    assert ask(app, "POST", openapi.PATH, control=True)[0] == 405
    assert TOKENS.reading == ("r3ad",)


def row(each):
    """Write a call as a row of the manual."""
    needed = {name for name in each.which[:1] if len(each.which) == 1}
    names = [
        f"`{p.name}`" if p.required or p.name in needed else f"`{p.name}`?"
        for p in each.parameters
    ]
    where = " (control socket only)" if each.command else ""
    answer = f"list of {each.answer}" if each.listed else each.answer
    says = each.says.rstrip(".;")
    taken = " ".join(names)
    return f"| `{each.method} {each.path}`{where} | {taken} | {answer} | {says} |"


def test_the_manual_has_each_call_as_it_is():
    """UPDATE_MANUAL=1 writes them there."""
    head = "| call | takes (`?`: may be left out) | answers with | does |"
    wanted = "\n".join([head, "|---|---|---|---|", *map(row, TABLE)])
    text = MANUAL.read_text()
    if os.environ.get("UPDATE_MANUAL"):
        table = re.compile(r"\| call \| takes.*?(?=\n\n)", re.DOTALL)
        MANUAL.write_text(table.sub(lambda _: wanted, text))
    assert wanted in MANUAL.read_text()


def test_what_only_the_control_socket_may_names_the_command(app):
    headers = {"authorization": "Bearer t0ken"}
    for each in (each for each in TABLE if each.command):
        status, shown, _ = ask(app, each.method, API + each.path, headers=headers)
        assert status == 403
        assert f"run gms-hookd {each.command}" in shown["error"]
