"""The calls of the API: tasks, runs, deliveries, plans, a backup."""

import json
import os
import subprocess

import pytest

from gms_hookd.model import RunStatus
from gms_hookd.store import runs
from gms_hookd.sync.job import SyncResult
from tests.support.wiring import API, ask, call, end, trigger

ME = ("-c", "user.name=t", "-c", "user.email=t@example.com")


def test_a_backup_is_ordered_on_the_control_socket_only(app, tmp_path):
    path = str(tmp_path / "copy.db")
    headers = {"authorization": "Bearer t0ken"}
    body = json.dumps({"path": path}).encode()
    status = ask(app, "POST", API + "backup", body, headers=headers, peer="192.0.2.1")[
        0
    ]
    assert status == 403
    assert call(app, "POST", "backup", {"path": path})[0] == 200
    assert call(app, "POST", "backup", {"path": "relative"})[0] == 400


def test_a_task_has_every_key_of_the_contract(task):
    assert task.keys() == {
        *("id", "key", "name", "source", "target", "refspecs", "force", "prune"),
        *("enabled", "timeout", "created_at", "updated_at", "last_run"),
        *("cron", "next_cron", "pattern"),
        *("source_branch", "target_branch"),
    }
    assert (task["source_branch"], task["target_branch"]) == ("main", "release")
    assert task["refspecs"] == ["refs/heads/main:refs/heads/release"]
    assert task["created_at"].endswith("Z")


def test_a_run_has_every_key_of_the_contract(app, task):
    run = call(app, "POST", "run", {"task_id": 1})[1]["data"]
    assert run.keys() == {
        *("id", "task_id", "task_key", "task_name", "status", "attempt", "trigger"),
        *("deliveries", "created_at", "start_time", "end_time", "commit_range"),
        *("error_message", "details", "refs", "attempts_max", "next_try", "waits_for"),
    }
    assert (run["trigger"], run["status"], run["attempt"]) == ("manual", "queued", 0)
    assert (run["attempts_max"], run["next_try"]) == (5, run["created_at"])
    assert run["waits_for"] == "a free worker"
    last = call(app, "GET", "task?id=1")[1]["data"]["last_run"]
    assert last.keys() == run.keys() - {"details"}


def test_tasks_are_listed_found_changed_and_removed(app, task):
    assert [t["id"] for t in call(app, "GET", "tasks")[1]["data"]] == [1]
    for by in ("id=1", f"key={task['key']}", "name=one"):
        assert call(app, "GET", f"task?{by}")[1]["data"]["id"] == 1
    changes = {"id": 1, "name": "two", "force": True, "timeout": "90s"}
    changed = call(app, "POST", "task/update", changes)[1]["data"]
    assert (changed["name"], changed["force"], changed["timeout"]) == ("two", True, 90)
    assert changed["refspecs"] == task["refspecs"]
    assert call(app, "POST", "task/delete", {"key": task["key"]})[0] == 200
    assert call(app, "GET", "task?id=1")[0] == 404


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"name": ""}, "name"),
        ({"name": "12"}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"source": "--upload-pack=touch x"}, "source"),
        ({"source": "ext::sh -c id"}, "source"),
        ({"source": "https://user:pw@example.com/a.git"}, "source"),
        ({"source": "http://example.com/a.git"}, "source"),
        ({"source": "relative/path"}, "source"),
        ({"target": "/srv/a"}, "target"),
        ({"refspecs": ["refs/heads/*:x"]}, "refspecs"),
        ({"refspecs": "refs/heads/*"}, "refspecs"),
        ({"source_branch": "a..b"}, "refspecs"),
        ({"source_branch": "-x"}, "refspecs"),
        ({"target_branch": "x"}, "source_branch"),
        ({"source_branch": "a", "refspecs": ["refs/heads/a"]}, "refspecs"),
        ({"force": 1}, "force"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"cron": "0 2 * *"}, "cron: expected exactly 5 fields"),
        ({"cron": "CRON_TZ=Mars/X @daily"}, "cron: provided bad location"),
        ({"cron": 5}, "cron"),
        ({"push_options": ["--mirror"]}, "push_options"),
        ({"push_options": "--push-option"}, "push_options"),
        ({"push_options": "--push-option="}, "push_options"),
        ({"push_options": ["--push-option=a\nb"]}, "push_options"),
        ({"push_options": ["--push-option=a"] * 21}, "push_options"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_task_that_makes_no_sense_is_400_and_names_the_thing(app, change, part):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b", **change}
    status, shown = call(app, "POST", "task/create", wanted)
    assert (status, shown["code"]) == (400, 400)
    assert part in shown["error"]
    assert "\n" not in shown["error"]


def test_push_options_of_gms_are_understood(app):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b"}
    wanted["push_options"] = "--force --prune --no-verify"
    made = call(app, "POST", "task/create", wanted)[1]["data"]
    assert (made["force"], made["prune"]) == (True, True)


@pytest.mark.parametrize(
    ("change", "branches"),
    [
        ({"target_branch": "other"}, ("main", "other")),
        ({"source_branch": "dev"}, ("dev", "release")),
        ({"source_branch": "dev", "target_branch": "dev"}, ("dev", "dev")),
        ({"source_branch": "", "target_branch": ""}, ("main", "release")),
    ],
)
def test_one_of_two_branch_names_can_be_changed(app, task, change, branches):
    changed = call(app, "POST", "task/update", {"id": 1, **change})[1]["data"]
    assert (changed["source_branch"], changed["target_branch"]) == branches


def test_a_branch_of_one_name_keeps_one_name(app, task):
    call(app, "POST", "task/update", {"id": 1, "refspecs": ["main"]})
    changed = call(app, "POST", "task/update", {"id": 1, "source_branch": "dev"})
    assert changed[1]["data"]["target_branch"] == "dev"


def test_push_options_for_the_target_stay_with_the_task(app):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b"}
    wanted["push_options"] = ["--push-option=ci.skip", "--push-option=a=b c"]
    made = call(app, "POST", "task/create", wanted)[1]["data"]
    assert made["push_options"] == wanted["push_options"]
    call(app, "POST", "task/update", {"id": 1, "timeout": 5})
    assert call(app, "GET", "task?id=1")[1]["data"]["push_options"]
    changed = call(app, "POST", "task/update", {"id": 1, "push_options": []})[1]["data"]
    assert "push_options" not in changed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chown")
def test_a_repository_of_another_user_is_refused_where_it_is_named(app, tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for path in (theirs, ours):
        path.mkdir()
    os.chown(theirs, 54321, 54321)
    for source, target, side in ((theirs, ours, "source"), (ours, theirs, "target")):
        wanted = {"name": "one", "source": str(source), "target": f"file://{target}"}
        status, shown = call(app, "POST", "task/create", wanted)
        assert status == 400
        assert shown["error"].startswith(f"{side}: {theirs} belongs to user id 54321")
        assert "sync.trust_owners = [54321]" in shown["error"]
    wanted = {"name": "one", "source": str(ours), "target": "/srv/none"}
    call(app, "POST", "task/create", wanted)
    changed = {"id": 1, "target": str(theirs)}
    assert call(app, "POST", "task/update", changed)[0] == 400
    os.chown(ours, 54321, 54321)
    assert call(app, "POST", "task/update", {"id": 1, "enabled": False})[0] == 200


def test_runs_are_listed_shown_cancelled_retried_and_deleted(app, task, context):
    run = call(app, "POST", "run", {"task_key": task["key"]})[1]["data"]
    cancelled = call(app, "POST", "run/cancel", {"id": run["id"]})[1]["data"]
    assert cancelled["status"] == "cancelled"
    again = call(app, "POST", "run/retry", {"id": run["id"]})[1]["data"]
    assert (again["id"], again["trigger"]) == (2, "retry")
    end(context, 2)
    listed = call(app, "GET", "history?task_id=1&limit=5")[1]["data"]
    assert [(r["id"], r["status"]) for r in listed] == [
        (2, "success"),
        (1, "cancelled"),
    ]
    assert listed[0]["details"] is None
    assert call(app, "GET", "history?task_id=&status=&limit=")[1]["data"] == listed
    only = call(app, "GET", "history?status=cancelled")[1]["data"]
    assert [r["id"] for r in only] == [1]
    assert call(app, "GET", "run?id=2")[1]["data"]["details"] == "log\n"
    assert call(app, "POST", "history/delete", {"id": 1})[0] == 200
    assert call(app, "GET", "run?id=1")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "params", "status"),
    [
        ("GET", "task", None, 400),
        ("GET", "task?id=x", None, 400),
        ("GET", "task?id=1&id=2", None, 400),
        ("GET", "task?colour=red", None, 400),
        ("GET", "task?" + "&".join(f"p{n}=1" for n in range(21)), None, 400),
        ("GET", "tasks?" + "&" * 5000, None, 400),
        ("GET", "history?" + "limit=1&" * 300, None, 400),
        ("GET", "history?status=done", None, 400),
        ("GET", "history?limit=0", None, 400),
        ("GET", "run?id=7", None, 404),
        ("GET", "run?id=", None, 400),
        ("POST", "run", {"task_id": 7}, 404),
        ("POST", "run", {"task_id": True}, 400),
        ("POST", "run", [1], 400),
        ("POST", "run/cancel", {"id": 7}, 404),
        ("GET", "nothing", None, 404),
        ("DELETE", "task", None, 405),
    ],
)
def test_api_calls_that_make_no_sense(app, method, path, params, status):
    found, shown = call(app, method, path, params)
    assert (found, shown["code"]) == (status, status)
    assert shown["error"] == shown["msg"]


def test_deliveries_are_listed_newest_first(app, task):
    trigger(app)
    trigger(app, x_hub_signature_256=None)
    listed = call(app, "GET", "deliveries?hook=task-sync")[1]["data"]
    assert [d["status"] for d in listed] == [401, 200]
    assert listed[0].keys() == {
        *("id", "hook", "provider", "event", "delivery_key", "received_at", "client"),
        *("status", "reason", "task_ids", "run_ids"),
    }
    assert call(app, "GET", "deliveries?hook=other")[0] == 404
    assert len(call(app, "GET", "deliveries?limit=1")[1]["data"]) == 1


MANY = {f"refs/heads/b{n}": "1" * 40 for n in range(100)}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, None), ({"confirmed": False}, None), ({"confirmed": {}}, {}),
        ({"confirmed": MANY}, MANY), ({"confirmed": True}, None),
    ],
)  # fmt: skip
def test_a_run_is_queued_with_what_is_confirmed(app, task, context, given, kept):
    """There is no source here to make a plan from: true confirms nothing then."""
    assert call(app, "POST", "run", {"task_id": 1, **given})[0] == 200
    assert context.store.write(runs.claim, context.now()).result().confirmed == kept


def test_what_was_shown_of_a_task_is_confirmed_for_no_other(app, task, context):
    """Another target may have the same refs, which nobody wanted to delete there."""
    shown = call(app, "GET", "task?id=1")[1]["data"]["updated_at"]
    given = {"task_id": 1, "confirmed": MANY, "updated_at": shown}
    assert call(app, "POST", "run", given)[0] == 200
    context.clock.forward(1)
    call(app, "POST", "task/update", {"task_id": 1, "target": "/elsewhere"})
    status, answer = call(app, "POST", "run", given)
    assert (status, "changed meanwhile" in answer["error"]) == (409, True)
    assert context.store.write(runs.claim, context.now()).result().confirmed is None


def test_what_is_found_out_for_a_yes_is_not_confirmed_for_a_task_changed_meanwhile(
    app, task, context, monkeypatch
):
    def change(*_):
        context.clock.forward(1)
        call(app, "POST", "task/update", {"task_id": 1, "target": "/elsewhere"})
        return SyncResult(RunStatus.CONFLICT, held=MANY)

    monkeypatch.setattr(type(context.engine), "plan", change)
    given = {"task_id": 1, "confirmed": True}
    assert call(app, "POST", "run", given)[0] == 409


@pytest.mark.parametrize(
    "wrong", [1, "yes", None, [], ["refs/heads/a"], {"a": 1}, {"a": "x"}, {"a": None}]
)
def test_a_confirmation_that_names_no_deletions_is_400(app, task, context, wrong):
    given = {"task_id": 1, "confirmed": wrong}
    assert call(app, "POST", "run", given)[0] == 400
    assert context.store.write(runs.claim, context.now()).result() is None


def test_a_plan_says_what_a_run_would_do_and_does_nothing(app, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for command in (
        ["init", "-q", "-b", "main", str(source)],
        ["init", "-q", "--bare", str(target)],
        ["-C", str(source), *ME, "commit", "-q", "--allow-empty", "-m", "one"],
    ):
        subprocess.run(["git", *command], check=True)
    wanted = {"name": "one", "source": str(source), "target": str(target)}
    call(app, "POST", "task/create", {**wanted, "source_branch": "main"})
    status, shown = call(app, "POST", "task/plan", {"task_id": 1})
    assert status == 200
    refs = [(ref["ref"], ref["result"]) for ref in shown["data"]["refs"]]
    assert refs == [("refs/heads/main", "created")]
    listed = ["git", "-C", str(target), "for-each-ref"]
    assert subprocess.run(listed, check=True, capture_output=True).stdout == b""
