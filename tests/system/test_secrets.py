"""Passwords, tokens and keys of a serving daemon are nowhere to be seen."""

import base64
import json
import os
import shutil
from urllib.parse import quote

import pytest

from tests.support.hosts import HttpHost, certificate
from tests.support.process import Daemon, run_number
from tests.support.repositories import Repo

PASSWORD = "p4ss-c4n4ry/+=% &"
TOKEN = "t0k3n-c4n4ry_" + "x" * 20
SECRETS = {"password": PASSWORD, "token": TOKEN}
USERS = {"password": "bot", "token": "x-access-token"}
SPY = """#!/bin/sh
case "$2" in fetch|push|ls-remote) ;; *) env >> {place}/environ ;; esac
echo "$@" >> {place}/argv
exec {git} "$@"
"""
LOOK = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' >> {0}/argv; env >> {0}/hook-environ\n"


@pytest.fixture
def host(tmp_path):
    made = HttpHost(tmp_path / "repos", tls=certificate(tmp_path))
    for kind, secret in SECRETS.items():
        made.let_in(USERS[kind], secret)
    yield made
    made.stop()


@pytest.fixture
def seen(tmp_path):
    """Give a folder where a git in front of git, and hooks, note what they see."""
    place = tmp_path / "seen"
    place.mkdir()
    spy = place / "git"
    spy.write_text(SPY.format(place=place, git=shutil.which("git")))
    spy.chmod(0o755)
    return place


@pytest.fixture
def daemon(tmp_path, host, sshd, seen):
    (tmp_path / "home").mkdir()
    made = Daemon(tmp_path / "home")
    tables = ""
    for kind, secret in SECRETS.items():
        file = tmp_path / f"{kind}-file"
        file.write_text(secret + "\n")
        file.chmod(0o600)
        tables += f'[credentials."{host.base}/{kind}/"]\n{kind}_file = "{file}"\n'
        tables += 'username = "bot"\n' if kind == "password" else ""
    keys = f'ssh_key_file = "{sshd.key}"\nssh_known_hosts = "{sshd.known_hosts}"\n'
    made.configure(f"[sync]\nattempts = 1\n{keys}{tables}")
    made.environ |= {
        "PATH": f"{seen}:{os.environ['PATH']}",
        "SSL_CERT_FILE": str(tmp_path / "cert.pem"),
        **dict.fromkeys(("GIT_TRACE", "GIT_TRACE_CURL", "GIT_CURL_VERBOSE"), "1"),
    }
    yield made.start()
    made.close()


def pair(folder, seen):
    folder.mkdir(parents=True, exist_ok=True)
    source, target = Repo(folder / "source.git"), Repo(folder / "target.git")
    source.commit()
    target.hook("pre-receive", LOOK.format(seen))
    return source, target


def spellings():
    for kind, secret in SECRETS.items():
        both = base64.b64encode(f"{USERS[kind]}:{secret}".encode()).decode()
        yield from (
            secret,
            quote(secret),
            quote(secret, safe=""),
            both.rstrip("=")[:-1],
        )


def test_no_secret_of_a_daemon_is_anywhere_to_be_seen(
    daemon, host, sshd, seen, tmp_path
):
    ways = {
        "password/to-here": (host.url, str),
        "password": (host.url, host.url),
        "token": (host.url, host.url),
        "ssh": (sshd.url, sshd.url),
    }
    runs = []
    for name, (there, back) in ways.items():
        source, target = pair(tmp_path / "repos" / name, seen)
        task = daemon.add_task(
            name.replace("/", "-"), there(source), back(target), force=True
        )
        runs.append(daemon.ended(run_number(daemon.trigger(task)[1])))
        assert target.refs() == source.refs(), runs[-1]["details"]
        source.commit()
        if name in SECRETS:
            (tmp_path / f"{name}-file").write_text(SECRETS[name] + "-wrong\n")
            runs.append(daemon.ended(run_number(daemon.trigger(task)[1])))
            assert "uthentication" in runs[-1]["error_message"]
    given = {h.get("Authorization") for _, _, h in host.requests} - {None}
    assert {f"Bearer {TOKEN}"} | host.accounts <= given
    private = sshd.key.read_text().split("\n")[2]
    public = {json.dumps(runs), daemon.log(), *texts(seen), *texts(daemon.state)}
    assert all((seen / n).exists() for n in ("argv", "environ", "hook-environ"))
    assert "git-remote-https" in (seen / "argv").read_text()
    for secret in (*spellings(), private):
        assert not any(secret in text for text in public), secret


def texts(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.read_bytes().decode("latin-1") for path in files]
