"""Callbacks to Docker Hub: what is told, when, how often; never to anybody else."""

import json
import threading

import pytest

from gms_hookd.forges import dockerhub
from gms_hookd.http.client import ClientError
from gms_hookd.model import RunStatus
from gms_hookd.threads import Threads
from gms_hookd.web.forge_hook import HookOptions
from gms_hookd.workers.callbacks import TRIES, Caller
from tests.support.deliveries import SENT
from tests.web.test_forge_hook import Forge

IMAGE = next(s for s in SENT if s.provider == "dockerhub").payload
URL = IMAGE["callback_url"]


class Hub:
    """A hook of Docker Hub whose callbacks end here."""

    def __init__(self, context, **terms):
        self.hook = Forge(
            context, "dockerhub", terms=HookOptions(tasks=("app",), **terms)
        )
        self.hook.task()
        self.told, self.answer = [], 200
        self.caller = Caller(context, threading.Event(), self.post)

    def post(self, url, body):
        if isinstance(self.answer, Exception):
            raise self.answer
        self.told.append((url, json.loads(body)))
        return self.answer

    def deliver(self, status=None):
        _, told = self.hook.send({}, IMAGE)
        if status:
            self.hook.end(told["run_ids"][0], status)
        return told


@pytest.fixture
def hub(context):
    return Hub(context, callback=True)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (RunStatus.SUCCESS, "success"),
        (RunStatus.CONFLICT, "failure"),
        (RunStatus.FAILED, "failure"),
    ],
)
def test_the_outcome_is_told_once(hub, status, state):
    hub.deliver(status)
    hub.caller.turn()
    hub.caller.turn()
    told = {"state": state, "description": status.value, "context": "gms-hookd"}
    assert hub.told == [(URL, told)]


def test_nothing_is_told_while_a_run_has_not_ended(hub):
    told = hub.deliver()
    hub.caller.turn()
    assert hub.told == []
    hub.hook.end(told["run_ids"][0], RunStatus.SUCCESS)
    hub.caller.turn()
    assert len(hub.told) == 1


def test_nothing_is_told_unless_the_hook_says_so(context):
    hub = Hub(context)
    hub.deliver(RunStatus.SUCCESS)
    hub.caller.turn()
    assert hub.told == []


@pytest.mark.parametrize("answer", [500, 302, ClientError("no answer")])
def test_a_callback_that_fails_is_made_again_later_and_given_up_at_last(
    hub, clock, answer
):
    hub.deliver(RunStatus.SUCCESS)
    tries = []
    post = hub.caller._post
    hub.caller._post = lambda *args: (tries.append(1), post(*args))[1]
    hub.answer = answer
    hub.caller.turn()
    hub.caller.turn()
    assert len(tries) == 1
    for _ in range(2 * TRIES):
        clock.forward(3600)
        hub.caller.turn()
    assert len(tries) == TRIES


@pytest.mark.parametrize(
    "url",
    [
        "http://registry.hub.docker.com/u/x/",
        "https://registry.hub.docker.com",
        "https://registry.hub.docker.com.example.org/",
        "https://registry.hub.docker.com:444/",
        "https://registry.hub.docker.com@example.org/",
        "https://user@registry.hub.docker.com/",
        "https://example.org/registry.hub.docker.com/",
        "https://registry.hub.docker.com\\@example.org/",
        "https://127.0.0.1/",
        "https://registry.hub.docker.com/ x",
        "https://registry.hub.docker.com/\r\nX: y",
        "file:///etc/passwd",
        "",
        None,
        7,
        ["https://registry.hub.docker.com/"],
    ],
)
def test_only_the_one_host_is_ever_called(url):
    assert dockerhub.callback_url({"callback_url": url}) is None
    assert dockerhub.callback_url({"callback_url": URL}) == URL


def test_the_thread_ends_when_told(context):
    stopping = threading.Event()
    thread = Threads().start("callback", Caller(context, stopping).run_forever)
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()
