"""From "my push did not arrive" to the reason: one link away from the first page."""

import json

import pytest

from gms_hookd.auth.signature import sign
from gms_hookd.http.message import Request
from tests.pages.test_pages import Seen
from tests.support.deliveries import github_like
from tests.support.in_process import Place
from tests.support.process import ask
from tests.support.repositories import Repo
from tests.support.wiring import answered

SECRET = "the forge's own secret, long enough"
HOOK = f'[hooks.github]\nsecret = "{SECRET}"\n'
FORGE = "https://forge.example.org/team"


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path, HOOK)
    yield made
    made.close()


def page(place, path="/status"):
    request = Request("GET", path, control=True)
    response = answered(place.service.app, request).result(30)
    assert response.status == 200, response.body
    return Seen(response.body)


def push(place, name, ref="refs/heads/main", event="push", secret=SECRET):
    """Send what a forge sends of a push; returns the status."""
    payload = github_like(ref=ref, before="a" * 40, after="b" * 40)
    urls = ("clone_url", "ssh_url", "html_url")
    payload["repository"] |= dict.fromkeys(urls, f"{FORGE}/{name}.git")
    body = json.dumps(payload).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": sign(secret, body),
    }
    return ask(place.socket, "POST", "/api/webhooks/github", body, headers)[0]


def task(place, name, target, **more):
    fields = {"name": name, "source": f"{FORGE}/{name}.git", "target": str(target)}
    assert place.api("POST", "task/create", **fields, **more)[0] == 200


def test_six_reasons_why_a_push_did_not_arrive_are_one_link_away(place, tmp_path):
    target = Repo(tmp_path / "target.git").path
    task(place, "release", target, source_branch="release")
    task(place, "off", target, enabled=False)
    assert push(place, "release", secret="another") == 401
    assert push(place, "unknown") == 200
    assert push(place, "release") == 200
    assert push(place, "off") == 200
    assert push(place, "release", event="star") == 200
    run = place.order("broken", tmp_path / "nowhere", target)
    failed = place.ended(run)["error_message"]
    causes = {
        1: "missing or wrong signature",
        2: "no task has the source forge.example.org/team/unknown",
        3: "refs/heads/main is not selected",
        4: "disabled",
        5: "changes no ref",
    }
    front = page(place)
    assert failed[:60] in front.words
    assert failed in page(place, f"/status/run/{run}").words
    for number, why in causes.items():
        assert why in front.words
        assert f"/status/delivery/{number}" in front.links
        assert why in page(place, f"/status/delivery/{number}").words
    off = page(place, "/status/delivery/4")
    assert "/status/task/2" in off.links
    assert "gms-hookd task list" in off.words
