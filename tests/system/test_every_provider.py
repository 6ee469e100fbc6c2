"""Every provider over the real socket, with the daemon's own wiring and real git."""

import base64
import csv
import http.client
import json
import os
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from gms_hookd.config.load import load_config
from gms_hookd.forges.registry import FORGES, scheme_of
from gms_hookd.git.url import cache_key
from gms_hookd.http.limits import ConnectionLimits
from gms_hookd.http.listener import listen
from gms_hookd.http.server import Server
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.store import runs, tasks
from tests.support.deliveries import HTTPS, MAIN, PAGE, SENT, TAG, Sent
from tests.support.repositories import ENVIRON, Repo
from tests.support.seen import CANARY

PAYLOADS = os.environ.get("GMS_HOOKD_PAYLOADS", "")
WHSEC = "whsec_" + base64.b64encode(f"{CANARY} and more".encode()).decode()
SEVEN = ("github", "gitlab", "gitea", "forgejo", "gogs", "gitee", "bitbucket-cloud",
         "bitbucket-server", "coding")  # fmt: skip
ONLY = "[sync]\nreconcile = 'off'\n"  # what is delivered is all that starts a run
HOOKS = "".join(f"[hooks.{provider}]\nsecret = '{WHSEC}'\n" for provider in FORGES)


class Served:
    """A service behind a real listener, and a sender that signs as the forges do."""

    def __init__(self, tmp_path):
        file = tmp_path / "config.toml"
        file.write_text(f"[webhook]\nsecret = 'x'\nrate_limit = 0\n{ONLY}{HOOKS}")
        file.chmod(0o600)
        self.state = StateDirectory.open(tmp_path / "state")
        self.config = load_config({}, file=str(file), state=self.state.path)
        self.service = Service.open(self.config, self.state, ENVIRON)
        self.listener = listen("127.0.0.1:0")
        self.port = self.listener.socket.getsockname()[1]
        self.server = Server(
            [self.listener], self.service.app.handle, ConnectionLimits()
        )
        self.front = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.front.start()
        self.service.start(2)

    def close(self):
        self.server.drain(0)
        self.front.join()
        self.server.server_close()
        self.service.stop(0)
        self.service.close()
        self.state.close()

    def post(self, path, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection):
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def deliver(self, sent, payload=None, tamper=lambda body: body, secret=WHSEC):
        body = json.dumps(payload or sent.payload).encode()
        scheme = scheme_of(sent.provider, None, [secret], {})
        proof = scheme.sign(body, secret, time.time())
        query = f"?key={proof.key}" if proof.key else ""
        return self.post(
            f"/api/webhooks/{sent.provider}{query}",
            tamper(proof.body or body),
            {"Content-Type": "application/json", **sent.headers, **proof.headers},
        )

    def task(self, source, target, **more):
        key = cache_key(str(source))
        draft = tasks.Draft("app", str(source), str(target), key, **more)
        return self.do(tasks.add, draft, 0)

    def do(self, operation, *args):
        return self.service.context.store.write(operation, *args).result()

    def ended(self, run_id):
        watch = self.service.running.watch(run_id, 30)
        if not self.do(runs.get, run_id).end_time:
            assert watch.future.result(60), "the run does not end"
        return self.do(runs.get, run_id)


@pytest.fixture
def served(tmp_path):
    service = Served(tmp_path)
    yield service
    service.close()


@pytest.fixture
def source(tmp_path):
    repo = Repo(tmp_path / "team" / "app.git")
    repo.commit("keep", "main")
    repo.git("symbolic-ref", "HEAD", "refs/heads/keep")
    return repo


def about(sent, source):
    """The payload, with a real repository's path for its addresses."""
    text = json.dumps(sent.payload).replace(HTTPS, str(source))
    return json.loads(text.replace(PAGE, str(source)))


def find(provider, name):
    return next(s for s in SENT if (s.provider, s.name) == (provider, name))


def test_each_provider_takes_what_is_proven_and_refuses_what_is_not(served):
    for sent in [s for s in SENT if s.name in {"branch", "several", "image", "ref"}]:
        status, told = served.deliver(sent)
        assert (status, told["run_ids"]) == (200, []), sent
        assert told["message"].startswith("Nothing to sync: "), sent
        status, told = served.deliver(sent, secret=WHSEC[:-4] + "AAAA")
        assert (status, told) == (401, {"error": "missing or wrong signature"}), sent
        plain = {"Content-Type": "application/json", **sent.headers}
        status, _ = served.post(f"/api/webhooks/{sent.provider}", sent.body, plain)
        assert status == 401, sent


@pytest.mark.parametrize("provider", SEVEN)
def test_push_tag_merge_and_deletion_move_the_target(served, source, target, provider):
    served.task(source, target, prune=True)

    def deliver(name):
        sent = find(provider, name)
        fresh = {**about(sent, source), "nonce": time.monotonic_ns()}
        status, told = served.deliver(sent, fresh)
        assert status == 200
        return [served.ended(run_id) for run_id in told["run_ids"]]

    def in_step():
        return target.refs() == source.refs()

    assert [run.status for run in deliver("branch")] == ["success"]
    assert in_step()
    source.git("tag", "v1.0", "main")
    deliver("create-tag" if provider == "gogs" else TAGS.get(provider, "tag"))
    assert TAG in target.refs()
    source.commit("main")
    assert deliver("merge") == []
    assert not in_step()
    (run,) = deliver("branch")
    assert in_step()
    assert run.commit_range.endswith(source.tip("refs/heads/main"))
    source.git("update-ref", "-d", MAIN)
    deliver("service" if provider == "coding" else "deleted")
    assert MAIN not in target.refs()
    assert in_step()


TAGS = {"coding": "branch"}


def test_ping_test_and_foreign_repository_do_nothing_and_say_why(
    served, source, target
):
    served.task(source, target)
    for sent in [s for s in SENT if s.provider in SEVEN]:
        ignored = sent.ignored or "no task has the source"
        status, told = served.deliver(
            sent, about(sent, source) if sent.ignored else None
        )
        assert (status, told["run_ids"]) == (200, []), sent
        assert ignored in told["message"], sent
    assert target.refs() == {}


def test_no_body_of_any_shape_is_answered_with_an_error_of_ours(served):
    for provider in FORGES:
        for payload in ([], "x", 1, {"ref": 1}, {"repository": "\ud800"}, [[[]]]):
            sent = find(provider, SAMPLES.get(provider, "branch"))
            status, _ = served.deliver(sent, payload)
            assert status == 200, (provider, payload)
        assert served.deliver(sent, tamper=lambda body: b"{" + body)[0] in (400, 401)


SAMPLES = {"bitbucket-cloud": "several", "azuredevops": "several", "dockerhub": "image",
           "msr": "image", "argo-events": "forge", "generic": "ref", "svix": "ref",
           "standard-webhooks": "ref", "convoy": "ref", "hookdeck": "ref"}  # fmt: skip


def recorded():
    with Path(PAYLOADS, "INDEX.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        told = {k.lower(): v for k, v in json.loads(row["headers"]).items()}
        headers = {k: v for k, v in told.items() if k.startswith(("x-", "codeup-"))}
        payload = json.loads(Path(PAYLOADS, row["file"]).read_bytes())
        if row["provider"] in FORGES:
            yield Sent(row["file"], row["provider"], headers, payload)


@pytest.mark.skipif(not PAYLOADS, reason="GMS_HOOKD_PAYLOADS names no folder")
def test_every_recorded_body_passes_the_real_socket(served):
    for sent in recorded():
        status, told = served.deliver(sent)
        assert (status, told.get("run_ids")) == (200, []), sent.name
        assert served.deliver(sent, secret=WHSEC[:-4] + "AAAA")[0] == 401, sent.name


def test_a_secret_in_the_url_is_in_no_log(served, caplog):
    caplog.set_level("DEBUG")
    served.deliver(find("dockerhub", "image"))
    served.post(f"/api/webhooks/dockerhub/{WHSEC}", b"{}", {})
    served.post("/api/webhooks/dockerhub/wrong-but-secret", b"{}", {})
    assert "path=/api/webhooks/dockerhub" in caplog.text
    assert WHSEC not in caplog.text
    assert "wrong-but-secret" not in caplog.text
