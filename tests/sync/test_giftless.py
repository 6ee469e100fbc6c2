"""Large files between servers of others: giftless behind nginx, git-lfs between them.

`GMS_HOOKD_GIFTLESS` names a python that has giftless (pip install giftless into a
folder of its own; PyPI), and nginx is on the PATH.
"""

import hashlib
import os
import shutil
import subprocess

import pytest

from gms_hookd.git.credentials import Credential
from gms_hookd.model import RunStatus
from tests.support.hosts import HttpHost, certificate, free_port, wait_for_port
from tests.support.repositories import Repo, task

PYTHON = os.environ.get("GMS_HOOKD_GIFTLESS", "")
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="GMS_HOOKD_GIFTLESS names no python"),
    pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx"),
    pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs"),
]
CONTENT = os.urandom(300_000)
OID = hashlib.sha256(CONTENT).hexdigest()
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{OID}\nsize {len(CONTENT)}\n"
)
SERVE = """
import sys
from giftless.app import init_app
from werkzeug.serving import make_server
def adapter(store):
    options = {"path": store}
    local = "giftless.storage.local_storage:LocalStorage"
    return {"factory": "giftless.transfer.basic_streaming:factory",
            "options": {"storage_class": local, "storage_options": options}}
proxy = {"class": "werkzeug.middleware.proxy_fix:ProxyFix",
         "kwargs": {"x_host": 1, "x_proto": 1}}
jwt = {"factory": "giftless.auth.jwt:factory",
       "options": {"algorithm": "HS256", "private_key": "for tests only " * 3}}
app = init_app(additional_config={
    "AUTH_PROVIDERS": ["giftless.auth.allow_anon:read_write"],
    "TRANSFER_ADAPTERS": {"basic": adapter(sys.argv[1])}, "MIDDLEWARE": [proxy],
    "PRE_AUTHORIZED_ACTION_PROVIDER": jwt, "LEGACY_ENDPOINTS": False})
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""
NGINX = """
{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/a;
  uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {cert}; ssl_certificate_key {key};
    proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;
    proxy_set_header X-Forwarded-Host $http_host;
    location ~ /(info/lfs|objects)/ {{ proxy_pass http://127.0.0.1:{lfs}; }}
    location / {{ proxy_pass http://127.0.0.1:{git}; }}
  }}
}}
"""


class Forge:
    """git behind nginx by TLS and HTTP/2, with giftless for its large files."""

    def __init__(self, folder, lfs=True):
        folder.mkdir()
        self.git = HttpHost(folder)
        argv = (PYTHON, "-c", SERVE, str(folder / "store"))
        quiet = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
            "text": True,
        }
        self.processes = [subprocess.Popen(argv, **quiet)]
        port = int(self.processes[0].stdout.readline()) if lfs else self.git.server_port
        self.cert, key = certificate(folder)
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(
            folder=folder, port=self.port, cert=self.cert, key=key, lfs=port,
            git=self.git.server_port, user="" if os.geteuid() else "user root;",
        ))  # fmt: skip
        argv = ("nginx", "-p", str(folder), "-c", str(config), "-e", "stderr")
        self.processes.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
        wait_for_port(self.port)
        (folder / "team").mkdir()
        self.repo = Repo(folder / "team" / "app.git")
        self.url = f"https://127.0.0.1:{self.port}/team/app.git"

    def close(self):
        for process in reversed(self.processes):
            with process:
                process.terminate()
        self.git.stop()


@pytest.fixture
def forges(tmp_path):
    made = []

    def make(name, **more):
        made.append(Forge(tmp_path / name, **more))
        return made[-1]

    yield make
    for forge in made:
        forge.close()


def stored(forge):
    return [p.read_bytes() for p in forge.git.root.glob("store/**/*") if p.is_file()]


def upload(forge, tmp_path):
    """Push a large file as a developer does, by git-lfs."""
    place = tmp_path / "work"
    for argv in (
        ("git", "init", "-q", "-b", "main", str(place)),
        ("git", "-C", str(place), "lfs", "install", "--local"),
        ("git", "-C", str(place), "lfs", "track", "*.bin"),
    ):
        subprocess.run(argv, check=True, capture_output=True)
    (place / "a.bin").write_bytes(CONTENT)
    environ = os.environ | {"GIT_SSL_CAINFO": str(forge.cert)}
    me = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (
        ("add", "-A"),
        ("commit", "-qm", "large"),
        ("push", forge.url, "main"),
    ):
        argv = ("git", "-C", str(place), *me, *words)
        subprocess.run(argv, check=True, capture_output=True, env=environ)


def test_large_files_go_from_one_forge_to_another(forges, opened, tmp_path):
    source, target = forges("source"), forges("target")
    upload(source, tmp_path)
    hosts = [
        Credential(f.url, None, None, None, ca_file=f.cert) for f in (source, target)
    ]
    bench = opened(credentials=hosts)
    outcome = bench.sync(task(source.url, target.url))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.repo.refs() == source.repo.refs()
    assert stored(target) == [CONTENT]
    assert "warning" not in bench.log.text()


def test_a_forge_without_large_files_gets_the_branches(forges, opened, tmp_path):
    source, target = forges("source"), forges("target", lfs=False)
    upload(source, tmp_path)
    hosts = [
        Credential(f.url, None, None, None, ca_file=f.cert) for f in (source, target)
    ]
    bench = opened(credentials=hosts)
    outcome = bench.sync(task(source.url, target.url))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert target.repo.refs() == source.repo.refs()
    assert "warning: 1 LFS pointers were pushed without" in bench.log.text()
