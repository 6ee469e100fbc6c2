"""What the hook commands print, and the deliveries that they send."""

import base64
import http.server
import json
import re
import threading

import pytest

from gms_hookd.forges.registry import FORGES
from tests.support.command_line import SECRET
from tests.support.seen import CANARY

WHSEC = "whsec_" + base64.b64encode(f"{CANARY} and more".encode()).decode()


@pytest.fixture
def hooks(environ):
    """Configure a hook of every provider."""
    tables = (f"[hooks.{p}]\nsecret = '{WHSEC}'\ntasks = ['mirror']\n" for p in FORGES)
    environ.write_text(environ.read_text() + "".join(tables))


def test_the_list_of_hooks_says_what_to_enter_where_and_no_secret(hooks, ok):
    listed = json.loads(ok("hook", "list", "--json"))
    assert [hook["name"] for hook in listed] == ["task-sync", *FORGES]
    github = listed[1]
    assert github == {
        "name": "github", "provider": "github", "scheme": "signature",
        "url": None, "secret_place": "Secret",
        "events": "Just the push event", "tasks": ["mirror"], "last_delivery": None,
    }  # fmt: skip
    text = ok("hook", "list")
    assert "no delivery yet" in text
    assert "?key=SECRET" in text
    assert WHSEC not in text + json.dumps(listed)
    assert SECRET not in text + json.dumps(listed)


def test_a_hook_gets_a_long_random_secret_of_the_form_it_needs(hooks, ok):
    first, second = ok("hook", "secret", "github"), ok("hook", "secret", "github")
    assert first != second
    assert re.fullmatch(r"[\w-]{43}\n", first)
    assert re.fullmatch(r"whsec_[\w/+]{43}=\n", ok("hook", "secret", "svix"))
    assert re.fullmatch(r"[\w-]{43}\n", ok("hook", "secret", "not-configured-yet"))


def test_a_test_delivery_of_every_hook_passes_the_real_socket(hooks, daemon, ok, task):
    url = daemon.url.removesuffix("task-sync")
    for provider in FORGES:
        told = ok("hook", "test", provider, "--url", url + provider)
        assert told.startswith("delivery ")
        told = json.loads(ok("hook", "test", provider, "--task", "mirror", "--json"))
        assert told["task_ids"] == [1], provider
    listed = json.loads(ok("hook", "list", "--json"))
    assert all(hook["last_delivery"]["task_ids"] == [1] for hook in listed[1:])


class Echo(http.server.BaseHTTPRequestHandler):
    """A server in front of nothing: it says which address was not found."""

    def do_POST(self):
        said = f"The requested URL {self.path} was not found. {dict(self.headers)}"
        self.send_error(404, explain=said)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("provider", ["dockerhub", "gitlab", "argo-events", "msr"])
def test_an_answer_that_repeats_the_secret_is_printed_without_it(hooks, no, provider):
    with http.server.HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{'p' * 90}/{provider}"
        _, said = no("hook", "test", provider, "--url", url)
        thread.join()
    assert "answered 404" in said
    assert not any(WHSEC[n : n + 12] in said for n in range(len(WHSEC) - 11))


def test_a_test_delivery_that_is_refused_is_status_1(hooks, daemon, no, environ):
    text = environ.read_text().replace(WHSEC, WHSEC[:-4] + "AAAA")
    environ.write_text(text)
    status, said = no("hook", "test", "github")
    assert (status, "answered 401: missing or wrong signature" in said) == (1, True)
    assert "no hook 'nope'" in no("hook", "test", "nope")[1]
