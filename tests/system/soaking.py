"""A daemon under random load and one fault after the other, and what must hold then.

    tests/system/soak --seconds 60 --seed 1

It runs from a zipapp and begins with a store of schema 2. After each fault all is let
settle, and `tests/support/invariants.py` looks. What each fault violated is printed,
and a table at the end. As root the state is on a small disk of its own, which some of
the faults fill, slow down and stop.
"""

import argparse
import http.client
import itertools
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gms_hookd import pyz
from tests.support import invariants
from tests.support.disk import Disk
from tests.support.hosts import HttpHost
from tests.support.invariants import Pair
from tests.support.process import PAUSE, ROOT, Daemon, run_number
from tests.support.processes import offspring
from tests.support.repositories import Repo
from tests.support.seen import LEAKS, look, search
from tests.support.vendor import Vendor, closes

TASKS = 8
OLDER = ROOT / "tests" / "store" / "schema-2.sql"
MORE_FILES = 40  # that may be open beyond those of the first quiet moment
SETTLED = 90.0  # seconds
# A gms-hookd, from a zipapp, whose wall clock is ahead by what a file says.
CLOCKED = """
import sys, time
offset, place = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, place)
wall = time.time
def ahead():
    with open(offset) as file:
        return wall() + float(file.read() or 0)
time.time = ahead
time.time_ns = lambda: int(ahead() * 1e9)
from gms_hookd.cli import main as cli
raise SystemExit(cli.main())
"""
GONE = (OSError, EOFError, http.client.HTTPException, ValueError)


class World:
    """Sources, targets, a host, whom to tell, and the daemon between them."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.accepted: list[int] = []
        self.counts: Counter[str] = Counter()
        self.found: list[str] = []
        self.most_files = 0
        self.repos = folder / "repos"
        self.repos.mkdir()
        self.host = HttpHost(self.repos)
        self.vendor = Vendor()
        self.disk = Disk(folder / "disk")
        self.offset = folder / "offset"
        self.offset.write_text("0")
        self.archive = folder / "gms-hookd.pyz"
        self.builds = itertools.cycle(builds(folder))
        shutil.copy(next(self.builds), self.archive)
        self.daemon = self._daemon()
        self._begin()
        self.pairs = [self._pair(number) for number in range(TASKS)]

    def _daemon(self) -> Daemon:
        home = self.folder / "home"
        home.mkdir()
        made = Daemon(home)
        made.state = self.disk.path / "state"
        url = home / "url"
        url.write_text(self.vendor.url + "\n")
        url.chmod(0o600)
        self.settings = (
            "[sync]\nallow_protocols = ['https', 'ssh', 'file', 'http']\nworkers = 4\n"
            "attempts = 3\nstall = '5s'\n"
            f"[notify.ops]\nkind = 'webhook'\nurl_file = '{url}'\n"
        )
        made.configure(self.settings)
        words = "-c", CLOCKED, str(self.offset), str(self.archive)
        made.command = (sys.executable, *words)
        return made

    def _begin(self) -> None:
        """Start with an older store, of which a run and its delivery stay."""
        self.daemon.state.mkdir(0o700)
        with closing(sqlite3.connect(self.daemon.state / "gms-hookd.db")) as db:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.executescript(OLDER.read_text())
            db.execute("PRAGMA journal_mode=WAL")
        self.daemon.start()
        for task in self.daemon.api("GET", "tasks"):
            self.daemon.api("POST", "task/delete", task_id=task["id"])
        self.accepted.append(1)

    def replace(self) -> None:
        """Put the other build in the place of the one that runs."""
        fresh = self.archive.with_suffix(".new")
        shutil.copy(next(self.builds), fresh)
        fresh.replace(self.archive)

    def _pair(self, number: int) -> Pair:
        source = Repo(self.repos / f"source{number}.git")
        target = Repo(self.repos / f"target{number}.git")
        target.git("config", "core.logAllRefUpdates", "always")
        source.commit("main", "b1")
        forward = number % 2 == 1
        ends = [
            self.host.url(repo) if number // 2 % 4 == side + 1 else repo
            for side, repo in enumerate((source, target))
        ]
        policy = {"force": True, "prune": True}
        if forward:
            policy = {"refspecs": ["refs/heads/main:refs/heads/main"]}
            source.put({"refs/heads/b1": None})
        task = self.daemon.add_task(f"t{number}", *ends, **policy)
        made = Pair(task, source, target, forward)
        made.note()
        return made

    # --- what goes on all the time

    def act(self, seconds: float) -> None:
        """Push and look for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.chance.choice((self.push, self.watch))()
            PAUSE.wait(self.chance.uniform(0, 0.05))

    @contextmanager
    def triggers(self) -> Iterator[None]:
        """Trigger tasks all the time, from a thread of its own."""
        enough = threading.Event()

        def pour() -> None:
            while not enough.wait(0.005):
                self.trigger()

        with ThreadPoolExecutor(1) as pool:
            poured = pool.submit(pour)
            try:
                yield
            finally:
                enough.set()
                poured.result()

    def trigger(self) -> None:
        pair = random.choice(self.pairs)
        try:
            status, headers, _ = self.daemon.trigger(pair.id)
        except GONE:
            self.counts["unanswered"] += 1
            return
        self.counts[str(status)] += 1
        if status == 200:
            self.accepted.append(run_number(headers))
        elif status != 503:
            self.found.append(f"a trigger got {status}")

    def push(self) -> None:
        """Change a source in some way, or, seldom, a target."""
        pair = self.chance.choice(self.pairs)
        self.counts["pushes"] += 1
        if self.chance.random() < 0.1:
            self._outsider(pair)
        elif pair.forward:
            pair.source.commit("main")
        else:
            self._rewrite(pair.source)
        pair.note()

    def _rewrite(self, source: Repo) -> None:
        refs, way = source.refs(), self.chance.randrange(4)
        branch = f"refs/heads/b{self.chance.randint(1, 4)}"
        if way == 0 and branch in refs:
            source.put({branch: None})
        elif way == 1:
            source.commit("main", on=self.chance.choice(sorted(refs.values())))
        else:
            source.commit(self.chance.choice(("main", branch)))

    def _outsider(self, pair: Pair) -> None:
        """Put a commit of somebody else on top of a target."""
        if not pair.forward or pair.foreign or not pair.target.refs():
            return
        tip = pair.target.tip()
        new = pair.target.commit("aside", on=tip)
        pair.target.put({"refs/heads/aside": None})
        with suppress(AssertionError):  # a push came between: its lease must find that
            pair.target.git("update-ref", "refs/heads/main", new, tip)
            pair.before, pair.foreign = tip, new

    def watch(self) -> None:
        """Look at what others can see of the processes."""
        for child in offspring(self.daemon.process.pid):
            look("a command line", invariants.command(child))

    # --- what is done about it

    def settle(self) -> None:
        """Let all runs end, and look whether all is as it must be."""
        try:
            self.run_all()
            self.check(settled=True)
            for pair in [pair for pair in self.pairs if pair.foreign]:
                pair.target.put({"refs/heads/main": pair.before})
                pair.foreign = ""
            self.run_all()
            self.check(settled=True)
        except (AssertionError, *GONE, sqlite3.Error) as error:
            self.found.append(f"did not settle: {error!r}"[:2000])

    def run_all(self) -> None:
        for pair in self.pairs:
            self.accepted.append(self.daemon.api("POST", "run", task_id=pair.id)["id"])
        until = time.monotonic() + SETTLED
        while unfinished := self._unfinished():
            assert time.monotonic() < until, unfinished
            PAUSE.wait(0.05)

    def _unfinished(self) -> list[dict]:
        return [
            run
            for status in ("queued", "running")
            for run in self.daemon.api("GET", f"history?status={status}&limit=50")
        ]

    def check(self, *, settled: bool) -> None:
        store = self.daemon.state / "gms-hookd.db"
        self.found += invariants.of_store(store, self.accepted, settled=settled)
        self.found += invariants.of_notices(store, self.arrived)
        self.found += invariants.of_targets(self.pairs, settled=settled)
        caches = (self.daemon.state / "caches").glob("*/")
        targets = (pair.target.path for pair in self.pairs)
        self.found += invariants.of_leftovers(filter(Path.is_dir, (*caches, *targets)))
        self._check_process()
        self.found += LEAKS
        LEAKS.clear()

    def arrived(self) -> set[str]:
        return {got.headers.get("webhook-id", "") for got in self.vendor.got}

    def _check_process(self) -> None:
        pid = self.daemon.process.pid
        self.most_files = self.most_files or MORE_FILES + len(
            os.listdir(f"/proc/{pid}/fd")
        )
        until = time.monotonic() + 10
        while said := list(invariants.of_process(pid, self.most_files)):
            if time.monotonic() > until:
                self.found += said
                return
            PAUSE.wait(0.05)

    def end(self) -> None:
        """Let every notice arrive, stop, and look through all that is left."""
        try:
            # A target that answers gets at once what waits for it.
            self.daemon.api("POST", "notice/test", target="ops")
            waiting = "notices?status=waiting&limit=1"
            self.daemon.until(lambda: not self.daemon.api("GET", waiting))
        except (AssertionError, *GONE) as error:
            self.found.append(f"notices wait for ever: {error!r}"[:500])
        self.settle()
        self.daemon.signal(signal.SIGTERM)
        if self.daemon.wait() != 0:
            self.found.append(f"ended with {self.daemon.process.returncode}")
        for pair in self.pairs:
            pair.target.fsck()
        search(self.folder / "home")
        search(self.disk.path)
        self.found += LEAKS

    def close(self) -> None:
        self.daemon.close()
        self.host.stop()
        self.vendor.stop()
        self.disk.close()


def builds(folder: Path) -> tuple[Path, Path]:
    """Build two zipapps, in which no module is at the same place."""
    package = folder / "other" / pyz.PACKAGE.name
    shutil.copytree(pyz.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "__init__.py").open("a") as file:
        file.write(f"\nPADDING = '{os.urandom(2000).hex()}'\n")
    made = folder / "one.pyz", folder / "other.pyz"
    for file, sources in zip(made, (pyz.PACKAGE, package), strict=True):
        pyz.build(file, sources)
    return made


def no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


# --- the faults: each does its harm for a while, and ends it


def daemon_killed(world: World) -> None:
    world.daemon.kill()
    world.act(world.chance.uniform(0, 0.2))
    world.daemon.start()


def git_killed(world: World) -> None:
    for _ in range(10):
        world.act(0.1)
        gits = offspring(world.daemon.process.pid)
        with suppress(ProcessLookupError):
            if gits:
                os.kill(world.chance.choice(gits), signal.SIGKILL)
                world.counts["gits killed"] += 1


def disk_full(world: World) -> None:
    with world.disk.full():
        world.act(2)
    world.daemon.until(lambda: world.daemon.trigger(world.pairs[0].id)[0] == 200)


def disk_slow(world: World) -> None:
    with world.disk.slow():
        world.act(3)


def disk_stands_still(world: World) -> None:
    for _ in range(3):
        with world.disk.frozen():
            world.act(world.chance.uniform(0.1, 2))
        world.act(0.1)


def clock_stepped(world: World) -> None:
    step = world.chance.choice((-86400, -3600, -60, 60, 3600, 86400))
    world.offset.write_text(str(step))
    world.act(2)
    world.offset.write_text("0")


def network_lost(world: World) -> None:
    def hang(handler: object) -> bool:
        PAUSE.wait(world.chance.uniform(0, 1))
        return cut(handler)

    def cut(handler: object) -> bool:
        handler.cut()
        return True

    def busy(handler: object) -> bool:
        handler.answer(503)
        return True

    world.host.faults.append(world.chance.choice((hang, cut, busy)))
    world.act(2)
    world.host.faults.clear()


def target_of_notices_dies(world: World) -> None:
    """Have something to tell, and nobody who listens."""
    world.vendor.behaviour = world.chance.choice((closes, None))
    world.vendor.answer = 500, b"no"
    pair = world.pairs[0]
    away = pair.source.path.with_name("away")
    pair.source.path.rename(away)
    with suppress(*GONE):
        world.accepted.append(world.daemon.api("POST", "run", task_id=pair.id)["id"])
    PAUSE.wait(0.5)
    away.rename(pair.source.path)
    world.act(1)
    world.vendor.behaviour, world.vendor.answer = None, (200, b"ok")


def reloaded(world: World) -> None:
    for text in ("[server]\nnothing = 1", world.settings + "[retention]\nruns = '9d'"):
        world.daemon.configure(text)
        world.daemon.signal(signal.SIGHUP)
        world.act(0.5)
    world.daemon.configure(world.settings)
    world.daemon.signal(signal.SIGHUP)


def backed_up(world: World) -> None:
    before = list(world.accepted)
    copy = world.folder / "copy.db"
    copy.unlink(missing_ok=True)
    try:
        world.daemon.api("POST", "backup", path=str(copy))
    except (AssertionError, *GONE) as error:
        world.found.append(f"no backup: {error}")
        return
    world.act(0.5)
    world.found += invariants.of_store(copy, before, settled=False)


def upgraded(world: World) -> None:
    """Put another build in its place while it works, and restart, as `install` does."""
    world.replace()
    world.act(0.5)
    world.daemon.signal(signal.SIGTERM)
    world.act(0.3)
    if world.daemon.wait() != 0:
        world.found.append(f"stopped with {world.daemon.process.returncode}")
    world.daemon.start()


def stood_still(world: World) -> None:
    world.daemon.signal(signal.SIGSTOP)
    PAUSE.wait(1)
    world.daemon.signal(signal.SIGCONT)


FAULTS: tuple[Callable[[World], None], ...] = (
    daemon_killed,
    git_killed,
    disk_full,
    disk_slow,
    disk_stands_still,
    clock_stepped,
    network_lost,
    target_of_notices_dies,
    reloaded,
    backed_up,
    upgraded,
    stood_still,
)


def rotation(disk: Disk) -> list[Callable[[World], None]]:
    """Return the faults that can be done here, and say which cannot."""
    needs = {
        disk_full: disk.is_small,
        disk_slow: disk.can_be_slow,
        disk_stands_still: disk.can_freeze,
    }
    for fault, possible in needs.items():
        if not possible:
            print(f"{named(fault)}: skipped, it cannot be done here", flush=True)
    return [fault for fault in FAULTS if needs.get(fault, True)]


def named(fault: Callable[[World], None]) -> str:
    return fault.__name__.replace("_", " ")


def soak(world: World, seconds: float) -> tuple[Counter[str], Counter[str]]:
    """Do one fault after the other; count them, and what each violated."""
    times, violated = Counter[str](), Counter[str]()
    until = time.monotonic() + seconds
    possible, left = rotation(world.disk), list[Callable[[World], None]]()
    world.settle()
    while time.monotonic() < until or not times:
        left = left or world.chance.sample(possible, len(possible))
        fault = left.pop()
        name = named(fault)
        times[name] += 1
        with world.triggers():
            world.act(world.chance.uniform(0.2, 1))
            fault(world)
        world.settle()
        for said in world.found:
            print(f"VIOLATED after {name}: {said}", flush=True)
        violated[name] += len(world.found)
        world.found.clear()
    return times, violated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/var/tmp"))
    world = World(folder, random.Random(options.seed))
    try:
        times, violated = soak(world, options.seconds)
        world.end()
        for said in world.found:
            print(f"VIOLATED at the end: {said}")
        violated["the end"] = len(world.found)
        whole = not violated.total()
        if not whole:
            shutil.copytree(
                world.disk.path / "state", folder / "state", ignore=no_sockets
            )
    finally:
        world.close()
    print(f"\n{'fault':<26}{'times':>6}{'violations':>12}")
    for name in [*sorted(times), "the end"]:
        print(f"{name:<26}{times.get(name, 1):>6}{violated[name]:>12}")
    counted = ", ".join(f"{n} {count}" for n, count in sorted(world.counts.items()))
    print(f"seed {options.seed}; {len(world.accepted)} accepted; {counted}")
    if whole:
        shutil.rmtree(folder)
    else:
        print(f"all of it is in {folder}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
