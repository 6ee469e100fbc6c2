"""Real repositories for tests, made by fast-import: one process a change."""

import os
import re
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from gms_hookd.git.process import Stop
from gms_hookd.model import Task, Undo
from gms_hookd.runlog import RunLog
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.sync.job import SyncJob

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C",
}


OID = re.compile("[0-9a-f]{40,64}")


@cache
def empty(options: tuple[str, ...]) -> dict[str, bytes]:
    """Give the files of a new bare repository, and "" for each folder."""
    with TemporaryDirectory() as made:
        argv = ("git", "init", "-q", "--bare", "--template=", "-b", "main", *options)
        subprocess.run((*argv, made), check=True, env=ENVIRON)
        found = sorted(Path(made).rglob("*"))
        return {
            str(path.relative_to(made)): path.read_bytes() if path.is_file() else b""
            for path in found
        }


class Repo:
    """A bare repository with the shorthands that tests need."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            for name, text in empty(options).items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(text) if text else (path / name).mkdir()

    def __str__(self) -> str:
        return str(self.path)

    def git(self, *args: str, stdin: bytes | None = None, at: str | None = "") -> str:
        where = () if at is None else (f"--git-dir={self.path}",)
        done = subprocess.run(
            ("git", "-c", "core.fsync=none", *where, *args),
            input=stdin,
            capture_output=True,
            check=False,
            env=ENVIRON,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape")

    def commit(
        self, *refs: str, on: str | None = None, files: dict | None = None
    ) -> str:
        """Add a commit to each ref (on top of it, or of another); give the last id."""
        refs = refs or ("main",)
        bases = {r: on or self._base(full(r)) for r in refs}
        text = b"".join(self._commit(r, bases[r], files or {}) for r in refs)
        text += b"get-mark :1\n"
        return self.git("fast-import", "--quiet", "--force", stdin=text).strip()

    def _base(self, ref: str) -> str | None:
        """Give the id of a ref, most often without a process."""
        loose = self.path / ref
        if loose.is_file() and OID.fullmatch(oid := loose.read_text().strip()):
            return oid
        packed = loose.exists() or (self.path / "packed-refs").exists()
        return self.refs().get(ref) if packed else None

    def _commit(self, ref: str, base: str | None, files: dict) -> bytes:
        self.serial = getattr(self, "serial", 0) + 1
        files = files or {"file": f"{self.path} {self.serial} {os.urandom(4).hex()}"}
        words = f"commit {self.serial}\n".encode()
        parts = [
            f"commit {full(ref)}\nmark :1\n",
            f"committer t <t@example.org> {self.serial} +0000\n",
            f"data {len(words)}\n{words.decode()}",
            f"from {base}\n" if base else "",
            *(f"M 644 inline {n}\ndata {len(t)}\n{t}\n" for n, t in files.items()),
        ]
        return "".join(parts).encode()

    def set(self, **refs: str | None) -> None:
        self.put({full(name): oid for name, oid in refs.items()})

    def put(self, refs: dict[str, str | None]) -> None:
        """Set refs to ids, or delete them; deletions come first."""
        gone = [f"delete {r}\n" for r, oid in refs.items() if oid is None]
        here = [f"update {r} {oid}\n" for r, oid in refs.items() if oid]
        for lines in (gone, here):
            if lines:
                self.git("update-ref", "--stdin", stdin="".join(lines).encode())

    def refs(self) -> dict[str, str]:
        """Give all refs with their ids, most often without a process."""
        if (loose := self._loose()) is not None:
            return loose
        out = self.git("for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ") for line in out.split("\n") if line)

    def _loose(self) -> dict[str, str] | None:
        """Give the refs where each is a file with an id, as a push leaves them."""
        if (self.path / "packed-refs").exists():
            return None
        files = filter(Path.is_file, sorted(self.path.glob("refs/**/*")))
        with suppress(FileNotFoundError):  # one goes just now
            found = {
                str(p.relative_to(self.path)): p.read_text().strip() for p in files
            }
            plain = all(map(OID.fullmatch, found.values()))
            if plain and not any(name.endswith(".lock") for name in found):
                return found
        return None

    def tip(self, ref: str = "main") -> str:
        ref = full(ref)
        return self._base(ref) or self.git("rev-parse", "--verify", ref).strip()

    def head(self) -> str:
        return self.git("symbolic-ref", "HEAD").strip()

    def copy_a_pack(self, times: int) -> None:
        pack = next((self.path / "objects/pack").glob("*.pack"))
        for number in range(times):
            for kind in (".pack", ".idx"):
                copy = pack.with_name(f"pack-{number:040x}{kind}")
                copy.write_bytes(pack.with_suffix(kind).read_bytes())

    def fsck(self) -> None:
        self.git("fsck", "--full", "--strict")

    def hook(self, name: str, script: str) -> None:
        path = self.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)


def full(name: str) -> str:
    return name if name.startswith("refs/") else "refs/heads/" + name


def task(source, target, *refspecs: str, **changes) -> Task:
    values = {
        "id": 1, "key": "k", "name": "n", "source": str(source), "target": str(target),
        "refspecs": refspecs, "force": False, "prune": False, "enabled": True,
        "timeout": None, "created_at": 0, "updated_at": 0,
    }  # fmt: skip
    return Task(**values | changes)


class Bench:
    """An engine, and what its last run left to be remembered."""

    def __init__(self, root: Path, environ=None, engine=None, **settings) -> None:
        self.caches = root / "caches"
        self.caches.mkdir(exist_ok=True)
        (root / "home").mkdir(exist_ok=True)
        environ = {"PATH": os.environ["PATH"]} | (environ or {})
        settings = EngineSettings(root / "home", **settings)
        self.engine = engine or Engine(self.caches, settings, environ)
        self.known: dict[str, str] = {}
        self.log = RunLog()
        self.stop = Stop()

    def sync(self, it: Task, **job):
        self.log = RunLog()
        if job.get("confirmed") is True:  # as one who says yes to what is shown now
            shown = self.engine.plan(SyncJob(it, self.known), self.log, self.stop)
            job |= {"confirmed": shown.held, "verify": True}
        given = {"known": self.known} | job
        outcome = self.engine.sync(SyncJob(it, **given), self.log, self.stop)
        self.known = dict(outcome.known)
        return outcome

    def undo(self, it: Task, done, **job):
        """Put back what a run did, by its outcome."""
        refs = tuple(row for row in done.refs if row.acted or row.in_doubt)
        return self.sync(it, undo=Undo(7, refs), **job)

    def commands(self) -> list[str]:
        """Name the git commands of the last run that are in its log."""
        lines = self.log.text().split("\n")
        return [line.split()[2] for line in lines if line.startswith("$ git ")]


def leftovers(folder: Path) -> list[str]:
    """Name what a git that was killed has left."""
    names = [p.name for p in folder.rglob("*")]
    return [n for n in names if n.endswith(".lock") or n.startswith("tmp_")]
