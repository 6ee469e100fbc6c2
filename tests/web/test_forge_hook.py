import base64
import hmac
import json
import os
import random
from urllib.parse import quote

import pytest

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.whitelist import Whitelist
from gms_hookd.forges.condition import Condition
from gms_hookd.forges.registry import FORGES, scheme_of
from gms_hookd.git import host_alias
from gms_hookd.http.message import Request
from gms_hookd.model import RunStatus
from gms_hookd.notify.policy import Subscriber
from gms_hookd.store import deliveries, maintenance, notices, runs, tasks
from gms_hookd.web.forge_hook import ForgeHook, HookOptions, Verifier
from gms_hookd.web.gms_hook import GmsHook
from gms_hookd.web.routes import App, Policy
from tests.conftest import guard
from tests.support.deliveries import (
    HTTPS,
    MAIN,
    PAGE,
    SENT,
    SSH,
    TAG,
    A,
    B,
    github_like,
    mutants,
    push,
)
from tests.support.seen import CANARY
from tests.support.wiring import answered

SECRET = f"a secret of many characters {CANARY}"
WHSEC = "whsec_" + base64.b64encode(f"{CANARY} and more".encode()).decode()


def ask(hub, request):
    """Return the response of a hub's application."""
    return answered(hub.app, request).result(10)


class Forge:
    """One forge hook in an application over a real store, and its sender."""

    def __init__(
        self, context, provider, scheme=None, terms=None, options=None, **gated
    ):
        secret = WHSEC if provider in {"svix", "standard-webhooks"} else SECRET
        self.context, self.secret = context, secret
        self.scheme = scheme_of(provider, scheme, [secret], options or {})
        verifier = Verifier(FORGES[provider], self.scheme, (secret,))
        settings = {"hook": "in", "provider": provider, **gated}
        hook = ForgeHook(guard(**settings), verifier, terms or HookOptions(), context)
        own = GmsHook(guard(), context)
        policy = Policy(
            {"task-sync": own}, Tokens(), list, {"in": hook}, anonymous=own.guard
        )
        self.app = App(context, policy)

    def task(self, name="app", source=HTTPS, **more):
        draft = tasks.Draft(name, source, f"/target/{name}", source, **more)
        return self.context.store.write(tasks.add, draft, 0).result()

    def send(self, headers, payload, sign=True, peer="192.0.2.1", **wrong):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        proof = self.scheme.sign(body, self.secret, self.context.clock())
        given = dict(proof.headers) if sign else {}
        request = Request(
            "POST",
            "/api/webhooks/in",
            query=f"key={proof.key}" if proof.key and sign else "",
            headers={"content-type": "application/json", **headers, **given, **wrong},
            body=proof.body or body,
            peer=peer,
        )
        response = ask(self, request)
        return response.status, json.loads(response.body)

    def run(self, run_id):
        return self.context.store.read(runs.get, run_id).result()

    def end(self, run_id, status):
        self.context.store.write(runs.claim, 10**15, run_id).result()
        self.context.store.write(
            runs.finish, run_id, runs.Result(status), 10**15
        ).result()

    def last(self):
        # Refused deliveries are recorded behind the answer.
        self.context.store.write(maintenance.ping).result()
        return self.context.store.read(deliveries.latest, "in", 1).result()[0]


@pytest.fixture
def forge(context):
    return lambda provider="github", *args, **more: Forge(
        context, provider, *args, **more
    )


PUSH = {"x-github-event": "push"}


@pytest.mark.parametrize("sent", SENT, ids=lambda s: f"{s.provider}-{s.name}")
def test_a_delivery_starts_the_task_of_its_repository_or_says_why_not(forge, sent):
    hub = forge(sent.provider)
    page = "https://bitbucket.org/team/app"
    source = page if sent.provider == "bitbucket-cloud" else HTTPS
    task = hub.task(source=source)
    hub.task("other", "https://x.example.org/a/b")
    status, told = hub.send(sent.headers, sent.payload)
    images = sent.provider in {"dockerhub", "msr"}
    starts = bool(sent.changes or sent.everything) and not images
    assert status == 200
    assert told["task_ids"] == ([task.id] if starts else [])
    assert len(told["run_ids"]) == starts
    kept = hub.last()
    assert (kept.id, kept.status) == (told["delivery_id"], 200)
    assert kept.task_ids == tuple(told["task_ids"])
    assert kept.run_ids == tuple(told["run_ids"])
    assert (sent.ignored or "") in kept.reason
    if not starts:
        assert kept.reason in told["message"]
    else:
        assert hub.run(told["run_ids"][0]).trigger == "webhook:in"


@pytest.mark.parametrize("sent", SENT, ids=lambda s: f"{s.provider}-{s.name}")
def test_a_delivery_that_is_not_proven_is_401_and_starts_nothing(forge, sent):
    hub = forge(sent.provider)
    hub.task()
    status, told = hub.send(sent.headers, sent.payload, sign=False)
    assert (status, told) == (401, {"error": "missing or wrong signature"})
    assert hub.last().reason == "missing or wrong signature"
    assert hub.last().event is None


def test_the_sha_that_a_single_change_names_becomes_the_hint(forge, context):
    hub = forge()
    hub.task()
    hub.send(PUSH, github_like(**push(MAIN)))
    assert context.store.write(runs.claim, 10**15).result().hint == B


def test_a_push_to_what_may_not_be_the_default_branch_names_no_commit_for_it(
    forge, context
):
    hub = forge()
    hub.task(refspecs=("HEAD:refs/heads/x",))
    hub.send(PUSH, github_like(**push(MAIN)))
    assert context.store.write(runs.claim, 10**15).result().hint is None


def test_only_the_tasks_whose_refspecs_select_the_ref_run(forge):
    hub = forge()
    every = hub.task("every")
    main = hub.task("main", SSH, refspecs=("refs/heads/main:refs/heads/release",))
    head = hub.task("head", PAGE, refspecs=("HEAD:refs/heads/x",))
    tags = hub.task("tags", refspecs=("refs/tags/*:refs/tags/*",))
    but = hub.task("but", refspecs=("refs/heads/*:refs/heads/*", "^refs/heads/main"))
    off = hub.task("off", enabled=False)
    _, told = hub.send(PUSH, github_like(**push(MAIN)))
    assert told["task_ids"] == [every.id, main.id, head.id]
    for words in ("tags: refs/heads/main is not selected", "off: disabled", "but: "):
        assert words in hub.last().reason
    _, told = hub.send(PUSH, github_like(**push(TAG)))
    assert told["task_ids"] == [every.id, tags.id]
    assert off.id not in told["task_ids"]
    assert but.id not in told["task_ids"]


def test_a_repository_is_known_by_any_spelling_of_its_address(forge):
    hub = forge()
    sources = (
        HTTPS,
        SSH,
        PAGE,
        "ssh://git@forge.example.org:2222/team/app.git/",
        "https://FORGE.example.org/Team/App",
    )
    ids = [hub.task(f"t{i}", source).id for i, source in enumerate(sources)]
    hub.task("nested", "https://forge.example.org/team/app/sub")
    hub.task("elsewhere", "https://other.example.org/team/app")
    _, told = hub.send(PUSH, github_like(**push(MAIN)))
    assert told["task_ids"] == ids


def test_an_unknown_repository_is_named_in_the_reason(forge):
    hub = forge()
    _, told = hub.send(PUSH, github_like(**push(MAIN)))
    assert told["message"].endswith("no task has the source forge.example.org/team/app")


def test_a_path_without_a_host_matches_any_host_but_no_local_source(forge):
    hub = forge("bitbucket-server")
    task = hub.task("web", "https://git.example.org/scm/team/app.git")
    hub.task("local", "/team/app")
    repository = {"slug": "app", "project": {"key": "TEAM"}}
    body = {"repository": repository, "changes": []}
    _, told = hub.send({"x-event-key": "repo:refs_changed"}, body)
    assert told["task_ids"] == [task.id]


def test_triggers_join_the_queued_run_of_a_task(forge):
    hub = forge()
    hub.task()
    first = hub.send({**PUSH, "x-github-delivery": "1"}, github_like(**push(MAIN)))[1]
    second = hub.send({**PUSH, "x-github-delivery": "2"}, github_like(**push(MAIN)))[1]
    assert first["run_ids"] == second["run_ids"]
    assert hub.run(first["run_ids"][0]).deliveries == (
        first["delivery_id"],
        second["delivery_id"],
    )


def test_the_same_delivery_again_is_answered_with_the_first_ones_runs(forge):
    hub = forge()
    hub.task()
    headers, body = {**PUSH, "x-github-delivery": "1"}, github_like(**push(MAIN))
    first = hub.send(headers, body)[1]
    hub.end(first["run_ids"][0], RunStatus.SUCCESS)
    again = hub.send(headers, body)[1]
    assert again["run_ids"] == first["run_ids"]
    assert again["task_ids"] == first["task_ids"]
    assert hub.last().reason == f"repeats delivery {first['delivery_id']}"
    assert again["message"] == f"Repeats delivery {first['delivery_id']}"
    other_body = hub.send(headers, github_like(**push(MAIN, B, A)))[1]
    assert other_body["run_ids"] != first["run_ids"]


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CONFLICT])
def test_a_redelivery_runs_again_what_had_not_succeeded(forge, status):
    hub = forge()
    hub.task()
    headers, body = {**PUSH, "x-github-delivery": "1"}, github_like(**push(MAIN))
    first = hub.send(headers, body)[1]["run_ids"]
    hub.end(first[0], status)
    second = hub.send(headers, body)[1]["run_ids"]
    assert second != first
    assert "again" in hub.last().reason
    assert hub.send(headers, body)[1]["message"].startswith("Repeats delivery")
    hub.end(second[0], RunStatus.SUCCESS)
    assert hub.send(headers, body)[1]["run_ids"] == second


def test_a_redelivery_that_had_found_no_task_is_looked_at_again(forge):
    hub = forge()
    headers, body = {**PUSH, "x-github-delivery": "1"}, github_like(**push(MAIN))
    assert hub.send(headers, body)[1]["run_ids"] == []
    hub.task()
    assert len(hub.send(headers, body)[1]["run_ids"]) == 1


def test_a_hook_can_be_limited_to_named_tasks(forge):
    hub = forge(terms=HookOptions(tasks=("one", 99)))
    one = hub.task("one")
    hub.task("two")
    assert hub.send(PUSH, github_like(**push(MAIN)))[1]["task_ids"] == [one.id]


@pytest.mark.parametrize("provider", ["dockerhub", "msr"])
def test_an_image_starts_the_tasks_that_the_hook_names(forge, provider):
    sent = next(s for s in SENT if s.provider == provider)
    hub = forge(provider, terms=HookOptions(tasks=("one",)))
    one = hub.task("one")
    assert hub.send({}, sent.payload)[1]["task_ids"] == [one.id]
    bare = forge(provider)
    assert (
        "names no repository, and the hook no tasks"
        in bare.send({}, sent.payload)[1]["message"]
    )


def test_a_generic_payload_names_its_task_within_the_hooks_limits(forge):
    hub = forge("generic")
    one, two = hub.task("one"), hub.task("two")
    assert hub.send({}, {"task_id": two.id})[1]["task_ids"] == [two.id]
    assert hub.send({}, {"task": "one"})[1]["task_ids"] == [one.id]
    assert "no task 77" in hub.send({}, {"task": 77})[1]["message"]
    limited = forge("generic", terms=HookOptions(tasks=("one",)))
    assert limited.send({}, {"task_id": two.id})[1]["task_ids"] == []
    assert limited.send({}, {})[1]["task_ids"] == [one.id]


def test_a_rename_warns_of_the_tasks_that_it_leaves_behind(forge, caplog):
    hub = forge()
    left = hub.task("left", "git@forge.example.org:team/old.git")
    body = github_like(
        action="renamed", changes={"repository": {"name": {"from": "old"}}}
    )
    _, told = hub.send({"x-github-event": "repository"}, body)
    assert told["run_ids"] == []
    assert (
        f"team/old is now team/app, change the source of its tasks: left ({left.id})"
        in told["message"]
    )
    assert any(
        r.levelname == "WARNING" and "left" in r.getMessage() for r in caplog.records
    )


def test_who_asked_for_it_is_told_that_a_source_has_moved(forge, context):
    asked = Subscriber("ops", frozenset({"renamed"}), tasks=("left",))
    other = Subscriber("chat", frozenset({"failed"}))
    hub = forge(terms=HookOptions(subscribers=(asked, other)))
    for name in ("left", "else"):
        hub.task(name, "git@forge.example.org:team/old.git")
    hub.task("stays")
    body = github_like(
        action="renamed", changes={"repository": {"name": {"from": "old"}}}
    )
    hub.send({"x-github-event": "repository"}, body)
    (made,) = context.store.read(notices.latest, notices.Which(), 9).result()
    assert (made.target, made.event, made.task_name) == ("ops", "renamed", "left")
    assert (
        made.said
        == "the repository team/old is now team/app, change the source of its tasks"
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"NaN", b"[" * 300_000], ids=range(5)
)
def test_a_proven_body_that_is_no_json_is_400(forge, body):
    hub = forge()
    assert hub.send(PUSH, body)[0] == 400
    assert hub.last().status == 400


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"{}"])
def test_a_proven_body_that_says_nothing_is_200_and_nothing(forge, body):
    for provider in FORGES:
        status, told = forge(provider).send({}, body)
        assert (status, told["run_ids"]) == (200, [])


def test_a_mark_of_byte_order_is_passed_over(forge):
    hub = forge()
    hub.task()
    body = json.dumps(github_like(**push(MAIN))).encode()
    status, told = hub.send(PUSH, b"\xef\xbb\xbf" + body)
    assert (status, len(told["run_ids"])) == (200, 1)


def test_a_form_is_read_like_json(forge):
    hub = forge()
    task = hub.task()
    body = "payload=" + json.dumps(github_like(**push(MAIN))).replace("&", "%26")
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = body.encode()
    signature = "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
    request = Request(
        "POST",
        "/api/webhooks/in",
        body=body,
        peer="192.0.2.1",
        headers={**form, **PUSH, "x-hub-signature-256": signature},
    )
    told = json.loads(ask(hub, request).body)
    assert told["task_ids"] == [task.id]


def test_failures_count_against_the_address_and_proven_deliveries_do_not(forge):
    hub = forge(buckets=Buckets(3))
    for _ in range(10):
        assert hub.send(PUSH, {})[0] == 200
    statuses = [hub.send(PUSH, {}, sign=False)[0] for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert hub.send(PUSH, {})[0] == 429
    assert hub.send(PUSH, {}, peer="192.0.2.2")[0] == 200


def test_proven_deliveries_are_limited_where_the_hook_says_so(forge):
    hub = forge(terms=HookOptions(limited=True), buckets=Buckets(3))
    assert [hub.send(PUSH, {})[0] for _ in range(5)] == [200, 200, 200, 429, 429]


def test_an_address_off_the_list_is_403_before_anything_else(forge):
    hub = forge(whitelist=Whitelist(["203.0.113.0/24"]))
    assert hub.send(PUSH, {})[0] == 403
    assert hub.send(PUSH, {}, peer="203.0.113.9")[0] == 200


def request_to(path, query="", method="POST", body=b"{}"):
    return Request(
        method, path, query, {"content-type": "application/json"}, body, "192.0.2.1"
    )


def test_a_key_stands_in_the_query_or_at_the_end_of_the_path(forge, caplog):
    caplog.set_level("INFO")
    hub = forge("dockerhub")
    quoted = quote(SECRET, safe="")
    good = [
        ("/api/webhooks/in", f"key={quoted}"),
        (f"/api/webhooks/in/{quoted}", ""),
        ("/api/webhooks/in", f"x=1&key={quoted}"),
    ]
    for path, query in good:
        assert ask(hub, request_to(path, query)).status == 200
    bad = [
        ("/api/webhooks/in", ""),
        ("/api/webhooks/in", "key="),
        ("/api/webhooks/in/x", ""),
        (f"/api/webhooks/in/{quoted}", f"key={quoted}"),
        ("/api/webhooks/in", f"KEY={quoted}"),
        ("/api/webhooks/in", f"key={quoted}&key={quoted}"),
    ]
    for path, query in bad:
        assert ask(hub, request_to(path, query)).status == 401
    assert SECRET not in caplog.text
    assert quoted not in caplog.text


def test_a_key_opens_no_hook_that_has_another_scheme(forge):
    hub = forge()
    quoted = quote(SECRET, safe="")
    assert ask(hub, request_to("/api/webhooks/in", f"key={quoted}")).status == 401


def test_get_is_refused_and_an_unknown_hook_is_404(forge):
    hub = forge("generic", "key")
    response = ask(hub, request_to("/api/webhooks/in/k", method="GET"))
    assert (response.status, dict(response.headers)["Allow"]) == (405, "POST")
    assert ask(hub, request_to("/api/webhooks/out")).status == 404
    assert ask(hub, request_to("/api/webhooks/task-sync/key")).status == 404


def test_headers_are_kept_without_secrets_and_bodies_only_if_wanted(forge, context):
    extra = {
        "x-note": f"has {SECRET} inside",
        "cookie": "c=1",
        "x-gitlab-token": "t",
        "authorization": "Bearer x",
        "x-custom": "v",
        "user-agent": "GitHub-Hookshot/1",
        "x-forwarded-for": "1.2.3.4",
        "x-long": "y" * 5000,
    }
    for keep in (False, True):
        hub = forge(terms=HookOptions(bodies=keep))
        hub.send({**PUSH, "x-github-delivery": "1", **extra}, {"a": keep})
        content = context.store.read(deliveries.content, hub.last().id).result()
        kept = json.loads(content.headers)
        assert kept.pop("x-long") == "y" * 200
        assert kept == {
            "content-type": "application/json",
            "x-github-event": "push",
            "x-github-delivery": "1",
            "x-custom": "v",
            "x-note": "has *** inside",
            "user-agent": "GitHub-Hookshot/1",
        }
        assert content.body == (b'{"a": true}' if keep else None)


def test_headers_and_body_of_a_delivery_are_shown_on_demand(forge):
    hub = forge(terms=HookOptions(bodies=True))
    hub.send(PUSH, {"a": "é"})
    query = f"id={hub.last().id}"
    asked = Request("GET", "/api/v1/sync/delivery/parcel", query, control=True)
    shown = json.loads(ask(hub, asked).body)["data"]
    assert shown["headers"]["x-github-event"] == "push"
    assert json.loads(shown["body"]) == {"a": "é"}


def test_bodies_go_when_their_time_is_over_and_headers_stay(forge, context):
    hub = forge(terms=HookOptions(bodies=True))
    hub.send(PUSH, {"a": 1})
    kept = hub.last()
    for before, body in [(kept.received_at, b'{"a": 1}'), (kept.received_at + 1, None)]:
        context.store.write(maintenance.drop_bodies, before).result()
        content = context.store.read(deliveries.content, kept.id).result()
        assert content.body == body
        assert "x-github-event" in content.headers


def test_the_newest_bodies_and_idle_deliveries_are_kept(forge, context, monkeypatch):
    monkeypatch.setattr(maintenance, "BODIES", 2)
    monkeypatch.setattr(maintenance, "IDLE", 3)
    hub = forge(terms=HookOptions(bodies=True))
    hub.task()
    started = hub.send(PUSH, github_like(**push(MAIN)))[1]["delivery_id"]
    ids = [hub.send(PUSH, {"a": n})[1]["delivery_id"] for n in range(5)]
    context.store.write(
        maintenance.drop, maintenance.surplus(context.store.path)
    ).result()
    while context.store.write(maintenance.drop_bodies, 0).result():
        pass
    left = context.store.read(deliveries.latest, "in", 9).result()
    assert [delivery.id for delivery in left] == [*reversed(ids[2:]), started]
    parcels = [context.store.read(deliveries.content, i).result() for i in ids[2:]]
    assert [content.body is not None for content in parcels] == [False, True, True]


def test_a_large_body_is_judged_like_a_small_one(forge):
    hub = forge()
    task = hub.task()
    body = github_like(**push(MAIN), filler="x" * 400_000)
    assert hub.send(PUSH, body)[1]["task_ids"] == [task.id]
    assert hub.send(PUSH, body, sign=False)[0] == 401


MUTANTS = int(os.environ.get("MUTANTS", "50"))  # of each provider's deliveries


@pytest.mark.parametrize("provider", sorted(FORGES))
def test_no_mutated_delivery_starts_what_the_sound_one_would_not(forge, provider):
    hub = forge(provider)
    page = "https://bitbucket.org/team/app"
    own = hub.task("own", page if provider == "bitbucket-cloud" else HTTPS)
    for name in ("x", "true", "None"):
        hub.task(f"bait-{name}", f"https://forge.example.org/{name}/{name}")
    rng = random.Random(provider)
    sent = [s for s in SENT if s.provider == provider]
    everything = [(s, mutant) for s in sent for mutant in mutants(s.payload)]
    for s, mutant in rng.sample(everything, min(MUTANTS, len(everything))):
        status, told = hub.send(s.headers, mutant)
        assert status == 200, mutant
        assert told["task_ids"] in ([], [own.id])
        if (
            s.ignored and "test delivery" not in s.ignored
        ):  # which is a push but for its ids
            assert told["task_ids"] == [], (s, mutant)


def test_an_accepted_delivery_is_200_only_when_it_is_committed(forge, context):
    hub = forge()
    hub.task()
    context.store.close()
    assert hub.send(PUSH, github_like(**push(MAIN)))[0] == 503


def test_finding_the_task_among_ten_thousand_uses_the_index(forge, context):
    hub = forge()
    plan = context.store.read(
        lambda db: db.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE path='a' AND host='b'"
        ).fetchall()
    ).result()
    assert "tasks_of_source" in str(plan)
    assert hub


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://review.corp/a/team/app", "https://review.corp/team/app"),
        ("https://review.corp/team/app", "https://review.corp/a/team/app"),
        ("https://review.corp/a/team/app", "ssh://ann@review.corp:29418/team/app"),
        ("https://review.corp/r/a/app", "https://review.corp/r/app"),
    ],
)
def test_gerrits_addresses_with_and_without_a_login_are_one(forge, source, said):
    hub = forge("generic")
    task = hub.task(source=source)
    assert hub.send({}, {"repository": said})[1]["task_ids"] == [task.id]


def test_a_group_of_the_name_a_is_no_login(forge):
    hub = forge("gitlab")
    hub.task(source="https://git.corp/a/team/app")
    payload = push(MAIN, project={"git_http_url": "https://git.corp/team/app.git"})
    told = hub.send({"x-gitlab-event": "Push Hook"}, payload)[1]
    assert told["task_ids"] == []


def test_an_alias_of_the_configuration_finds_the_task(forge):
    pair = host_alias.read("git.corp:3000"), host_alias.read("git.example.org")
    hub = forge(terms=HookOptions(aliases=host_alias.Aliases((pair,))))
    task = hub.task(source="ssh://git@git.example.org:2222/team/app.git")
    urls = {"clone_url": "http://git.corp:3000/team/app.git"}
    payload = push(MAIN, repository=urls)
    assert hub.send(PUSH, payload)[1]["task_ids"] == [task.id]


def test_a_repository_that_is_no_address_leaves_a_hook_its_own_tasks(forge):
    hub = forge("generic", terms=HookOptions(tasks=("app",)))
    task = hub.task()
    assert hub.send({}, {"repository": "our app"})[1]["task_ids"] == [task.id]


CI = {"event": "build", "status": "success", "repository": "org/project"}


@pytest.mark.parametrize(
    ("change", "starts", "says"),
    [
        ({}, True, "accepted for app"),
        ({"status": "failed"}, False, 'filtered: status is "failed", not "success"'),
        ({"repository": "other/project"}, False, "filtered: repository is"),
    ],
)
def test_a_payload_is_filtered_after_it_is_proven(forge, change, starts, says):
    when = Condition("status", ("success",)), Condition("repository", ("org/*",))
    ci = forge("generic", terms=HookOptions(tasks=("app",), when=when))
    ci.task()
    status, told = ci.send({}, CI | change)
    assert (status, bool(told["run_ids"])) == (200, starts)
    assert says in ci.last().reason
    assert ci.send({}, CI | change, sign=False)[0] == 401


def test_a_delivery_is_counted_by_what_became_of_it(forge, context):
    when = (Condition("status", ("success",)),)
    ci = forge("generic", terms=HookOptions(tasks=("app",), when=when))
    ci.send({}, CI)
    ci.task()
    for number in range(3):
        ci.send({}, CI | {"number": number})
    ci.send({}, CI | {"status": "failed"})
    ci.send({}, CI, sign=False)
    hub = forge("github")
    for _ in range(2):
        hub.send(
            {"x-github-event": "push", "x-github-delivery": "1"},
            github_like(**push(MAIN)),
        )
    wanted = {"nothing": 1, "queued": 1, "joined": 3, "filtered": 1, "refused": 1}
    counted = context.counters.deliveries.counts()
    assert counted == {("in", r): n for r, n in {**wanted, "repeated": 1}.items()}


@pytest.mark.parametrize(
    "name",
    [
        "org/project",
        "project",
        "app:1.2",
        "registry:5000/org/app",
        "/org/project",
        "a b",
    ],
)
def test_a_name_that_is_no_address_keeps_no_own_task_from_running(forge, name):
    ci = forge("generic", terms=HookOptions(tasks=("app",)))
    ci.task()
    _, told = ci.send({}, CI | {"repository": name})
    assert len(told["run_ids"]) == 1


@pytest.mark.parametrize(
    "name", ["https://github.com/other/one", "git@github.com:other/one.git"]
)
def test_the_address_of_another_repository_starts_no_own_task(forge, name):
    ci = forge("generic", terms=HookOptions(tasks=("app",)))
    ci.task()
    _, told = ci.send({}, CI | {"repository": name})
    assert told["run_ids"] == []
