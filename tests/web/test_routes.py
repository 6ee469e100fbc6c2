"""Which path and method lead where: unknown ones, health, readiness."""

import pytest

from gms_hookd.futures import done
from tests.support.wiring import TRIGGER, ask, call, trigger


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", TRIGGER, 405, "POST"),
        ("PUT", TRIGGER, 405, "POST"),
        ("POST", "/api/webhooks/runs/1", 405, "GET"),
        ("DELETE", "/healthz", 405, "GET, HEAD"),
        ("POST", "/api/webhooks/other", 404, None),
        ("POST", "/api/webhooks/", 404, None),
        ("POST", "/api/webhooks/task-sync/", 404, None),
        ("GET", "/", 404, None),
        ("POST", "/api/../api/webhooks/task-sync", 404, None),
        ("POST", "/api/webhooks/%74ask-sync", 404, None),
    ],
)
def test_unknown_paths_are_404_and_other_methods_405(app, method, path, status, allow):
    found, _, headers = ask(app, method, path)
    assert (found, headers.get("Allow")) == (status, allow)


@pytest.mark.parametrize(
    "path", ["/" + TRIGGER, "//api//webhooks//task-sync", "/api/webhooks///task-sync"]
)
def test_a_path_with_slashes_in_a_row_is_the_same_path(app, task, path):
    assert trigger(app, path=path)[0] == 200
    assert ask(app, "GET", "//healthz")[0] == 200
    assert call(app, "GET", "/tasks")[0] == 200
    assert ask(app, "POST", "/api/webhooks/task-sync//")[0] == 404


def test_health_needs_no_signature(app):
    assert ask(app, "GET", "/healthz")[:2] == (200, {"status": "ok"})
    assert ask(app, "GET", "/readyz")[0] == 200


def test_readiness_gives_its_reasons(make_app):
    status, shown, _ = ask(
        make_app(ready=lambda: done(["disk: full"])), "GET", "/readyz"
    )
    assert (status, shown["reasons"]) == (503, ["disk: full"])


@pytest.mark.parametrize("path", [
    "/api/webhook/dockerhub/{}", "/hooks/x?key={}", "/{}", "/api/webhooks/x&key={}",
    "/api/webhooks/x%2F{}", "/api/v1/sync/{}", "/api/webhooks/runs/{}", "/x/{}/y",
])  # fmt: skip
def test_a_secret_of_yesterday_in_an_unknown_path_is_not_logged(app, caplog, path):
    caplog.set_level("DEBUG")
    old = "e3b0c44298fc1c149afbf4c8996fb924"
    ask(app, "POST", path.format(old))
    assert "path=" in caplog.text
    assert old[:12] not in caplog.text


def test_an_unknown_path_of_usual_words_is_logged(app, caplog):
    caplog.set_level("DEBUG")
    ask(app, "POST", "/vendor/phpunit/src/Util/eval-stdin.php")
    assert "path=/vendor/phpunit/src/Util/eval-stdin.php " in caplog.text
