"""Show the main job: real repositories, a real daemon, one signed trigger over HTTP.

The daemon serves in the main thread, as its signals want; the show goes on in another
one, through the very commands it prints. Nothing remains: all of it is in one
temporary directory.
"""

import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gms_hookd import log
from gms_hookd.auth import signature
from gms_hookd.cli.api_client import OverSocket, get
from gms_hookd.cli.in_process import held
from gms_hookd.cli.session import Args, Session
from gms_hookd.config.load import load_config
from gms_hookd.contract import FINAL, HOOKS
from gms_hookd.errors import Failure
from gms_hookd.git import process
from gms_hookd.http import client as http_client
from gms_hookd.http.control import listens
from gms_hookd.safetext import without_logins
from gms_hookd.service import daemon
from gms_hookd.threads import Threads


def show_demo(session: Session, args: Args) -> int:
    """Play the demo; its daemon serves in this thread until it is stopped."""
    log.silence()
    with stage(args.carry_out, session.say) as on:
        prepare(on)
        show = Show(on, _end if args.once else partial(_go_on, session), _end)
        show.start()
        with held(on.root / "state") as state:
            load = partial(load_config, on.environ, state=state.path)
            status = daemon.serve(load, state, on.environ)
    if show.error:
        raise show.error
    return status


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _go_on(session: Session) -> None:
    session.say("\nThe daemon goes on serving; Ctrl-C ends it and removes all this.")
    log.setup(sys.stderr, session.environ, redact=without_logins)


PATIENCE = 60.0
PAUSE = 0.05
HOOK = f"{HOOKS}task-sync"
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "demo"), ("EMAIL", "demo@example.org"))
}
CONFIG = """\
[server]
listen = ["127.0.0.1:{port}"]
"""
CURL = """
$ curl -d '{body}' -H 'Content-Type: application/json' \\
       -H "X-Hub-Signature-256: $signature" {url}"""
Say = Callable[[str], None]
Command = Callable[[Sequence[str], Mapping[str, str]], int]


class DemoError(Failure):
    """The show could not go on; the text is one line."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the show takes place; `run` carries out a command line of ours."""

    root: Path
    port: int
    run: Command
    say: Say

    @property
    def source(self) -> str:
        """The repository to sync from."""
        return str(self.root / "source.git")

    @property
    def target(self) -> str:
        """The repository to sync to."""
        return str(self.root / "target.git")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands: nothing of the operator's own set-up."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GMS_HOOKD_CONFIG": str(self.root / "config.toml"),
            "GMS_HOOKD_STATE": str(self.root / "state"),
        }

    def git(self, *args: str) -> str:
        """Run git as somebody who works on a repository; return what it prints."""
        home = {"HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1", **AUTHOR}
        done = process.run(("git", *args), self.environ | home, PATIENCE)
        if done.status:
            raise DemoError(str(done.failure(args[0])))
        return done.out.decode().strip()

    def shown_git(self, *args: str) -> None:
        """Show a git command and what it prints."""
        self.prompt("git", *args)
        self.say(self.git(*args))

    def command(self, *args: str) -> None:
        """Show one of our own commands and let it print."""
        self.prompt("gms-hookd", *args)
        if self.run(args, self.environ):
            raise DemoError(f"gms-hookd {args[0]} failed")

    def prompt(self, *words: str) -> None:
        """Show what an operator types."""
        shown = shlex.join(words).replace(str(self.root), "$DEMO")
        self.say(f"\n$ {shown}")


@contextmanager
def stage(run: Command, say: Say) -> Iterator[Stage]:
    """Set up the temporary directory, and remove it."""
    root = Path(tempfile.mkdtemp(prefix="gms-hookd-demo-"))
    try:
        port = _free_port()
        (root / "config.toml").write_text(CONFIG.format(port=port))
        yield Stage(root, port, run, say)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def prepare(on: Stage) -> None:
    """Make the repositories. Raises DemoError."""
    on.say("Two repositories; the source is one commit ahead.")
    on.say(f"\n$ DEMO={on.root}")
    for repository in (on.source, on.target):
        on.git("init", "-q", "--bare", "--initial-branch=main", repository)
    first = _commit(on, "the first commit")
    refspec = f"{first}:refs/heads/release"
    on.git("--git-dir", on.source, "push", "-q", on.target, refspec)
    _commit(on, "the second commit", "-p", first)
    on.shown_git("--git-dir", on.source, "log", "--oneline", "main")


def _show_target(on: Stage, moment: str) -> None:
    on.say(f"\nThe target {moment}:")
    on.shown_git("--git-dir", on.target, "log", "--oneline", "release")


def perform(on: Stage) -> None:
    """Play the show while the daemon serves. Raises DemoError, ClientError, OSError."""
    _await_daemon(on)
    sides = ("--source", on.source, "--target", on.target)
    on.command("task", "add", "demo", *sides, "--branch", "main:release")
    _show_target(on, "before")
    on.say("\nA CI job signs a request and posts it:")
    _await_run(on, _trigger(on))
    _show_target(on, "after")
    on.say("\nWhat is kept of it:")
    on.command("delivery", "list")
    on.command("run", "show", "1")


def _commit(on: Stage, message: str, *parent: str) -> str:
    where = ("--git-dir", on.source)
    tree = on.git(*where, "hash-object", "-t", "tree", "-w", os.devnull)
    commit = on.git(*where, "commit-tree", tree, "-m", message, *parent)
    on.git(*where, "update-ref", "refs/heads/main", commit)
    return commit


def _await_daemon(on: Stage) -> None:
    on.say("\nThe daemon, with a configuration of its own:")
    places = [
        f"{key}={on.environ[key]}" for key in ("GMS_HOOKD_CONFIG", "GMS_HOOKD_STATE")
    ]
    on.prompt("export", *places)
    on.prompt("cat", on.environ["GMS_HOOKD_CONFIG"])
    on.say(CONFIG.format(port=on.port).rstrip())
    on.say("\n$ gms-hookd serve &")
    _until(lambda: listens(on.root / "state" / "control.sock"), "the daemon")
    on.say(f"listens on 127.0.0.1:{on.port}; made a secret: state/webhook-secret")


def _trigger(on: Stage) -> int:
    """Post a signed trigger, shown as curl would send it; return the run's id."""
    url, body = f"http://127.0.0.1:{on.port}{HOOK}", '{"task_id": 1}'
    secret = (on.root / "state" / "webhook-secret").read_text().strip()
    signed = signature.sign(secret, body.encode())
    on.say(f"\n$ signature=$(printf %s '{body}' | gms-hookd sign); echo $signature")
    on.say(signed)
    on.say(CURL.format(body=body, url=url))
    posted = http_client.post_signed(url, body.encode(), signed, PATIENCE)
    on.say(posted.text)
    if posted.status != 200:
        raise DemoError(f"the trigger was answered with {posted.status}")
    return int(posted.location.rpartition("/")[2])


def _await_run(on: Stage, run_id: int) -> None:
    api = OverSocket(on.root / "state" / "control.sock")
    _until(lambda: get(api, "run", id=run_id)["status"] in FINAL, "the run")


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} was not ready within {PATIENCE:g} s")
        time.sleep(PAUSE)


@dataclass(slots=True)
class Show:
    """The show in its thread: what follows it, what ends it all, and how it failed."""

    on: Stage
    after: Callable[[], None]
    end: Callable[[], None]
    error: Exception | None = None

    def start(self) -> None:
        """Begin."""
        Threads().start("show", lambda _: self._play())

    def _play(self) -> None:
        try:
            perform(self.on)
            self.after()
        except Exception as error:  # noqa: BLE001 - raised by the main thread
            self.error = error
            self.end()
