"""Small things that cost trust: each message is true, each remedy can be pasted."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from gms_hookd.cli import hook, main
from gms_hookd.cli.terminal import Style
from gms_hookd.cli.trigger import own_url
from gms_hookd.cli.watch import Screen
from gms_hookd.config.load import load_config
from gms_hookd.service import health
from gms_hookd.service.findings import Environment
from gms_hookd.service.inspection import findings
from gms_hookd.store import runs
from tests.support.process import ROOT
from tests.support.repositories import Repo
from tests.support.wiring import API, ask


@pytest.fixture
def say(daemon, capsys):
    def carry_out(*words):
        where = ["--config", str(daemon.config), "--state", str(daemon.state)]
        status = main.main([*words, *where])
        return status, *capsys.readouterr()

    return carry_out


def test_a_secret_is_made_before_its_file_is_filled(daemon, say, tmp_path):
    empty = tmp_path / "empty"
    empty.touch(0o600)
    for file in (tmp_path / "absent", empty):
        daemon.configure(f'[hooks.gitlab]\nsecret_file = "{file}"\n')
        status, out, err = say("hook", "secret", "gitlab")
        assert (status, err) == (0, "")
        assert len(out) > 30


def test_no_secret_looks_like_an_option(monkeypatch):
    made = iter(["-a", "--b", "_good"])
    monkeypatch.setattr(hook.secrets, "token_urlsafe", lambda _: next(made))
    assert hook.new_secret(key=False) == "_good"


def test_the_list_of_hooks_has_the_url_that_forges_call(daemon, say):
    daemon.configure("[hooks.github]\n")
    _, out, _ = say("hook", "list")
    assert out.count("set server.public_url =") == 2
    assert '{"task_id": N}' in out
    assert {each["url"] for each in json.loads(say("hook", "list", "--json")[1])} == {
        None
    }
    text = daemon.config.read_text().replace(
        "[server]\n", '[server]\npublic_url = "https://hooks.example.org/x/"\n'
    )
    daemon.config.write_text(text)
    _, out, _ = say("hook", "list")
    assert "url:        https://hooks.example.org/x/api/webhooks/github\n" in out


@pytest.mark.parametrize("url", ["hooks.example.org", "https://u:p@h", "ftp://h", ""])
def test_a_public_url_that_nobody_can_call_is_refused(daemon, say, url):
    daemon.config.write_text(f'[server]\npublic_url = "{url}"\n')
    status, _, err = say("hook", "list")
    assert status == 2
    assert "server.public_url" in err


def test_gms_own_hook_can_be_tested(daemon, say, tmp_path):
    daemon.start()
    daemon.add_task("app", tmp_path / "a.git", tmp_path / "b.git")
    status, out, _ = say("hook", "test", "task-sync")
    assert status == 0
    assert "the signature is accepted" in out
    assert daemon.api("GET", "history") == []
    assert say("hook", "test", "task-sync", "--task", "app")[0] == 0
    assert len(daemon.api("GET", "history")) == 1
    text = daemon.config.read_text()
    daemon.config.write_text(
        re.sub('secret = ".*"', 'secret = "' + "x" * 40 + '"', text)
    )
    status, _, err = say("hook", "test", "task-sync")
    assert (status, "answered 401" in err) == (1, True)


@pytest.mark.parametrize("given", ["0", "8d", "999999999"])
def test_a_timeout_out_of_range_is_told_the_range(say, given):
    sides = ("--source", "/a", "--target", "/b", "--timeout", given)
    for words in (
        ("task", "add", "x", *sides),
        ("task", "set", "1", f"timeout={given}"),
    ):
        status, _, err = say(*words)
        assert status == 2
        assert "more than 0 s, at most 7d" in err


@pytest.mark.parametrize(
    "changes",
    [("branch=a", "refspecs=b"), ("force=true", "force=false"),
     ("source_branch=a", "refspecs=b"), ("branch=a", "source_branch=b"),
     ("name=a", "name=b")],
)  # fmt: skip
def test_two_ways_to_say_the_same_are_refused(say, changes):
    status, _, err = say("task", "set", "1", *changes)
    assert (status, "given in two ways" in err) == (2, True)


def test_several_refspecs_are_taken(daemon, say, tmp_path):
    daemon.start()
    daemon.add_task("app", tmp_path / "a.git", tmp_path / "b.git")
    assert say("task", "set", "app", "refspecs=refs/heads/main refs/tags/*")[0] == 0
    (task,) = daemon.api("GET", "tasks")
    assert task["refspecs"] == ["refs/heads/main", "refs/tags/*"]


@pytest.mark.parametrize("spec", [":38080", "*:38080", "0.0.0.0:38080"])
def test_our_own_address_needs_no_resolver(tmp_path, spec):
    config = load_config(
        {}, state=tmp_path, folder=tmp_path, overrides={"server.listen": (spec,)}
    )
    assert own_url(config, "x") == "http://127.0.0.1:38080/api/webhooks/x"


@pytest.mark.parametrize("words", [("--help",), ("task", "--help"), ("--version",)])
def test_help_that_nobody_reads_is_quiet(words):
    command = f'"{sys.executable}" -m gms_hookd {" ".join(words)} | true'
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_a_git_that_may_not_run_is_not_called_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    place = Environment({"PATH": str(tmp_path)}, tmp_path / "state")

    def git():
        found = [each for each in findings(place) if each.subject == "git"]
        return found[0].finding, found[0].remedy

    assert health._git() == "git: is not on the PATH"
    assert git()[0].startswith("not found")
    (tmp_path / "git").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "git").chmod(0o644)
    assert "may not be executed" in health._git()
    assert git() == (f"{tmp_path}/git may not be executed", f"chmod 755 {tmp_path}/git")
    (tmp_path / "git").chmod(0o755)
    assert "does not run" in git()[0]


def test_a_log_is_shown_once_after_a_retry():
    out = io.StringIO()
    screen = Screen(out, Style(0.0))
    screen.show("one\nprogress 1%\rtwo\n")
    screen.show_rest("one\nprogress 1%\rtwo\nthree\n")
    assert out.getvalue() == "one\ntwo\nthree\n"
    screen.show_rest("another log\n")
    assert out.getvalue().endswith("three\nanother log\n")


def test_a_task_that_is_removed_during_its_run_says_so(daemon, tmp_path):
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text('#!/bin/sh\ncase "$*" in *fetch*) exec sleep 600;; esac\nexec '
                   f'{shutil.which("git")} "$@"\n')  # fmt: skip
    git.chmod(0o755)
    daemon.start(PATH=f"{git.parent}:{os.environ['PATH']}")
    source, target = Repo(tmp_path / "a.git"), Repo(tmp_path / "b.git")
    source.commit("main")
    task = daemon.add_task("app", source, target)
    run = daemon.api("POST", "run", task_id=task)["id"]
    daemon.until(lambda: daemon.run(run)["status"] == "running")
    daemon.api("POST", "task/delete", id=task)
    ended = daemon.ended(run)
    assert ended["status"] == "cancelled"
    assert ended["error_message"] == "cancelled: the task was removed while this ran"


def test_a_guard_names_the_task_in_its_remedy(daemon, tmp_path):
    daemon.start()
    source, target = Repo(tmp_path / "a.git"), Repo(tmp_path / "b.git")
    target.commit("main")
    task = daemon.add_task("my-app", source, target, prune=True)
    ended = daemon.ended(daemon.api("POST", "run", task_id=task)["id"])
    assert "`gms-hookd task sync my-app --yes`" in ended["error_message"]


@pytest.mark.parametrize(
    ("words", "told"),
    [(("task", "add"), "10m"), (("trigger",), "0 to 300"), (("run", "list"), "success"),
     (("run", "list"), "default: 20"), (("task", "set"), "true or")],
)  # fmt: skip
def test_help_names_defaults_ranges_and_values(say, capsys, words, told):
    assert main.main([*words, "--help"]) == 0
    assert told in " ".join(capsys.readouterr().out.split())


def test_a_run_by_hand_that_joins_keeps_both_triggers(app, store):
    body = json.dumps({"name": "t", "source": "/a", "target": "/b"}).encode()
    ask(app, "POST", API + "task/create", body, control=True)
    first = store.write(runs.trigger, 1, runs.NewRun("webhook:github"), 1).result()
    for _ in range(2):
        shown = ask(app, "POST", API + "run", b'{"task_id": 1}', control=True)[1]
        assert shown["data"]["id"] == first
        assert shown["data"]["trigger"] == "manual, webhook:github"
    store.write(runs.claim, 10**15).result()
    store.write(runs.trigger, 1, runs.NewRun("cron"), 2).result()
    store.write(runs.requeue, first, runs.Return(3, "x")).result()
    run = store.read(runs.get, first).result()
    assert run.trigger == "cron, manual, webhook:github"
