"""What each command does: asks the API, shows the answer, gives the exit status.

With a daemon running the API is asked over its control socket; without one this
process holds the state directory meanwhile and asks an application of its own.
"""

import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from gms_hookd import check, client, config, daemon, log, render, signature
from gms_hookd.client import Api, ClientError, RefusedError, get, post
from gms_hookd.config import Config, ConfigError
from gms_hookd.demo import Show, prepare, stage
from gms_hookd.model import RunStatus
from gms_hookd.redact import redacted
from gms_hookd.render import Look
from gms_hookd.service import Service
from gms_hookd.state import State, StateError, control_socket
from gms_hookd.store import StoreError
from gms_hookd.watch import Screen, follow

Args = SimpleNamespace
HOOKS = "/api/webhooks/"
SLOW = 3600.0
SERVICE_STATE = Path("/var/lib/gms-hookd")
SERVICE_CREDENTIALS = Path("/run/credentials/gms-hookd.service")
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class Failure(Exception):
    """The command did not work; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a command has at hand: environment, output, configuration, state."""

    environ: Mapping[str, str]
    out: TextIO
    look: Look
    file: str | None
    state: Path

    def say(self, text: object) -> None:
        """Print a line."""
        print(text, file=self.out, flush=True)

    def config(self, **overrides: object) -> Config:
        """Read the configuration. Raises ConfigError."""
        return config.load(
            with_credentials(self.environ, self.state),
            file=self.file,
            state=self.state,
            overrides=overrides,
        )

    def show(self, args: Args, value: Any, text: Callable[[Any, Look], str]) -> int:
        """Print an answer of the API, as text or as it is."""
        self.say(render.as_json(value) if args.json else text(value, self.look))
        return 0


def with_credentials(environ: Mapping[str, str], state: Path) -> Mapping[str, str]:
    """Let root see the secrets which systemd has handed to the service of this state.

    Without them a command would sign with another secret than the daemon expects.
    """
    usable = state == SERVICE_STATE and os.access(SERVICE_CREDENTIALS, os.R_OK)
    if "CREDENTIALS_DIRECTORY" in environ or not usable:
        return environ
    return {**environ, "CREDENTIALS_DIRECTORY": str(SERVICE_CREDENTIALS)}


@dataclass(frozen=True, slots=True)
class Desk:
    """The API of the running daemon, or of the service opened in this process."""

    api: Api
    service: Service | None = None


@contextmanager
def opened(session: Session) -> Iterator[Desk]:
    """Find the daemon, or hold the state directory in its place meanwhile."""
    socket = control_socket(session.state)
    if client.listens(socket):
        yield Desk(client.OverSocket(socket))
        return
    settings = session.config()
    with held(session.state) as state, interruptible():
        service = Service.open(settings, state, session.environ)
        try:
            yield Desk(client.InProcess(service.app.handle), service)
        finally:
            service.close()


@contextmanager
def held(path: Path) -> Iterator[State]:
    """Hold the state directory. Raises StateBusy."""
    state = State.open(path)
    try:
        yield state
    finally:
        state.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let what ends a process end a command as Ctrl-C does, its git included."""
    defaults = [n for n in ENDINGS if signal.getsignal(n) is signal.SIG_DFL]
    for number in defaults:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in defaults:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def api_of(session: Session) -> Iterator[Api]:
    """Give the API, wherever it is."""
    with opened(session) as desk:
        yield desk.api


def which(task: str) -> dict[str, int | str]:
    """Return how the API is asked for TASK: an id, or else a name."""
    number = task.isascii() and task.isdigit()
    return {"id": int(task)} if number else {"name": task}


def task_id(api: Api, task: str) -> int:
    """Return the id of TASK."""
    by = which(task)
    return int(by["id"] if "id" in by else get(api, "task", **by)["id"])


def task_add(session: Session, args: Args) -> int:
    """Add a task and print its id."""
    with api_of(session) as api:
        added = post(
            api,
            "task/create",
            {
                "name": args.name,
                "source": args.source,
                "target": args.target,
                "refspecs": args.refspecs,
                "force": args.force,
                "prune": args.prune,
                "enabled": not args.disabled,
                "timeout": args.timeout,
            },
        )
    session.say(added["id"])
    return 0


def task_list(session: Session, args: Args) -> int:
    """List the tasks."""
    with api_of(session) as api:
        return session.show(args, get(api, "tasks"), render.tasks)


def task_show(session: Session, args: Args) -> int:
    """Show a task."""
    with api_of(session) as api:
        return session.show(args, get(api, "task", **which(args.task)), render.task)


def task_set(session: Session, args: Args) -> int:
    """Change a task."""
    return _update(session, args.task, dict(args.changes))


def task_enable(session: Session, args: Args) -> int:
    """Let a task take triggers."""
    return _update(session, args.task, {"enabled": True})


def task_disable(session: Session, args: Args) -> int:
    """Let a task refuse triggers."""
    return _update(session, args.task, {"enabled": False})


def _update(session: Session, task: str, changes: Mapping[str, object]) -> int:
    with api_of(session) as api:
        post(api, "task/update", {"id": task_id(api, task), **changes})
    return 0


def task_remove(session: Session, args: Args) -> int:
    """Remove a task."""
    with api_of(session) as api:
        post(api, "task/delete", {"id": task_id(api, args.task)})
    return 0


def task_sync(session: Session, args: Args) -> int:
    """Run a task now, show what git says, then what became of each ref."""
    if args.dry_run:
        return _plan(session, args.task)
    with opened(session) as desk:
        body = {"task_id": task_id(desk.api, args.task), "confirmed": args.yes}
        run = _watched(session, desk, post(desk.api, "run", body)["id"])
    if run["refs"]:
        session.say(render.refs(run["refs"], session.look))
    return _ended(session, run)


def _plan(session: Session, task: str) -> int:
    with api_of(session) as api:
        plan = post(api, "task/plan", {"task_id": task_id(api, task)}, SLOW)
    if plan["refs"]:
        session.say(render.refs(plan["refs"], session.look))
    said = plan["error_message"] or render.short(plan["commit_range"])
    if plan["status"] != RunStatus.SUCCESS:
        raise Failure(f"would be {plan['status']}: {said}")
    session.say(f"would be success: {said or 'nothing to do'}")
    return 0


def _watched(session: Session, desk: Desk, run_id: int) -> Any:
    screen = Screen(session.out, session.look)
    if desk.service is None:
        return _watched_afar(session, desk.api, run_id, screen)
    own = _OwnWork(desk.service, run_id)
    try:
        return follow(desk.api, run_id, screen, own.pause)
    except KeyboardInterrupt:
        post(desk.api, "run/cancel", {"id": run_id})
        raise
    finally:
        own.thread.join()


def _watched_afar(session: Session, api: Api, run_id: int, screen: Screen) -> Any:
    try:
        return follow(api, run_id, screen)
    except KeyboardInterrupt:
        screen.clear()
        session.say(f"run {run_id} goes on; `gms-hookd run cancel {run_id}` ends it")
        raise


class _OwnWork:
    """One run carried out in this process, attempt after attempt."""

    def __init__(self, service: Service, run_id: int) -> None:
        self._again = partial(service.carry_out, run_id)
        self.thread = self._again()

    def pause(self, seconds: float) -> None:
        """Wait a little, and see that the run goes on when it is due again."""
        if not self.thread.is_alive():
            self.thread = self._again()
        time.sleep(seconds)


def _ended(session: Session, run: Mapping[str, Any]) -> int:
    if run["status"] != RunStatus.SUCCESS:
        raise Failure(render.result(run, Look(session.look.now)))
    session.say(render.result(run, session.look))
    return 0


def run_list(session: Session, args: Args) -> int:
    """List runs, the newest first."""
    with api_of(session) as api:
        query: dict[str, str | int] = {"limit": args.limit}
        if args.task is not None:
            query["task_id"] = task_id(api, args.task)
        if args.status is not None:
            query["status"] = args.status
        return session.show(args, get(api, "history", **query), render.runs)


def run_show(session: Session, args: Args) -> int:
    """Show a run."""
    with api_of(session) as api:
        return session.show(args, get(api, "run", id=args.id), render.run)


def run_log(session: Session, args: Args) -> int:
    """Print the log of a run, so far."""
    with api_of(session) as api:
        text = get(api, "run", id=args.id)["details"]
        if text is None:
            text = get(api, "run/output", id=args.id)["text"]
    Screen(session.out, Look(session.look.now)).show(text)
    return 0


def run_retry(session: Session, args: Args) -> int:
    """Queue the task of an ended run again."""
    with opened(session) as desk:
        run = post(desk.api, "run/retry", {"id": args.id})
        later = "" if desk.service is None else ", for when the daemon runs"
    session.say(f"run {run['id']}: {run['status']}{later}")
    return 0


def run_cancel(session: Session, args: Args) -> int:
    """Cancel a run."""
    with api_of(session) as api:
        run = post(api, "run/cancel", {"id": args.id})
    session.say(f"run {run['id']}: {run['status']}")
    return 0


def delivery_list(session: Session, args: Args) -> int:
    """List deliveries, the newest first."""
    query: dict[str, str | int] = {"limit": args.limit}
    if args.hook is not None:
        query["hook"] = args.hook
    with api_of(session) as api:
        return session.show(args, get(api, "deliveries", **query), render.deliveries)


def delivery_show(session: Session, args: Args) -> int:
    """Show a delivery."""
    with api_of(session) as api:
        return session.show(args, get(api, "delivery", id=args.id), render.delivery)


def backup(session: Session, args: Args) -> int:
    """Copy the store to a file, replaced at once or not at all.

    The application writes into the state directory, where a confined daemon may write
    and the operator may read.
    """
    file = Path(args.file).absolute()
    if file.is_dir():
        raise Failure(f"{file}: is a directory")
    between = session.state.absolute() / f"backup-{secrets.token_hex(8)}"
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with api_of(session) as api:
            post(api, "backup", {"path": str(between)}, SLOW)
        _copy(between, fresh)
        fresh.replace(file)
    finally:
        for leftover in (fresh, between):
            with suppress(OSError):
                leftover.unlink()
    return 0


def _copy(old: Path, new: Path) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with old.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())


def sign(session: Session, args: Args) -> int:
    """Print the signature of a body."""
    body = _standard_input() if args.file == "-" else Path(args.file).read_bytes()
    session.say(signature.sign(_secret(session.config()), body))
    return 0


def _standard_input() -> bytes:
    return sys.stdin.buffer.read()


def _secret(settings: Config) -> str:
    if settings.webhook.secrets:
        return settings.webhook.secrets[0]
    raise ConfigError(
        "webhook.secret: there is none that this user may read: set WEBHOOK_SECRET,"
        " or run this as the daemon's user, or let `gms-hookd serve` make one"
    )


def trigger(session: Session, args: Args) -> int:
    """Post a signed trigger as a CI job would; print what it was answered with."""
    settings = session.config()
    secret = _secret(settings)
    body = b'{"task_id": %d}' % _trigger_id(session, args.task)
    url = _waiting(args.url or own_url(settings, settings.webhook.name), args.wait)
    patience = client.PATIENCE + (args.wait or 0)
    posted = client.post_signed(url, body, signature.sign(secret, body), patience)
    return _answered(session, args, posted)


def _trigger_id(session: Session, task: str) -> int:
    if "id" in (by := which(task)):
        return int(by["id"])
    with api_of(session) as api:
        return int(get(api, "task", **by)["id"])


def own_url(settings: Config, hook: str) -> str:
    """Return a hook's URL on this machine, by the first address we listen on."""
    spec = settings.server.listen[0]
    if spec.startswith("unix:"):
        return f"{spec}:{HOOKS}{hook}"
    host, _, port = spec.rpartition(":")
    if host in ("", "*", "0.0.0.0", "[::]"):  # noqa: S104 - not bound
        host = "localhost"
    scheme = "https" if settings.server.tls_cert else "http"
    return f"{scheme}://{host}:{port}{HOOKS}{hook}"


def _waiting(url: str, seconds: int | None) -> str:
    if seconds is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}wait={seconds}"


def _answered(session: Session, args: Args, posted: client.Posted) -> int:
    answer = posted.body if isinstance(posted.body, dict) else {}
    if posted.status not in (200, 202, 409, 502) or "message" not in answer:
        said = answer.get("error") or posted.text.strip() or "nothing"
        raise Failure(f"answered {posted.status}: {render.safe(str(said))[:300]}")
    if args.json:
        session.say(render.as_json(answer))
    if "run" in answer:
        return _waited(session, args, answer["run"])
    if not args.json:
        number = posted.location.rpartition("/")[2]
        session.say(render.safe(f"{answer['message']}: run {number}"))
    return 0


def _waited(session: Session, args: Args, run: Mapping[str, Any]) -> int:
    if run["status"] != RunStatus.SUCCESS:
        raise Failure(render.result(run, Look(session.look.now)))
    if not args.json:
        session.say(render.result(run, session.look))
    return 0


def serve(session: Session, args: Args) -> int:
    """Serve until told to stop."""
    overrides = {"server.listen": tuple(args.listen)} if args.listen else {}
    log.setup(sys.stderr, session.environ, redact=redacted)
    with held(session.state) as state:
        return daemon.serve(lambda: session.config(**overrides), state, session.environ)


def show_demo(session: Session, args: Args) -> int:
    """Play the demo; its daemon serves in this thread until told to stop."""
    with stage(args.carry_out, session.say) as on:
        prepare(on)
        show = Show(on, _end if args.once else partial(_go_on, session), _end)
        show.start()
        with held(on.root / "state") as state:
            load = partial(config.load, on.environ, state=state.path)
            status = daemon.serve(load, state, on.environ)
    if show.error:
        raise show.error
    return status


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _go_on(session: Session) -> None:
    session.say("\nThe daemon goes on serving; Ctrl-C ends it and removes all this.")
    log.setup(sys.stderr, session.environ, redact=redacted)


def show_check(session: Session, args: Args) -> int:
    """Look at configuration and environment; 1 if something is wrong."""
    found = check.findings(_place(session))
    said = render.as_json(check.objects(found)) if args.json else None
    session.say(said or check.text(found, session.look))
    wrong = sum(finding.level == check.ERROR for finding in found)
    if wrong:
        raise Failure(f"{wrong} of {len(found)} findings are errors")
    return 0


def _place(session: Session) -> check.Place:
    place = check.Place(session.environ, session.state)
    try:
        place = replace(place, config=session.config())
        place = replace(place, daemon=client.listens(control_socket(session.state)))
        if session.state.exists():
            place = replace(place, tasks=_all_tasks(session))
    except (ConfigError, ClientError, RefusedError, StateError, StoreError) as error:
        return replace(place, problem=str(error))
    return place


def _all_tasks(session: Session) -> list[dict[str, Any]]:
    with api_of(session) as api:
        found: list[dict[str, Any]] = get(api, "tasks")
        return found
