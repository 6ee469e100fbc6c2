"""Fixtures: a clock of our own, a real store, real repositories."""

import gc
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.signature import hub_keys
from gms_hookd.auth.whitelist import Whitelist
from gms_hookd.futures import done
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import Store
from gms_hookd.store.refusals import Refusals
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.threads import Pool, Threads
from gms_hookd.web.gms_hook import GmsHook
from gms_hookd.web.guard import Guard
from gms_hookd.web.routes import App, Policy
from gms_hookd.workers.running import Context, RunningRuns
from tests.support.hosts import SSHD, HttpHost, SshHost
from tests.support.process import Daemon
from tests.support.repositories import Bench, Repo
from tests.support.seen import CANARY, LEAKS, look, search
from tests.support.vendor import Vendor

pytest_plugins = ("tests.support.side_by_side",)


def pytest_configure():
    # What a shell runs behind its back begins with SIGINT ignored, and so would what
    # the tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Each of the many processes would compile the package again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    gc.disable()  # what is collected is no garbage, and to look took a quarter of it


def pytest_collection_finish():
    gc.freeze()  # nor do the processes look through it
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_canary_is_seen():
    """Fail the session where a secret got into a log, a row, an answer or an output."""
    yield
    assert not LEAKS, "\n".join(LEAKS)


@pytest.fixture(autouse=True)
def searched(request):
    """Look, when all is closed, through what a test has left in its folder."""
    wanted = "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if wanted else None
    yield
    if folder:
        search(folder)


@pytest.fixture
def open_place():
    """Give a folder that every user may enter.

    Not below pytest's own, which each of its processes closes to others as it begins.
    """
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o711)
        yield folder
        search(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    for name, text in report.sections:
        look(f"{item.nodeid}: {name}", text)
    return report


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Give the file of a store without content, which is quicker copied than made."""
    path = tmp_path_factory.mktemp("store") / "gms-hookd.db"
    Store.open(path).close()
    return path


@pytest.fixture
def store(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path)
    opened = Store.open(tmp_path / "gms-hookd.db")
    yield opened
    opened.close()


SECRET = f"correct horse battery staple {CANARY}"

MASK = Mask([SECRET])  # milliseconds to make, and never changed

TOKENS = Tokens(("t0ken", "old-t0ken"), ("r3ad",))


def guard(**more):
    settings = {
        "hook": "task-sync",
        "provider": "gms",
        "keys": hub_keys([SECRET]),
        "whitelist": Whitelist([]),
        "proxies": Whitelist([]),
        "buckets": Buckets(0),
    }
    return Guard(**{**settings, **more})


@pytest.fixture
def engine(tmp_path):
    for folder in ("caches", "home"):
        (tmp_path / folder).mkdir()
    settings = EngineSettings(tmp_path / "home")
    return Engine(tmp_path / "caches", settings, {"PATH": "/usr/bin:/bin"})


@pytest.fixture
def context(store, clock, engine):
    running, threads = RunningRuns(), Threads()
    pools = [Pool(threads, name, 2) for name in ("plan", "copy", "look")]
    given = {"mask": MASK, "clock": clock, "monotonic": clock}
    yield Context(store, Refusals(store, clock), running, *pools, engine, **given)
    running.close()
    for pool in pools:
        pool.close()


@pytest.fixture
def make_app(context):
    """Make an application whose gate, token or readiness a test chooses."""

    def make(tokens=TOKENS, ready=lambda: done([]), anonymous=None, **gate_settings):
        own = guard(**gate_settings)
        hook = GmsHook(own, context)
        counted = replace(own, buckets=anonymous or Buckets(0))
        policy = Policy({"task-sync": hook}, tokens, ready, anonymous=counted)
        return App(context, policy)

    return make


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def source(tmp_path):
    repo = Repo(tmp_path / "source.git")
    repo.commit()
    return repo


@pytest.fixture
def target(tmp_path):
    return Repo(tmp_path / "target.git")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def http_host(tmp_path):
    host = HttpHost(tmp_path)
    yield host
    host.stop()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    if not SSHD.exists() or not os.access("/run", os.W_OK):
        pytest.skip("needs /usr/sbin/sshd (openssh-server), started as root")
    host = SshHost(tmp_path_factory.mktemp("sshd"))
    yield host
    host.stop()


@pytest.fixture
def opened(tmp_path):
    """Make an engine with settings; it is closed at the end."""
    made = []

    def make(environ=None, **settings):
        settings = {"allow_protocols": ("https", "http", "ssh", "file")} | settings
        made.append(Bench(tmp_path, environ, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.engine.close()


@pytest.fixture
def daemon(tmp_path):
    (tmp_path / "home").mkdir()
    made = Daemon(tmp_path / "home")
    yield made
    made.close()


class SmallDisk:
    """A file system of its own, of 1 MiB."""

    def __init__(self, place):
        place.mkdir(exist_ok=True)
        self.place = place
        mount = ("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
        if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
            pytest.skip("needs root to mount a small tmpfs")

    def fill(self):
        """Leave no room for a single byte."""
        block = bytes(4096)
        with suppress(OSError), (self.place / "filler").open("wb", 0) as file:
            while file.write(block):
                pass

    def free(self):
        """Make room."""
        (self.place / "filler").unlink(missing_ok=True)
        grow = ("mount", "-o", "remount,size=40m", str(self.place))
        subprocess.run(grow, check=True)

    def close(self):
        subprocess.run(("umount", "-l", str(self.place)), check=True)


@pytest.fixture
def small_disk():
    """Make small file systems; a test that may not is skipped."""
    with ExitStack() as made:

        def make(place):
            disk = SmallDisk(place)
            made.callback(disk.close)
            return disk

        yield make


@pytest.fixture
def vendor():
    made = Vendor()
    yield made
    made.stop()
