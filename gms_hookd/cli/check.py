"""Look at configuration and environment; say of each finding what to do about it.

The commands about the daemon itself: serve, check its place, show the main job.
"""

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gms_hookd.cli import api_client
from gms_hookd.cli.api_client import ApiError, get
from gms_hookd.cli.render import paint
from gms_hookd.cli.session import Args, Session, api_of
from gms_hookd.cli.terminal import Style, as_json
from gms_hookd.config.load import refuse_weak
from gms_hookd.config.records import Config
from gms_hookd.errors import ConfigError, Failure
from gms_hookd.git import url as giturl
from gms_hookd.git.command import PROXIES
from gms_hookd.git.credentials import CredentialStore, access, pinning
from gms_hookd.git.errors import GitError
from gms_hookd.git.ownership import untrusted
from gms_hookd.git.process import Limits, Stop, execute
from gms_hookd.git.url import GitUrl
from gms_hookd.http import client as http_client
from gms_hookd.http.client import ClientError
from gms_hookd.http.descriptors import (
    FEW_DESCRIPTORS,
    MORE_DESCRIPTORS,
    admitted,
    attainable_descriptors,
    descriptors,
)
from gms_hookd.http.listener import listen
from gms_hookd.runlog import RunLog
from gms_hookd.safetext import safe
from gms_hookd.service.state_dir import StateError, control_socket, unfit
from gms_hookd.store import StoreError
from gms_hookd.store.dbthread import SQLITE_VERSION

OK, WARNING, ERROR = "ok", "warning", "error"
Version = tuple[int, ...]
OLDEST_PYTHON = (3, 11)
OLDEST_GIT = (2, 32)
OLDEST_SQLITE = (3, 24)
# The last release with a known hole of each series (git's release notes up to 2.56).
HOLES = ((2, 39, 3), (2, 40, 3), (2, 41, 2), (2, 42, 3), (2, 43, 6), (2, 44, 3),
         (2, 45, 3), (2, 46, 3), (2, 47, 2), (2, 48, 1), (2, 49, 0),
         (2, 50, 0))  # fmt: skip
LEAST_DISK = 1 << 30
RELEASED = 1_767_225_600  # 2026-01-01: a clock before that is not set
AHEAD = 60
SHORT_SECRET = 16
IMAGES = frozenset({"dockerhub", "msr"})  # who names an image, no repository


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok`, `warning` or `error`, what is so, what to do."""

    level: str
    subject: str
    finding: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What is looked at, as far as it is known."""

    environ: Mapping[str, str]
    state: Path
    daemon: bool | None = None
    unready: Sequence[str] = ()
    warnings: Sequence[str] = ()
    descriptors: int | None = None
    config: Config | None = None
    tasks: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None


def findings(place: Environment) -> list[Finding]:
    """Look at everything."""
    return [finding for style in LOOKS for finding in style(place)]


def text(found: Sequence[Finding], style: Style) -> str:
    """Write the findings for people."""
    return "\n".join(_line(finding, style) for finding in found)


def objects(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Write the findings as JSON objects."""
    return [asdict(finding) for finding in found]


def _line(finding: Finding, style: Style) -> str:
    level = paint(f"{finding.level:<7}", finding.level, style)
    remedy = f"\n{'':8}-> {safe(finding.remedy)}" if finding.remedy else ""
    return f"{level} {finding.subject}: {safe(finding.finding)}{remedy}"


def _python(_place: Environment) -> Iterator[Finding]:
    version = sys.version_info[:3]
    level = OK if version >= OLDEST_PYTHON else ERROR
    remedy = None if level == OK else "install Python 3.11 or newer"
    yield Finding(level, "python", f"{_dotted(version)} at {sys.executable}", remedy)


def _sqlite(_place: Environment) -> Iterator[Finding]:
    level = OK if SQLITE_VERSION >= OLDEST_SQLITE else ERROR
    remedy = None if level == OK else f"needs {_dotted(OLDEST_SQLITE)} or newer"
    yield Finding(level, "sqlite", _dotted(SQLITE_VERSION), remedy)


def _git(place: Environment) -> Iterator[Finding]:
    said = _output(place.environ, "git", "--version")
    if said is None:
        yield Finding(ERROR, "git", "not found", f"install git in {_path(place)}")
        return
    yield git_finding(said)


def git_finding(said: str) -> Finding:
    """Judge what `git --version` said."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    version = tuple(int(part or 0) for part in found.groups()) if found else ()
    if version < OLDEST_GIT:
        return Finding(ERROR, "git", said, "needs git 2.32 or newer")
    hole = version < HOLES[0] or any(
        version[:2] == last[:2] and version <= last for last in HOLES
    )
    if hole:
        remedy = "upgrade, unless your distribution has patched this version itself"
        return Finding(WARNING, "git", f"{said} has known security holes", remedy)
    return Finding(OK, "git", said)


def _lfs(place: Environment) -> Iterator[Finding]:
    said = _output(place.environ, "git", "lfs", "version")
    if said is not None:
        yield Finding(OK, "git-lfs", said)
        return
    strict = place.config is not None and place.config.sync.lfs == "strict"
    wanted = " although sync.lfs is strict" if strict else ""
    yield Finding(
        WARNING if strict else OK,
        "git-lfs",
        f"not found: LFS objects are not synced{wanted}",
        "install git-lfs if a source keeps files in LFS",
    )


def _output(environ: Mapping[str, str], *argv: str) -> str | None:
    """Return the first line that a command prints; None where it does not work."""
    limits = Limits(time.monotonic() + 10, Stop(), RunLog())
    try:
        done = execute(argv, {"PATH": environ.get("PATH", os.defpath)}, limits)
    except GitError:
        return None
    said = done.out.decode(errors="replace").strip()
    return said.split("\n")[0] if done.status == 0 and said else None


def _path(place: Environment) -> str:
    return place.environ.get("PATH", os.defpath)


def _state(place: Environment) -> Iterator[Finding]:
    state = place.state
    if not state.exists():
        yield Finding(OK, "state", f"{state} does not exist yet; serve makes it")
        return
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        remedy = "run as root or as the user of the daemon, or give --state"
        yield Finding(ERROR, "state", f"{state} may not be used", remedy)
    elif found := unfit(state):
        problem, remedy = found
        yield Finding(ERROR, "state", f"{state} {problem}", remedy)
    else:
        yield Finding(OK, "state", str(state))


def _disk(place: Environment) -> Iterator[Finding]:
    there = next(p for p in (place.state, *place.state.parents) if p.exists())
    free = shutil.disk_usage(there).free
    enough = free >= LEAST_DISK
    remedy = None if enough else "make room: runs wait while the disk is full"
    level = OK if enough else WARNING
    yield Finding(level, "disk", f"{free >> 20} MiB free at {there}", remedy)


def _clock(place: Environment) -> Iterator[Finding]:
    now = time.time()
    stamps = [p.stat().st_mtime for p in place.state.glob("gms-hookd.db*")]
    newest = max(stamps, default=0)
    if now < max(RELEASED, newest - AHEAD):
        remedy = "set the clock; timestamps and retention depend on it"
        said = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        yield Finding(ERROR, "clock", f"{said} lies in the past", remedy)
    else:
        yield Finding(OK, "clock", time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _secrets(place: Environment) -> Iterator[Finding]:
    if place.config is None:
        return
    hooks = (place.config.webhook, *place.config.hooks)
    for hook in hooks:
        subject = f"hook {hook.name}"
        if not hook.secrets:
            yield Finding(OK, subject, "no secret yet; serve makes one")
        elif min(map(len, hook.secrets)) < SHORT_SECRET:
            remedy = "openssl rand -hex 32, then set it here and at the sender"
            yield Finding(WARNING, subject, "a secret is short", remedy)
        else:
            yield Finding(OK, subject, f"{len(hook.secrets)} active secret(s)")


def _proxies(place: Environment) -> Iterator[Finding]:
    for name in PROXIES:
        user, at, _ = place.environ.get(name, "").partition("://")[2].rpartition("@")
        if at and (odd := re.search("[/#?@]", user)):
            remedy = f"write {odd[0]} in user or password as {quote(odd[0], safe='')}"
            said = f"the address ends for git at a {odd[0]} before its host"
            yield Finding(WARNING, name, said, remedy)


def _hooks(place: Environment) -> Iterator[Finding]:
    known = {task[key] for task in place.tasks for key in ("id", "name")}
    for hook in place.config.hooks if place.config else ():
        subject = f"hook {hook.name}"
        missing = [str(task) for task in hook.tasks or () if task not in known]
        if missing:
            remedy = f"correct hooks.{hook.name}.tasks, or add them (task add)"
            yield Finding(WARNING, subject, f"no task {', '.join(missing)}", remedy)
        if hook.tasks is None and hook.provider in IMAGES:
            remedy = f'name some: hooks.{hook.name}.tasks = ["..."]'
            yield Finding(WARNING, subject, "starts nothing: it has no tasks", remedy)


def _configuration(place: Environment) -> Iterator[Finding]:
    if place.problem:
        subject = "store" if place.config else "configuration"
        yield Finding(ERROR, subject, place.problem)
    elif place.config:
        yield _judged(place.config)
    for warning in place.config.warnings if place.config else ():
        yield Finding(WARNING, "configuration", warning)


def _judged(config: Config) -> Finding:
    try:
        refuse_weak(config, config.server.listen)
    except ConfigError as error:
        return Finding(ERROR, "configuration", str(error))
    return Finding(OK, "configuration", str(config.file or "no file"))


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _daemon(place: Environment) -> Iterator[Finding]:
    if place.daemon is None:
        return
    for reason in place.unready:
        yield Finding(ERROR, "daemon", f"not ready: {reason}")
    for warning in place.warnings:
        yield Finding(WARNING, "daemon", warning)
    said = "running" if place.daemon else "not running"
    remedy = None if place.daemon else "systemctl start gms-hookd, or gms-hookd serve"
    yield Finding(OK, "daemon", said, remedy)


def _descriptors(place: Environment) -> Iterator[Finding]:
    if place.descriptors is None:
        return
    found = f"{place.descriptors} files may be open at a time"
    if place.descriptors >= FEW_DESCRIPTORS:
        yield Finding(OK, "descriptors", found)
        return
    few = f"only {found}, {admitted(place.descriptors)} of them connections"
    yield Finding(WARNING, "descriptors", few, MORE_DESCRIPTORS)


def _listeners(place: Environment) -> Iterator[Finding]:
    known = place.config is not None and place.daemon is not None
    for spec in place.config.server.listen if known and place.config else ():
        if place.daemon or _is_file(spec):
            yield Finding(OK, "listen", f"{spec} is in use")
        else:
            yield _listener(spec)


def _is_file(spec: str) -> bool:
    return spec.startswith("unix:") and Path(spec.removeprefix("unix:")).exists()


def _listener(spec: str) -> Finding:
    try:
        listen(spec).close()
    except ValueError as error:
        return Finding(ERROR, "listen", str(error), "write HOST:PORT or unix:PATH")
    except OSError as error:
        remedy = "stop what listens there, or change server.listen"
        why = str(error.strerror or error).partition(" (")[0]
        return Finding(ERROR, "listen", f"{spec}: {why}", remedy)
    return Finding(OK, "listen", f"{spec} is free")


def _tasks(place: Environment) -> Iterator[Finding]:
    if place.config is None:
        return
    sync = place.config.sync
    files = sync.ssh_key_file, sync.ssh_known_hosts
    keys = CredentialStore(place.state / "home", place.config.credentials, *files)
    for task in place.tasks:
        for side in ("source", "target"):
            subject = f"task {task['id']} {side}"
            yield from _url(place, subject, task[side], keys)


def _url(
    place: Environment, subject: str, text: str, keys: CredentialStore
) -> Iterator[Finding]:
    allowed = place.config.sync.allow_protocols if place.config else ()
    try:
        url = giturl.parse(text, allowed)
        access(url, keys)
    except (ValueError, GitError) as error:
        yield Finding(ERROR, subject, str(error))
        return
    trusted = place.config.sync.trust_owners if place.config else ()
    if url.scheme == "ssh":
        yield from _ssh(place, subject, url, keys)
    elif url.local and (why := untrusted(url.path, trusted)):
        yield Finding(ERROR, subject, why)
    elif url.local and subject.endswith("source") and not Path(url.path).exists():
        remedy = "correct the path: gms-hookd task set TASK source=..."
        yield Finding(ERROR, subject, f"{url.path} does not exist", remedy)


def _ssh(
    place: Environment, subject: str, url: GitUrl, keys: CredentialStore
) -> Iterator[Finding]:
    if shutil.which("ssh", path=_path(place)) is None:
        yield Finding(ERROR, subject, "there is no ssh", "install openssh-client")
    identity = keys.identity(url)
    if not identity.key.exists():
        make = f"ssh-keygen -t ed25519 -N '' -f {shlex.quote(str(identity.key))}"
        remedy = f"set sync.ssh_key_file, or: {make}"
        yield Finding(ERROR, subject, f"no key at {identity.key}", remedy)
    if not identity.known_hosts.exists():
        remedy = f"compare the host's key, then: {pinning(url, identity.known_hosts)}"
        yield Finding(ERROR, subject, f"no host key at {identity.known_hosts}", remedy)


LOOKS: tuple[Callable[[Environment], Iterator[Finding]], ...] = (
    _python,
    _git,
    _lfs,
    _sqlite,
    _clock,
    _configuration,
    _secrets,
    _proxies,
    _hooks,
    _state,
    _disk,
    _daemon,
    _descriptors,
    _listeners,
    _tasks,
)


def show_check(session: Session, args: Args) -> int:
    """Look at configuration and environment; 1 or 2 if something is wrong."""
    found = findings(_place(session))
    said = as_json(objects(found)) if args.json else None
    session.say(said or text(found, session.style))
    wrong = [finding for finding in found if finding.level == ERROR]
    if wrong:
        refused = any(finding.subject == "configuration" for finding in wrong)
        message = f"{len(wrong)} of {len(found)} findings are errors"
        raise ConfigError(message) if refused else Failure(message)
    return 0


def _place(session: Session) -> Environment:
    place = Environment(session.environ, session.state)
    try:
        place = replace(place, config=session.config())
        control = control_socket(session.state)
        place = replace(place, daemon=api_client.listens(control))
        place = replace(place, descriptors=_open_files(session, place.daemon))
        if place.daemon:
            unready, warnings = http_client.readiness(control)
            place = replace(place, unready=unready, warnings=warnings)
        if session.state.exists():
            place = replace(place, tasks=_all_tasks(session))
    except (ConfigError, ClientError, ApiError, StateError, StoreError) as error:
        return replace(place, problem=str(error))
    return place


def _open_files(session: Session, running: bool | None) -> int | None:
    """Return how many files the daemon may have open, None if that is not to be seen.

    Where none runs, one that is started from here.
    """
    if not running:
        return attainable_descriptors()
    process = http_client.serving_process(control_socket(session.state))
    try:
        return descriptors(process) if process else None
    except OSError:
        return None


def _all_tasks(session: Session) -> list[dict[str, Any]]:
    with api_of(session) as api:
        found: list[dict[str, Any]] = get(api, "tasks")
        return found
