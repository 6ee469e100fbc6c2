"""Notices of a daemon in a process of its own: killed at any moment, none is lost."""

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from urllib.parse import quote, unquote

import pytest

from tests.support import vendor as vendors
from tests.support.process import PAUSE, Daemon
from tests.support.repositories import Repo
from tests.support.seen import CANARY, look
from tests.support.vendor import Vendor

KILLS = int(os.environ.get("NOTICE_KILLS", "2"))
SPAN = float(os.environ.get("NOTICE_SPAN", "1"))  # seconds of a life at most
NOTICES = int(os.environ.get("NOTICE_COUNT", "8"))


@pytest.fixture
def daemon(tmp_path):
    made = Daemon(tmp_path)
    yield made
    made.close()


def configured(daemon, vendor, kind):
    (daemon.home / "url").write_text(vendor.url + "\n")
    (daemon.home / "url").chmod(0o600)
    daemon.configure(f"[notify.ops]\nkind = '{kind}'\nurl_file = 'url'\n")


def command(daemon, *words):
    place = "--config", daemon.config, "--state", daemon.state
    return subprocess.run(
        [sys.executable, "-m", "gms_hookd", *words, *place],
        env=daemon.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sync_that_fails_is_told_and_its_recovery_too(daemon, vendor, tmp_path):
    configured(daemon, vendor, "webhook")
    daemon.start()
    source = tmp_path / "source.git"
    task = daemon.add_task("app", source, Repo(tmp_path / "target.git").path)
    assert daemon.ended(daemon.api("POST", "run", task_id=task)["id"])
    daemon.until(lambda: len(vendor.got) == 1)
    assert json.loads(vendor.got[0].body)["type"] == "sync.failed"
    Repo(source).commit()
    assert daemon.ended(daemon.api("POST", "run", task_id=task)["id"])
    daemon.until(lambda: len(vendor.got) == 2)
    told = json.loads(vendor.got[1].body)
    assert (told["type"], told["data"]["failures"]) == ("sync.recovered", 1)
    listed = command(daemon, "notify", "list")
    assert listed.stdout.count(" sent ") == 2, listed.stderr
    (first, second) = daemon.api("GET", "notices?target=ops&status=sent")
    assert (first["event"], second["event"]) == ("recovered", "failed")
    assert second["task_id"] == task
    tried = command(daemon, "notify", "test", "ops")
    assert (tried.returncode, tried.stdout) == (0, "ops: sent: status 200: ok\n")
    vendor.answer = 404, b"no_service"
    assert command(daemon, "notify", "test", "ops").returncode == 1
    unknown = command(daemon, "notify", "test", "x")
    assert (unknown.returncode, "ops" in unknown.stderr) == (1, True)
    vendor.answer = 200, b"ok"
    sent_again = command(daemon, "notify", "resend", second["id"])
    assert "waiting" in sent_again.stdout, sent_again.stderr
    daemon.until(lambda: len(vendor.got) == 5)
    vendor.answer = 410, b"gone: /hook/T0K3N-of-vendor"
    daemon.api("POST", "notice/resend", id=first["id"])
    daemon.until(lambda: daemon.api("GET", "notices?status=dead"))
    status = daemon.api("GET", "status")
    (tally,) = status["notices"]
    assert (tally["target"], tally["waiting"]) == ("ops", 0)
    assert "1 notice for ops not delivered" in " ".join(status["needs_hands"])
    (found,) = (f for f in daemon.api("GET", "check") if f["subject"] == "notify ops")
    assert found["finding"].startswith("1 notice not delivered: status 410: gone")
    page = command(daemon, "notify", "list", "--before", first["id"], "--json")
    assert [each["id"] for each in json.loads(page.stdout)] == [second["id"]]
    assert "T0K3N" not in json.dumps(status)
    assert "T0K3N" not in daemon.log()
    for path in daemon.state.glob("gms-hookd.db*"):
        assert b"T0K3N" not in path.read_bytes()


def broken_tasks(daemon, count):
    """Have so many tasks fail, each once."""
    for number in range(count):
        source, target = (daemon.home / f"{side}-{number}.git" for side in "st")
        task = daemon.add_task(f"t{number}", source, target)
        daemon.api("POST", "run", task_id=task)


def unsent(daemon):
    """Count what is not told yet: runs that have not ended, notices that wait."""
    status = daemon.api("GET", "status")
    waiting = sum(each["waiting"] for each in status["notices"])
    return status["queue"]["queued"] + status["queue"]["running"] + waiting


def keys_by_task(vendor):
    found = defaultdict(set)
    for got in vendor.got:
        task = json.loads(got.body)["data"]["task"]["name"]
        found[task].add(got.headers["webhook-id"])
    return found


def test_each_notice_arrives_however_often_the_daemon_is_killed(daemon, vendor):
    """NOTICE_KILLS=100 NOTICE_COUNT=500 NOTICE_SPAN=3 is the whole of it."""
    configured(daemon, vendor, "webhook")
    daemon.start()
    broken_tasks(daemon, NOTICES)
    moments = random.Random(NOTICES)
    for _ in range(KILLS):
        PAUSE.wait(moments.uniform(0, SPAN))  # the moment, not a wait for anything
        daemon.kill()
        daemon.spawn()
    daemon.kill()
    early = len(keys_by_task(vendor))
    daemon.start()
    while left := unsent(daemon):
        daemon.until(lambda left=left: unsent(daemon) < left)
    keys = keys_by_task(vendor)
    print(f"{len(vendor.got)} requests, {early} notices were out at the last kill")
    assert len(keys) == NOTICES
    assert all(len(ids) == 1 for ids in keys.values())
    sent = daemon.api("GET", f"notices?status=sent&limit={NOTICES + 1}")
    assert {each["id"] for each in sent} == set().union(*keys.values())


def test_vendors_that_misbehave_hold_up_neither_syncs_nor_other_targets(
    daemon, vendor, tmp_path
):
    """While some hang or drip, all runs end and the good one hears of each."""
    elsewhere = Vendor()
    bad = {name: Vendor() for name in ("hangs", "drips", "floods", "closes_early")}
    for name, each in bad.items():
        each.behaviour = getattr(vendors, name)
    more = {f"hangs{n}": Vendor() for n in range(4)}
    for each in more.values():
        each.behaviour = vendors.hangs
    bad |= more | {"redirects": Vendor()}
    bad["redirects"].answer = 302, b""
    bad["redirects"].headers = {"Location": elsewhere.url}
    text = "".join(
        f"[notify.{name}]\nkind = 'webhook'\nurl = '{each.url}'\n"
        for name, each in {**bad, "z-good": vendor}.items()
    )
    daemon.configure(text)
    daemon.start()
    broken_tasks(daemon, 3)
    daemon.until(lambda: len(keys_by_task(vendor)) == 3)
    daemon.until(lambda: bad["redirects"].got)
    status = daemon.api("GET", "status")
    assert (status["queue"]["queued"], status["queue"]["running"]) == (0, 0)
    waiting = daemon.api("GET", "notices?status=waiting&target=hangs")
    assert [each["attempts"] for each in waiting] == [0, 0, 0], "it has hung long"
    assert all(len(each.got) == 1 for name, each in bad.items() if "hangs" in name)
    assert elsewhere.got == []
    for each in (*bad.values(), elsewhere):
        each.stop()


SECRET_KINDS = ("slack", "discord", "dingtalk", "feishu", "wecom", "telegram", "teams")
SECRET_KINDS += ("webhook", "ntfy", "gotify", "ping", "packagist")
SIGNING = ("dingtalk", "feishu", "webhook", "ntfy", "gotify", "packagist")


def test_nothing_secret_of_a_target_is_seen_anywhere(daemon, vendor):
    """Each vendor says back all that it was sent; conftest looks for the canary."""
    token = quote(f"bot-{CANARY}", safe="")

    def echoes(connection, _ending):
        got = vendor.got[-1]
        said = f"no: {got.path} {unquote(got.path)} {got.headers}".encode()
        head = f"HTTP/1.1 400 No\r\nContent-Length: {len(said)}\r\n\r\n"
        connection.sendall(head.encode() + said)

    vendor.behaviour = echoes
    (daemon.home / "secret").write_text(f"{CANARY}-of-a-target")
    (daemon.home / "secret").chmod(0o600)
    text = ""
    for kind in SECRET_KINDS:
        url = vendor.url.replace("T0K3N-of-vendor", token)
        text += f"[notify.{kind}]\nurl = '{url}?sig={token}'\nevents = ['EVENT']\n"
        text += "secret_file = 'secret'\n" if kind in SIGNING else ""
        text += "chat_id = 7\n" if kind == "telegram" else ""
        text += "username = 'u'\nrepository = 'r'\n" if kind == "packagist" else ""
        text = text.replace("EVENT", "changed" if kind == "packagist" else "failed")
    text += "[notify.email]\nurl = 'smtp://u@127.0.0.1:1'\npassword_file = 'secret'\n"
    daemon.configure(text + "from = 'a@b'\nto = ['a@b']\n")
    daemon.start()
    broken_tasks(daemon, 1)
    kinds = (*SECRET_KINDS, "email")
    told = len(kinds) - 1  # a failure is not for packagist
    tried = lambda: [n for n in daemon.api("GET", "notices") if n["attempts"]]  # noqa: E731
    daemon.until(lambda: len(tried()) == told)
    errors = {each["target"]: each["error"] for each in tried()}
    assert "no: /hook/***" in errors["slack"], errors
    for kind in kinds:
        answer = daemon.api("POST", "notice/test", target=kind)
        look(f"notify test {kind}", json.dumps(answer))
        assert not answer["sent"]
    for call in ("status", "check", "notices"):
        daemon.api("GET", call)
    for words in (("notify", "list"), ("metrics",)):
        done = command(daemon, *words)
        look(" ".join(words), done.stdout + done.stderr)
        assert "slack" in done.stdout, done.stderr
