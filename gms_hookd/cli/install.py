"""Install the service on this machine, upgrade it, remove it: each step is printed."""

import grp
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gms_hookd import __version__, pyz
from gms_hookd.cli import completion
from gms_hookd.cli.session import Args, Session
from gms_hookd.config.load import load_config
from gms_hookd.config.records import Config
from gms_hookd.contract import control_socket
from gms_hookd.errors import ClientError, Failure
from gms_hookd.files import flush_to_disk
from gms_hookd.git.errors import GitError
from gms_hookd.git.process import run
from gms_hookd.http.control import listens, readiness
from gms_hookd.service import installation
from gms_hookd.service.daemon import tls_context
from gms_hookd.service.findings import ERROR, Environment
from gms_hookd.service.identity import acting
from gms_hookd.service.inspection import listener
from gms_hookd.service.installation import File, Layout, Machine, Parts, Step

SLOW = 600.0  # seconds that a step may take: the service stops, a store is copied
READY = 30.0  # seconds until the service that was started must be ready
PAUSE = 0.2
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READYZ = "curl -fsS --unix-socket {} http://localhost/readyz"


def install(session: Session, args: Args) -> int:
    """Install, or upgrade what is installed; back to the old if the new fails."""
    return Installer(session.say).install(socket=args.socket, dry_run=args.dry_run)


def uninstall(session: Session, args: Args) -> int:
    """Remove what `install` made; what users made stays unless they say otherwise."""
    return Installer(session.say).uninstall(purge=args.purge, dry_run=args.dry_run)


def own_archive() -> tuple[Path | None, bytes]:
    """Return the archive that this runs from; None, and what is built, without one."""
    archive = pyz.PACKAGE.parent.absolute()
    if archive.is_file():
        return archive, archive.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "gms-hookd.pyz")
        pyz.build(file)
        return None, file.read_bytes()


@dataclass(frozen=True, slots=True)
class Installer:
    """Carries plans out, below a root.

    `path` is where it finds its commands; `archive` gives the program to install and
    where it lies.
    """

    say: Callable[[str], None]
    layout: Layout = Layout()
    path: str = PATH
    archive: Callable[[], tuple[Path | None, bytes]] = own_archive

    def install(self, *, socket: bool, dry_run: bool) -> int:
        """Print each step and do it; a Failure says what went wrong."""
        lacks = installation.missing(machine := self._look(dry_run), self.layout.root)
        for line in lacks:
            self.say(f"# needs {line}")
        if lacks and not dry_run:
            raise Failure(f"nothing was changed: needs {lacks[0]}")
        if not dry_run:
            self._refuse_broken_config(socket or machine.socket is not None)
        parts = self._parts(socket=socket)
        steps = installation.install_plan(self.layout, machine, parts)
        if dry_run:
            return self._show([*steps, self._ready_step()])
        self._carry_out(steps)
        self.say(f"\nready: {self.layout.program} {__version__}")
        self.say("next: gms-hookd check")
        return 0

    def uninstall(self, *, purge: bool, dry_run: bool) -> int:
        """Print each step and do it; name what stays."""
        machine = self._look(dry_run)
        steps = installation.uninstall_plan(self.layout, machine, purge=purge)
        if dry_run:
            return self._show(steps)
        self._each(steps)
        for path in installation.left(self.layout, machine, purge=purge):
            self.say(f"stays: {path}")
        return 0

    def _look(self, dry_run: bool) -> Machine:
        if os.geteuid() != 0 and not dry_run:
            raise Failure("only root can do this: use sudo, or --dry-run to see how")
        if os.geteuid() != 0:
            self.say("# not run by root: it may not see all that is there")
        return installation.look(self.layout)

    def _parts(self, *, socket: bool) -> Parts:
        archive, program = self.archive()
        listen = self._config().server.listen if socket else ()
        script = completion.script().encode()
        return Parts(
            archive, program, installation.brought(installation.UNIT), script, listen
        )

    def _config(self) -> Config:
        return load_config({}, state=self.layout.state, folder=self.layout.etc)

    def _refuse_broken_config(self, lent: bool) -> None:
        """Stop no daemon that neither the new program nor the old could start again.

        With lent sockets systemd listens. Raises ConfigError, Failure.
        """
        if not listens(control_socket(self.layout.state)):
            return
        with acting(state := self.layout.state):  # which may read less than root
            config = self._config()
            tls_context(config)
            for spec in () if lent else config.server.listen:
                _refuse_listener(state, spec)

    def _show(self, steps: Iterable[Step]) -> int:
        for step in steps:
            self._print(step)
        return 0

    def _print(self, step: Step) -> None:
        # All steps together are a script, should somebody rather do it by hand.
        self.say(f"# {step.what}\n{step.command}")

    def _carry_out(self, steps: Iterable[Step]) -> None:
        """Do the steps; where an upgrade fails, go back to what was before it."""
        os.umask(0o022)
        try:
            self._each(steps)
            self._await_ready()
        except (Failure, OSError) as error:
            problem = self._reason(error)
            if not self.layout.unfinished.exists():
                self._start_again()
                raise Failure(problem) from None
            self._go_back(problem)
        if self.layout.unfinished.exists():
            self._each(installation.finish_plan(self.layout))

    def _start_again(self) -> None:
        """Start what an upgrade stopped and did not come to replace."""
        if (self.layout.units / installation.UNIT).exists():
            self._run(f"systemctl start {installation.UNIT}")

    def _go_back(self, problem: str) -> None:
        self.say(f"\nthe upgrade failed: {problem}\n")
        *before, start = installation.back_plan(self.layout)
        self._each(before)
        try:
            self._do(start)
        except Failure:
            # It may be the store, which the new program has migrated.
            self._put_store_back(problem)
        self._each(installation.finish_plan(self.layout))
        raise Failure(f"{problem}: the old program serves again")

    def _put_store_back(self, problem: str) -> None:
        try:
            self._each(installation.store_plan(self.layout))
        except Failure as error:
            why = f"the old program does not start either: {self._reason(error)}"
            raise Failure(f"{problem}; {why}") from None

    def _each(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        self._print(step)
        if step.file:
            write(step.file)
            return
        status, said = self._run(step.command)
        if status:
            last = (said.strip().splitlines() or [f"exit status {status}"])[-1]
            raise Failure(f"{step.what}: {last}")

    def _run(self, command: str) -> tuple[int, str]:
        """Run a command of the shell; return its exit status and what it said."""
        environ = {"PATH": self.path, "LC_ALL": "C"}
        try:
            done = run(("sh", "-c", command), environ, SLOW)
        except GitError as error:
            raise Failure(str(error)) from None
        return done.status, done.err or done.out.decode(errors="replace")

    def _ready_step(self) -> Step:
        socket = control_socket(self.layout.state)
        return Step("wait until the service is ready", READYZ.format(socket))

    def _await_ready(self) -> None:
        self._print(self._ready_step())
        until = time.monotonic() + READY
        while reasons := self._unready():
            if time.monotonic() > until:
                raise Failure(f"the service is not ready: {'; '.join(reasons)}")
            time.sleep(PAUSE)

    def _unready(self) -> list[str]:
        try:
            return readiness(control_socket(self.layout.state))[0]
        except ClientError as error:
            return [str(error)]

    def _reason(self, error: Exception) -> str:
        """Say why it failed; if the service does not start, in its own words."""
        if not str(error).startswith("start "):
            return str(error)
        _, said = self._run(f"journalctl -u {installation.UNIT} --since -2min -o cat")
        return installation.reason(said) or str(error)


def _refuse_listener(state: Path, spec: str) -> None:
    found = listener(Environment({}, state, daemon=True, listeners=(spec,)), spec)
    if found.level == ERROR:
        why = f"{found.finding}: {found.remedy}"
        raise Failure(f"nothing was changed: server.listen: {why}")


def write(file: File) -> None:
    """Write a file at once or not at all, and make it last. Raises OSError."""
    file.path.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.path.with_name(f".{file.path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(fresh, flags, 0o600), "wb") as to:
        to.write(file.content)
        os.fchown(to.fileno(), 0, grp.getgrnam(file.group).gr_gid)
        os.fchmod(to.fileno(), file.mode)
        to.flush()
        os.fsync(to.fileno())
    fresh.replace(file.path)
    flush_to_disk(file.path.parent)
