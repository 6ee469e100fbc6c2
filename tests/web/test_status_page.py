"""/status: who may see it, what it finds in the store, what a wrong question gets."""

import json
from base64 import b64encode
from dataclasses import replace

import pytest

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.futures import done
from gms_hookd.git.process import Stop
from gms_hookd.http.message import Request
from gms_hookd.model import RunStatus
from gms_hookd.pages.parts import TOP
from gms_hookd.pages.style import POLICY
from gms_hookd.runlog import RunLog
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import deliveries, listings, runs, tasks
from gms_hookd.store.listings import ListingFilter
from gms_hookd.web.routes import templates
from gms_hookd.web.status_page import FRESH
from gms_hookd.workers.running import DaemonState
from tests.pages.test_pages import Seen
from tests.support.wiring import answered

WRONG = "git push: remote: not allowed"


def ask(app, path, method="GET", control=True, **headers):
    path, _, query = path.partition("?")
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    request = Request(method, path, query, named, peer="192.0.2.1", control=control)
    return answered(app, request).result(10)


def said(app, path, **more):
    response = ask(app, path, **more)
    assert response.status == 200, response.body
    return Seen(response.body).words


def basic(password, user="any"):
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def filled(context):
    """Keep two tasks, three runs and a delivery of each outcome."""
    now = context.now()

    def fill(db):
        for name in ("app", "docs"):
            draft = tasks.Draft(name, f"https://h/{name}.git", f"/srv/{name}", name)
            tasks.add(db, draft, now)
        for n, status in enumerate(("success", "failed", "success")):
            task_id, at = 1 + n // 2, now - 60_000 * (3 - n)
            new = deliveries.NewDelivery("github", "github", "unix", at, "push")
            run = runs.trigger(db, task_id, runs.NewRun("webhook:github"), at)
            kept = deliveries.DeliveryContent('{"x-github-event": "push"}', b'{"a":1}')
            deliveries.record(
                db, new, 200, "accepted for it", task_ids=(task_id,), run_ids=(run,),
                content=kept,
            )  # fmt: skip
            runs.claim(db, at, run)
            why = "" if status == "success" else WRONG
            ended = runs.Result(RunStatus(status), "", why, details="a line\n")
            runs.finish(db, run, ended, at + 4000)
        for status, why in (
            (200, "docs: refs/heads/x is not selected"),
            (401, "wrong"),
        ):
            deliveries.record(db, replace_hook(new), status, why)

    context.store.write(fill).result()


def replace_hook(new):
    return new._replace(hook="gitea", delivery_key="<b>")


def test_it_opens_to_the_read_token_and_asks_a_browser_for_it(app):
    for given in (basic("r3ad"), "Bearer r3ad", "token r3ad", basic("t0ken")):
        assert ask(app, TOP, control=False, authorization=given).status == 200
    for given in ({}, {"authorization": basic("wrong")}):
        refused = ask(app, TOP, control=False, **given)
        assert refused.status == 401
        assert dict(refused.headers)["WWW-Authenticate"].startswith("Basic ")
    assert (
        ask(app, TOP, "POST", control=False, authorization=basic("r3ad")).status == 405
    )
    assert ask(app, TOP, "HEAD").status == 200


def test_it_is_not_there_while_no_read_token_is_set(make_app):
    app = make_app(tokens=Tokens(("t0ken",)))
    for path in (TOP, f"{TOP}/run/1"):
        refused = ask(app, path, control=False, authorization="Bearer t0ken")
        assert refused.status == 404
        assert "api.read_token" in json.loads(refused.body)["error"]
    assert ask(app, TOP).status == 200


def test_a_page_is_sent_with_a_policy_that_lets_nothing_in(app, filled):
    for path in (TOP, f"{TOP}/run/1", f"{TOP}/none"):
        response = ask(app, path)
        headers = dict(response.headers)
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in headers
        assert response.content_type == "text/html; charset=utf-8"


def test_the_first_page_shows_what_fails_what_ran_and_what_came(app, filled):
    page = said(app, TOP)
    assert "Needs hands ■ failed app 1 min ago, not tried again" in page
    assert f"{WRONG} #2 gms-hookd run show 2" in page
    assert "Last 24 hours, by the hour: 2 success · 1 failed" in page
    assert "docs: refs/heads/x is not selected" in page
    assert "refused 401" in page


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("task=app", ["#2", "#1", "Find"], ["#3 ●"]),
        ("task=ap", ["app"], ["docs", "Recent runs"]),
        ("outcome=failed", ["#2 ■ failed app"], ["#1 ●", "Recent deliveries"]),
        ("outcome=refused", ["wrong"], ["Recent runs", "accepted for it"]),
        ("outcome=nothing&hook=gitea", ["not selected"], ["accepted for it"]),
        ("hook=github", ["#1 ●", "accepted for it"], ["not selected"]),
        ("hook=gitea", ["not selected", "None."], ["#1 ●"]),
        ("runs_before=2", ["#1 ●", "newest"], ["#2 ■", "Recent deliveries"]),
        ("deliveries_before=2", ["#1 3 min"], ["#2 ", "Recent runs"]),
        ("tasks_after=app", ["docs"], ["Recent runs"]),
        ("utm_source=mail", ["Needs hands"], []),
    ],
)
def test_a_filter_leaves_what_it_names(app, filled, query, shown, hidden):
    page = said(app, f"{TOP}?{query}").replace("find", "Find")
    for text in shown:
        assert text in page, page
    for text in hidden:
        assert text not in page, page


def test_each_record_has_a_page(app, filled):
    page = said(app, f"{TOP}/task/1")
    assert "Source https://h/app.git" in page
    assert "gms-hookd task sync app" in page
    assert "2 runs, newest right: 4 s to 4 s" in page
    page = said(app, f"{TOP}/run/2")
    assert f"Reason {WRONG}" in page
    assert "gms-hookd run retry 2" in page
    assert "Log a line" in page
    page = said(app, f"{TOP}/delivery/2")
    assert "accepted for it Tasks: app" in page
    assert "x-github-event push" in page
    assert '{ "a": 1 }' in page
    page = said(app, f"{TOP}/hook/gitea")
    assert "not configured" in page
    assert "not selected" in page
    assert "None." in said(app, f"{TOP}/hook/task-sync")


def test_a_removed_task_keeps_the_page_of_its_runs(app, filled, context):
    context.store.write(tasks.remove, 1, context.now()).result()
    page = said(app, f"{TOP}/task/1")
    assert "This task was removed" in page
    assert "#2 ■ failed" in page


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/task/9", 404, "no task 9"),
        ("/task/x", 404, "no such task"),
        ("/task/" + "9" * 30, 404, "no such task"),
        ("/run/9", 404, "no run 9"),
        ("/delivery/9", 404, "no delivery 9"),
        ("/hook/none", 404, "no hook 'none': there are task-sync"),
        ("/task", 404, "no such page"),
        ("/task/1/2", 404, "no such task"),
        ("/nothing/1", 404, "no such page"),
        ("?outcome=bad", 400, "outcome: one of queued, running"),
        ("?runs_before=x", 400, "runs_before: a positive integer"),
        ("?deliveries_before=0", 400, "deliveries_before: a positive integer"),
        ("?task=%00", 400, "task: printable text"),
        ("/task/1?before=-1", 400, "before: a positive integer"),
        ("/task/1?outcome=refused", 400, "outcome: one of"),
        ("/hook/gitea?outcome=failed", 400, "outcome: one of accepted"),
    ],
)
def test_a_wrong_question_gets_a_page_that_says_why(app, filled, path, status, why):
    response = ask(app, TOP + path)
    assert response.status == status
    assert why in Seen(response.body).words


def test_it_speaks_the_language_that_is_asked_for(app, filled):
    page = said(app, TOP, accept_language="zh-CN,zh;q=0.9,en;q=0.8")
    assert "需要处理" in page
    assert "最近的投递" in page
    assert "Needs hands" in said(app, TOP, accept_language="de")


def test_an_unready_service_says_so_on_each_page(make_app, context, filled):
    app = make_app()
    bad = replace(
        context, condition=lambda: done(DaemonState(problems=("disk: full",)))
    )
    app.adopt(bad, app._policy)
    for path in (TOP, f"{TOP}/run/1", f"{TOP}/run/9"):
        assert "not ready: disk: full" in Seen(ask(app, path).body).words


def test_what_was_made_is_given_to_all_who_ask_soon(app, filled, context, clock):
    before = said(app, TOP)
    context.store.write(tasks.remove, 1, context.now()).result()
    many = "&".join(f"a{n}=1" for n in range(200))
    assert said(app, TOP) == said(app, f"{TOP}?{many}") == before
    clock.forward(FRESH + 0.1)
    assert said(app, TOP) != before


def test_no_secret_is_shown_that_an_older_version_kept(make_app, context):
    app, secret = make_app(), "a secret & <of> another's"
    app.adopt(replace(context, mask=Mask([secret])), app._policy)

    def keep(db):
        new = deliveries.NewDelivery("github", "github", "unix", 1, f"<{secret}>")
        content = deliveries.DeliveryContent(json.dumps({"a": secret}), secret.encode())
        deliveries.record(db, new, 200, secret, content=content)

    context.store.write(keep).result()
    for path in (TOP, f"{TOP}/delivery/1"):
        words = Seen(ask(app, path).body).words
        assert "***" in words
        assert "a secret" not in words
        assert "another's" not in words


def test_its_kinds_of_paths_are_few(app, filled):
    known = set(templates())
    for path in ("", "/run/1", "/run/2", "/hook/x", "/x/y", "/run/1/2", "/"):
        ask(app, TOP + path)
    assert {TOP, f"{TOP}/run/{{key}}", f"{TOP}/hook/{{key}}"} <= known
    routes = {route for route, _ in app._context.counters.requests.counts()}
    assert routes <= known


def test_lists_page_through_all_there_is(context, filled, monkeypatch):
    """A list without an index looks through so many rows a page, and leads on."""
    monkeypatch.setattr(listings, "SCAN", 2)

    def listed(find, **which):
        wanted, seen = ListingFilter(limit=1, **which), []
        for _ in range(20):
            page = context.store.read(find, wanted).result()
            seen += [row.id for row in page.rows]
            if page.older is None:
                return seen
            wanted = wanted._replace(before=page.older)
        raise AssertionError(seen)

    assert listed(listings.run_page) == [3, 2, 1]
    assert listed(listings.run_page, task_id=1) == [2, 1]
    assert listed(listings.run_page, task_id=1, outcome="failed") == [2]
    assert listed(listings.run_page, hook="github", outcome="success") == [3, 1]
    assert listed(listings.run_page, hook="git") == []
    assert listed(listings.delivery_page) == [5, 4, 3, 2, 1]
    assert listed(listings.delivery_page, hook="github") == [3, 2, 1]
    assert listed(listings.delivery_page, task_id=1) == [2, 1]
    assert listed(listings.delivery_page, outcome="refused") == [5]


def test_failures_are_counted_back_to_the_last_success(context, filled):
    now = context.now()
    counted = context.store.read(listings.failures, 1).result()
    assert counted == (1, now - 2 * 60_000 + 4000)


def test_a_run_under_way_shows_what_it_says_and_what_waits_for_it(app, filled, context):
    first = context.store.write(runs.request, 1, runs.NewRun("manual"), 0).result()
    context.store.write(runs.claim, context.now(), first.id).result()
    log = RunLog()
    log.line("fetching now")
    context.running.began(first.id, 1, log, Stop())
    context.store.write(runs.request, 1, runs.NewRun("manual"), 0).result()
    page = said(app, f"{TOP}/run/{first.id}")
    assert "fetching now" in page
    assert f"gms-hookd run cancel {first.id}" in page
    page = said(app, TOP)
    assert "refreshes itself" in page
    assert "1 running, 1 waiting" in page
    assert f"Waits for: run {first.id}, which is under way for the same task" in page
