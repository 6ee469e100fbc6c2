"""Patterns: verified deliveries and lists of names make tasks, hostile ones none."""

import json
from dataclasses import replace

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.http.message import Request
from gms_hookd.model import Shard
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import patterns, runs, source_checks, tasks
from gms_hookd.web.forge_hook import HookOptions
from tests.support.deliveries import A, B
from tests.web.test_forge_hook import PUSH, Forge, ask

ALL = {"name": "team/*", "source": "https://github.com/team/*", "target": "/srv/m/*"}
API = "/api/v1/sync/"


@pytest.fixture
def hub(context):
    return Forge(context, "github")


def call(hub, path, status=200, method="POST", **fields):
    body = json.dumps(fields).encode() if method == "POST" else b""
    path, _, query = path.partition("?")
    answer = ask(hub, Request(method, API + path, query, body=body, control=True))
    said = json.loads(answer.body)
    assert answer.status == status, said
    return said["data"] if status == 200 else said["error"]


def pushed(name, owner="team", ref="refs/heads/main"):
    page = f"https://github.com/{owner}/{name}"
    urls = {"clone_url": page + ".git", "ssh_url": f"git@github.com:{owner}/{name}.git"}
    repository = {"full_name": f"{owner}/{name}", "html_url": page, **urls}
    return {"ref": ref, "before": A, "after": B, "repository": repository}


def send(hub, *args, **more):
    status, told = hub.send(PUSH, pushed(*args, **more))
    assert status == 200
    return told


def names(hub):
    return [task["name"] for task in call(hub, "tasks", method="GET")]


def test_a_delivery_makes_the_task_of_a_pattern_and_its_run(hub):
    policy = {"force": True, "timeout": 7, "refspecs": ["main"], "cron": "@hourly"}
    pattern = call(hub, "task/create", **ALL, **policy, push_options="--push-option=x")
    assert (pattern["max"], pattern["pattern"], pattern["next_cron"]) == (
        1000,
        *[None] * 2,
    )
    told = send(hub, "App")
    assert hub.last().reason == "accepted for team/App; made by team/*"
    made = call(hub, "task?name=team/App", method="GET")
    assert told["task_ids"] == [made["id"]]
    assert hub.run(told["run_ids"][0]).trigger == "webhook:in"
    assert made["pattern"] == "team/*"
    ends = made["source"], made["target"]
    assert ends == ("https://github.com/team/App", "/srv/m/App")
    same = ("force", "prune", "timeout", "refspecs", "cron", "push_options", "enabled")
    assert {key: made[key] for key in same} == {key: pattern[key] for key in same}
    assert made["next_cron"]
    again = send(hub, "app")
    assert (again["task_ids"], again["run_ids"]) == (told["task_ids"], told["run_ids"])
    assert names(hub) == ["team/*", "team/App"]


HOSTILE = [
    "..", ".", "-app", ".app", "a..b", "app.git", "app.lock", "app.", "a b", "a%20b",
    "%2e%2e", "a%2fb", "%2e%2e%2fx", "x" * 101, "a\nb", "a%0ab", "a\x1b[31m", "a\x00b",
    "$(id)", "a;b", "*", "a\u202eb", "é", "", "a/../../b", "a\\b", "a'b", 'a"b', "~a",
]  # fmt: skip


def test_a_hostile_payload_makes_nothing_and_says_why(hub):
    call(hub, "task/create", **ALL)
    for name in HOSTILE:
        told = send(hub, name)
        assert (told["task_ids"], told["run_ids"]) == ([], []), name
        reason = hub.last().reason
        said = ("team/*: ", "no task has the source", "it names no repository")
        assert reason.startswith(said), (name, reason)
        assert reason.isprintable()
    assert names(hub) == ["team/*"]
    refused, _ = hub.send(PUSH, pushed("app"), sign=False)
    assert refused == 401
    assert names(hub) == ["team/*"]
    send(hub, "..")
    assert hub.last().reason.startswith("team/*: '..' is no plain name: letters")


def test_what_another_task_has_or_no_pattern_covers_is_left_alone(hub):
    call(hub, "task/create", **ALL)
    by_hand = {
        "name": "app",
        "source": "git@github.com:team/app.git",
        "target": "/srv/a",
    }
    task = call(hub, "task/create", **by_hand)
    assert send(hub, "app")["task_ids"] == [task["id"]]
    call(hub, "task/update", id=task["id"], enabled=False)
    assert send(hub, "app")["task_ids"] == []
    assert send(hub, "app", owner="teams")["task_ids"] == []
    assert names(hub) == ["team/*", "app"]


def test_a_pattern_that_is_disabled_or_wants_other_refs_makes_nothing(hub):
    pattern = call(hub, "task/create", **ALL, source_branch="main")
    assert send(hub, "app", ref="refs/heads/dev")["task_ids"] == []
    assert hub.last().reason == "team/*: refs/heads/dev is not selected"
    call(hub, "task/update", id=pattern["id"], enabled=False)
    assert send(hub, "app")["task_ids"] == []
    assert hub.last().reason == "team/*: disabled"
    assert names(hub) == ["team/*"]


def test_several_patterns_of_one_source_make_a_task_each(hub):
    call(hub, "task/create", **ALL)
    second = {"name": "copy-*", "target": "git@git.example.org:copy/*.git"}
    call(hub, "task/create", **{**ALL, **second})
    assert len(send(hub, "app")["run_ids"]) == 2
    assert names(hub)[2:] == ["team/app", "copy-app"]


def test_a_target_or_a_name_that_another_task_has_is_refused(hub):
    call(hub, "task/create", **ALL)
    other = {"name": "t-*", "source": "https://github.com/other/*"}
    call(hub, "task/create", **{**ALL, **other})
    assert send(hub, "App")["task_ids"]
    assert send(hub, "app", owner="other")["task_ids"] == []
    why = "t-*: task team/App has the target '/srv/m/app' already"
    assert hub.last().reason == why
    elsewhere = {"name": "TEAM/*", "source": "https://h.org/x/*", "target": "/srv/n/*"}
    pattern = call(hub, "task/create", **elsewhere)
    (made,) = call(hub, "task/expand", id=pattern["id"], names=["app"])
    assert "task team/App has the name 'TEAM/app' already" in made["reason"]


def test_a_pattern_makes_no_more_tasks_than_its_max(hub):
    pattern = call(hub, "task/create", **ALL, max=2)
    assert all(send(hub, name)["task_ids"] for name in ("a", "b"))
    assert send(hub, "c")["task_ids"] == []
    assert "2 tasks, its max, are there: remove some, or" in hub.last().reason
    call(hub, "task/delete", name="team/a")
    assert send(hub, "c")["task_ids"]
    assert call(hub, "task/update", id=pattern["id"], max=3)["max"] == 3
    assert send(hub, "d")["task_ids"]


def test_the_children_of_a_removed_pattern_stay(hub, context):
    pattern = call(hub, "task/create", **ALL)
    send(hub, "app")
    call(hub, "task/delete", id=pattern["id"])
    (child,) = call(hub, "tasks", method="GET")
    assert (child["name"], child["pattern"]) == ("team/app", None)
    assert send(hub, "app")["task_ids"] == [child["id"]]
    assert send(hub, "lib")["task_ids"] == []


def test_a_pattern_never_runs(hub, context):
    pattern = call(hub, "task/create", **ALL)
    why = f"task {pattern['id']} is a pattern, which never runs"
    assert why in call(hub, "run", 409, task_id=pattern["id"])
    assert "never runs" in call(hub, "task/plan", 409, task_id=pattern["id"])
    new_run = runs.NewRun("cron")
    write = context.store.write
    assert write(runs.trigger, pattern["id"], new_run, 0).result() is None
    assert write(source_checks.due, 10**15, 1, 10).result() == []
    generic = Forge(context, "generic")
    for named in ("team/*", pattern["id"]):
        status, told = generic.send({}, {"task": named})
        assert (status, told["run_ids"]) == (200, [])
    assert write(runs.newest).result() == 0


def test_a_hook_that_is_limited_to_a_pattern_takes_what_that_makes(context):
    hub = Forge(context, "github", terms=HookOptions(tasks=("team/*",)))
    call(hub, "task/create", **ALL)
    call(hub, "task/create", **{**ALL, "name": "x-*", "target": "/srv/x/*"})
    assert len(send(hub, "app")["task_ids"]) == 1
    assert len(send(hub, "app")["task_ids"]) == 1
    assert names(hub) == ["team/*", "x-*", "team/app"]
    other = Forge(context, "github", terms=HookOptions(tasks=("none",)))
    assert send(other, "lib")["task_ids"] == []
    why = "no task has the source github.com/team/app among those of this hook"
    send(other, "app")
    assert other.last().reason == why


def test_a_node_makes_tasks_with_ids_of_its_own(context):
    hub = Forge(context, "github", terms=HookOptions(shard=Shard(1, 3)))
    call(hub, "task/create", **ALL)
    assert all(send(hub, name)["task_ids"][0] % 3 == 1 for name in ("a", "b"))


def test_a_name_with_a_secret_of_the_configuration_makes_nothing(context):
    hub = Forge(replace(context, mask=Mask(["s3cret-word"])), "github")
    call(hub, "task/create", **ALL)
    assert send(hub, "s3cret-word")["task_ids"] == []
    assert hub.last().reason.startswith("team/*: its name holds ")
    assert names(hub) == ["team/*"]


def test_a_list_makes_tasks_and_says_what_became_of_each_name(hub):
    pattern = call(hub, "task/create", **ALL)
    send(hub, "there")
    lines = [
        "app", "team/lib", "https://github.com/team/x.git", "git@github.com:team/y.git",
        "There", "other/z", "..", "-a", "a\x1b", "app",
    ]  # fmt: skip
    made = call(hub, "task/expand", id=pattern["id"], names=lines)
    told = {one["name"]: one["result"] for one in made}
    new = dict.fromkeys(("team/app", "team/lib", "team/x", "team/y"), "created")
    refused = dict.fromkeys(("other/z", "..", "-a", "a\x1b"), "refused")
    assert told == {**new, "There": "unchanged", **refused}
    assert {one["name"] for one in made if one["run_id"]} == new.keys()
    assert "does not cover it" in made[5]["reason"]
    again = call(hub, "task/expand", name="team/*", names=lines[:4])
    assert {one["result"] for one in again} == {"unchanged"}
    for wrong in ([], "app", [1], ["x"] * 1001):
        assert "strings is needed" in call(hub, "task/expand", 400, id=1, names=wrong)
    assert "is no pattern" in call(
        hub, "task/expand", 409, name="team/app", names=["a"]
    )


def test_a_list_may_have_paths_with_their_endings_and_of_this_machine(hub):
    call(hub, "task/create", **ALL)
    here = {"name": "here-*", "source": "/srv/git/*.git", "target": "/srv/m2/*"}
    call(hub, "task/create", **here)
    (made,) = call(hub, "task/expand", name="team/*", names=["team/app.git"])
    assert made["name"] == "team/app"
    lines = ["/srv/git/App.git", "/srv/git/lib", "/srv/other/x.git", "/srv/GIT/y"]
    made = call(hub, "task/expand", name="here-*", names=lines)
    assert [one["result"] for one in made] == ["created"] * 2 + ["refused"] * 2
    assert [one["name"] for one in made[:2]] == ["here-App", "here-lib"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "team"}, "name: a pattern has one '*'"),
        ({"target": "/srv/x"}, "target: a pattern has one '*'"),
        ({"source": "https://github.com/*/*"}, "source: a pattern has one '*'"),
        ({"max": 0}, "max: a positive integer"),
        ({"max": 10_001}, "max: at most 10000"),
        ({"name": "a//*"}, "name: 1 to 100 letters"),
        ({"name": "../*"}, "name: 1 to 100 letters"),
        ({"target": "https://github.com/team/*"}, "target: is the source itself"),
        ({"target": "git@h.org:m/*.git", "create": True}, "create: only a target on"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused(hub, fields, why):
    assert call(hub, "task/create", 400, **{**ALL, **fields}).startswith(why)


def test_no_task_becomes_a_pattern_and_no_pattern_a_task(hub):
    pattern = call(hub, "task/create", **ALL)
    task = call(hub, "task/create", name="one", source="/a", target="/b")
    assert "becomes a pattern" in call(
        hub, "task/update", 400, **{**ALL, "id": task["id"]}
    )
    plain = {"name": "x", "source": "/x", "target": "/y", "id": pattern["id"]}
    assert "becomes a pattern" in call(hub, "task/update", 400, **plain)
    assert call(hub, "task/update", 400, id=task["id"], max=3).startswith("max: only")
    moved = call(hub, "task/update", id=pattern["id"], target="/srv/n/*")
    assert (moved["target"], moved["max"]) == ("/srv/n/*", 1000)


def test_a_store_without_patterns_asks_for_them_by_an_empty_index(context):
    def plan(db):
        query = (
            "EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE most IS NOT NULL ORDER BY id"
        )
        return [row[-1] for row in db.execute(query).fetchall()]

    (step,) = context.store.read(plan).result()
    assert "USING INDEX patterns" in step or "USING COVERING INDEX patterns" in step
    draft = tasks.Draft("a", "/a", "/b", cache_key("/a"))
    context.store.write(tasks.add, draft, 0).result()
    assert context.store.read(patterns.every).result() == []
