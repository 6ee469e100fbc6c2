"""A whole organisation by one task: deliveries, a list, names that mean harm."""

import hashlib
import hmac
import json
import os

import pytest

from tests.support.deliveries import A, B
from tests.support.process import SECRET, ask
from tests.support.repositories import Repo

MANY = int(os.environ.get("ORGANISATION", "6"))  # 300 for the long run
HOSTILE = ("..", "-x", ".x", "a..b", "x.git.git", "x.lock", "a b", "x" * 101, "$(id)")


@pytest.fixture
def team(tmp_path, http_host):
    """Make the repositories of a team at a host over http."""
    first = Repo(tmp_path / "team" / "r0.git")
    first.commit("main", "dev")
    repos = {"r0": first}
    for number in range(1, MANY):
        repo = repos[f"r{number}"] = Repo(tmp_path / "team" / f"r{number}.git")
        repo.commit("main")
    return repos


@pytest.fixture
def serving(daemon, tmp_path, http_host):
    daemon.configure('[hooks.github]\n[sync]\nallow_protocols = ["http", "file"]\n')
    daemon.start()
    (tmp_path / "mirror").mkdir()
    source, target = f"{http_host.base}/team/*", f"{tmp_path}/mirror/*.git"
    fields = {"name": "team/*", "source": source, "target": target, "create": True}
    daemon.api("POST", "task/create", **fields, max=MANY)
    return daemon


def deliver(daemon, address):
    """Send a push as GitHub would; returns the answer."""
    repository = {"clone_url": address, "full_name": "-"}
    push = {"ref": "refs/heads/main", "before": A, "after": B, "repository": repository}
    body = json.dumps(push).encode()
    proof = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": f"sha256={proof}",
    }
    where = daemon.socket, "POST", "/api/webhooks/github"
    status, _, answer = ask(*where, body, headers)
    assert status == 200, answer
    return answer


def check(daemon, team, tmp_path, runs):
    """Check that each repository has arrived, and nothing else was made."""
    for run in map(daemon.ended, runs):
        assert run["status"] == "success", run["error_message"]
    for name, repo in team.items():
        assert Repo(tmp_path / "mirror" / f"{name}.git").refs() == repo.refs()
    assert len(list((tmp_path / "mirror").iterdir())) == len(team)
    assert len(daemon.api("GET", "tasks")) == len(team) + 1


def test_an_organisation_arrives_by_its_deliveries(serving, team, http_host, tmp_path):
    for name in HOSTILE:
        answer = deliver(serving, f"{http_host.base}/team/{name}")
        assert answer["task_ids"] == [], name
        assert answer["message"].startswith("Nothing to sync: "), name
    assert len(serving.api("GET", "tasks")) == 1
    runs = [
        deliver(serving, http_host.url(repo))["run_ids"][0] for repo in team.values()
    ]
    too_many = deliver(serving, f"{http_host.base}/team/more.git")
    assert f"{MANY} tasks, its max, are there" in too_many["message"]
    check(serving, team, tmp_path, runs)


def test_an_organisation_arrives_by_a_list(serving, team, tmp_path):
    made = serving.api("POST", "task/expand", name="team/*", names=[*HOSTILE, *team])
    results = [one["result"] for one in made]
    assert results == ["refused"] * len(HOSTILE) + ["created"] * MANY
    check(serving, team, tmp_path, [one["run_id"] for one in made if one["run_id"]])
