"""What an App answers, without a server between."""

import json

from gms_hookd.auth.signature import sign
from gms_hookd.futures import Future
from gms_hookd.http.message import Request
from gms_hookd.model import RunStatus
from gms_hookd.store import runs
from tests.conftest import SECRET

TRIGGER = "/api/webhooks/task-sync"

API = "/api/v1/sync/"


def answered(app, request):
    """Have an App answer a request; gives the future of its response."""
    future = Future()
    app.handle(request, future.set_result)
    return future


def ask(app, method, path, body=b"", **more):
    path, _, query = path.partition("?")
    request = Request(method, path, query, body=body, id="0123", **more)
    response = answered(app, request).result(timeout=10)
    shown = json.loads(response.body) if response.body else None
    return response.status, shown, dict(response.headers)


def signed(body, secret=SECRET, **more):
    return {
        "content-type": "application/json",
        "x-hub-signature-256": sign(secret, body),
        **more,
    }


def trigger(app, body=b'{"task_id": 1}', path=TRIGGER, peer="192.0.2.1", **headers):
    changed = {key.replace("_", "-"): value for key, value in headers.items()}
    given = {**signed(body), **changed}
    wanted = {key: value for key, value in given.items() if value is not None}
    return ask(app, "POST", path, body, headers=wanted, peer=peer)


def call(app, method, path, params=None):
    body = b"" if params is None else json.dumps(params).encode()
    status, shown, _ = ask(app, method, API + path, body, control=True)
    return status, shown


def delivery(app, number=1):
    return call(app, "GET", f"delivery?id={number}")[1]["data"]


def end(context, run_id, status=RunStatus.SUCCESS):
    context.store.write(runs.claim, context.now(), run_id).result()
    result = runs.Result(status, "1..2", details="log\n")
    context.running.ended(
        context.store.write(runs.finish, run_id, result, context.now()).result()
    )
