"""Passwords, tokens and keys of a serving daemon are nowhere to be seen."""

import base64
import io
import json
import logging
import os
import random
import shutil
import sqlite3
import zlib
from contextlib import closing
from urllib.parse import quote

import pytest

from gms_hookd import log
from gms_hookd.config.load import load_config
from gms_hookd.forges.registry import FORGES, scheme_of
from gms_hookd.http.message import Request
from gms_hookd.safetext.mask import Mask
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from tests.support.hosts import HttpHost, certificate
from tests.support.process import Daemon, run_number
from tests.support.repositories import Repo
from tests.support.seen import CANARY, LEAKS, codes, found, look, rows, search, windows
from tests.support.wiring import answered

PASSWORD = f"p4ss-{CANARY}% &"
TOKEN = f"t0k3n-{CANARY}"
PROXY = "pr0xy-password-of-the-suite"
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
        "https_proxy": f"http://bob:{PROXY}@192.0.2.1:3128",
        "ALL_PROXY": f"http://bob:{PROXY}@192.0.2.1:3128",
        "no_proxy": "127.0.0.1,localhost",
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
    for secret in (*spellings(), private, PROXY):
        assert not any(secret in text for text in public), secret


def texts(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.read_bytes().decode("latin-1") for path in files]


PROVIDERS = {
    "dockerhub": None, "gitee": "password", "coding": "v1", "gitea": None,
    "github": None, "azuredevops": "basic", "argo-events": "bearer",
    "generic": "key", "gitlab": "token",
}  # fmt: skip
ECHO = "#!/bin/sh\ncat >&2 {0}\nprintf >&2 'so: %s' \"$(cat {0})\"\nexit 1\n"


class Place:
    """A service whose every setting is a secret, and all that it lets be seen."""

    def __init__(self, home, seed):
        self.home, self.random = home, random.Random(seed)
        letters = 'abcdefXYZ0123456789+/=%-_.~ &"<\\é密'
        names = (*PROVIDERS, "password", "webhook")
        self.secrets = {
            n: "a" + "".join(self.random.choices(letters, k=30)) + "z" for n in names
        }
        self.secrets["token"] = "".join(self.random.choices("ab0+/=%-_", k=40))
        self.proxy = "".join(self.random.choices("abcdef0123456789", k=24))
        environ = {
            "PATH": os.environ["PATH"],
            "https_proxy": f"http://bob:{self.proxy}/x#y@127.0.0.1:1",
        }
        self.config = load_config(environ, file=str(self.written()), state=home)
        self.state = StateDirectory.open(home / "state")
        self.log = io.StringIO()
        self.handler = log.setup(self.log, {}, level=logging.DEBUG)
        self.service = Service.open(self.config, self.state, environ)
        log.redact(self.service.mask.line)
        self.answers = []

    def written(self):
        (self.home / "password").touch(0o600)
        (self.home / "password").write_text(self.secrets["password"])
        lines = [f"[webhook]\nsecret = {json.dumps(self.secrets['webhook'])}"]
        lines += ["rate_limit = 0", "[retention]", 'bodies = "7d"', "[api]"]
        lines += [f"token = {json.dumps(self.secrets['token'])}"]
        lines += ["[sync]", "attempts = 1", "[credentials.'https://127.0.0.1:1/']"]
        lines += ["username = 'bob'", f"password_file = '{self.home}/password'"]
        for name, scheme in PROVIDERS.items():
            lines += [f"[hooks.{name}]", f"secret = {json.dumps(self.secrets[name])}"]
            lines += [f"scheme = '{scheme}'"] if scheme else []
        file = self.home / "config.toml"
        file.touch(0o600)
        file.write_text("\n".join(lines))
        return file

    def ask(self, method, path, query="", headers=(), body=b"", control=False):
        own = {"content-type": "application/json", **dict(headers)}
        asked = Request(method, path, query, own, body, "192.0.2.1", control)
        answer = answered(self.service.app, asked).result(30)
        self.answers.append(answer.body)
        return answer

    def api(self, path, **fields):
        where = f"/api/v1/sync/{path}"
        body = json.dumps(fields).encode()
        return json.loads(self.ask("POST", where, body=body, control=True).body)

    def deliver(self, name, headers=(), **fields):
        """Send what is proven, and has what its forge would put in."""
        secret = self.secrets[name]
        scheme = scheme_of(name, PROVIDERS[name], [secret], {})
        url = "https://127.0.0.1:1/t/a.git"
        sample = FORGES[name].sample(url, "refs/heads/main")
        body = json.dumps({**sample.payload, **fields}).encode()
        proof = scheme.sign(body, secret, 0)
        given = {**sample.headers, **proof.headers, **dict(headers)}
        wire = {n.lower(): v.encode().decode("latin-1") for n, v in given.items()}
        query = f"key={proof.key}" if proof.key else ""
        path = f"/api/webhooks/{name}"
        return self.ask("POST", path, query, wire, proof.body or body)

    def sync(self, name, source, target):
        """Carry out a run, and read all that is kept of it."""
        task = self.api("task/create", name=name, source=source, target=target)
        run_id = self.api("run", task_id=task["data"]["id"])["data"]["id"]
        self.service.carry_out(run_id).join(60)
        self.ask("GET", "/api/v1/sync/run", f"id={run_id}", control=True)
        run = json.loads(self.answers[-1])["data"]
        assert run["status"] == "failed", run
        return run

    def close(self):
        self.service.close()
        self.state.close()
        logging.getLogger().removeHandler(self.handler)


@pytest.fixture
def place(request, tmp_path):
    made = Place(tmp_path, request.node.name)
    yield made
    made.close()


def near_misses(secret):
    for code in {quote(secret, safe=""), quote(secret), quote(quote(secret, safe=""))}:
        for name in ("dockerhub", "Dockerhub", "nobody", "runs"):
            yield from (
                f"/api/webhooks/{name}/{code}", f"/api/webhooks/{name}&key={code}",
                f"/api/webhooks/{name}%3Fkey={code}", f"/api/webhooks/{name}%2F{code}",
                f"//api//webhooks/{name}/{code}", f"/api/webhook/{name}/{code}",
                f"/{code}", f"/x/{code}/y", f"/api/v1/sync/{code}", f"/healthz/{code}",
                f"/{'p' * 170}{code}",
            )  # fmt: skip


def headers_with(secret, random_):
    written = [code.decode() for code in codes(secret) if code.isascii()]
    texts = [secret, f"/api/webhooks/x?key={quote(secret)}", f"https://b:{secret}@h/"]
    for number, text in enumerate((*written, *texts)):
        yield f"x-note-{number}", "y" * random_.randrange(200) + text
    yield f"x-{quote(secret, safe='').replace('%', '-')}", "v"


def test_no_run_of_any_secret_is_in_a_log_a_row_or_an_answer(place, tmp_path):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    source.commit()
    said = "\n".join(code.decode() for s in place.secrets.values() for code in codes(s))
    (tmp_path / "said").write_text(said)
    target.hook("pre-receive", ECHO.format(tmp_path / "said"))
    runs = [
        place.sync("refused", str(source), str(target)),
        place.sync("proxy", "https://127.0.0.1:1/t/a.git", str(target)),
    ]
    assert all("***" in run["details"] + run["error_message"] for run in runs)
    for name, secret in place.secrets.items():
        for path in near_misses(secret):
            assert place.ask("POST", path).status in (400, 401, 403, 404, 405)
        for key in ("name", "source", "target", "refspecs"):
            fields = {"name": "x", "source": "/s", "target": "/t", key: f"/x/{secret}"}
            assert place.api("task/create", **fields)["code"] == 400
        bearer = {"authorization": f"Bearer {place.secrets['token']}"}
        for query in (f"{quote(secret)}=1", f"id={quote(secret)}", f"name={secret}"):
            place.ask("GET", "/api/v1/sync/task", query, bearer)
        if name in PROVIDERS:
            other = place.random.choice(list(place.secrets.values()))
            extra = {"password": secret, "token": secret, "secret": secret, "x": other}
            assert place.deliver(name, headers_with(other, place.random)).status == 200
            place.deliver(name, headers_with(secret, place.random), **extra)
            assert place.deliver(name, ref=f"refs/heads/{other}").status == 200
    for number in range(1, 40):
        for call in ("delivery", "delivery/parcel"):
            place.ask("GET", f"/api/v1/sync/{call}", f"id={number}", control=True)
    runs = windows((*place.secrets.values(), place.proxy))
    for kept in (place.log.getvalue().encode(), *place.answers):
        assert not found(kept, runs), kept[:2000]
    for kept in rows(place.state.database):
        assert not found(kept, runs), kept[:2000]
    assert place.log.getvalue().count("***") > 100


def test_a_secret_that_was_exchanged_is_masked_at_once_and_the_old_one_still(place):
    old, new = place.secrets["github"], "an-other-secret-of-this-hook-0123"
    text = (place.home / "config.toml").read_text()
    (place.home / "config.toml").write_text(text.replace(json.dumps(old)[1:-1], new))
    file = str(place.home / "config.toml")
    place.service.adopt(load_config({}, file=file, state=place.home))
    assert place.service.context.mask(f"{old} {new}") == "*** ***"
    assert isinstance(place.service.context.mask, Mask)


@pytest.mark.parametrize("name", ["log", "store.db", "answer"])
@pytest.mark.parametrize("code", [lambda c: c, base64.b64encode, zlib.compress])
def test_a_canary_that_gets_out_is_seen(tmp_path, name, code):
    text = code(f"so says {CANARY} again".encode())
    if name == "store.db":
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.execute("CREATE TABLE t(x)")
            db.execute("INSERT INTO t VALUES(?)", (text,))
            db.commit()
    elif name == "log":
        (tmp_path / name).write_bytes(text)
    else:
        look(name, text)
    search(tmp_path)
    seen, LEAKS[:] = LEAKS[:], []
    assert bool(seen) == (name == "store.db" or code is not zlib.compress)
    for left in tmp_path.iterdir():
        left.unlink()
