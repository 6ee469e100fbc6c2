"""Look at configuration and environment; say of each finding what to do about it.

It judges what this process can read, write and reach: a running daemon looks itself,
a command in its place where none runs.
"""

import errno
import os
import re
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from gms_hookd.config.load import refuse_weak
from gms_hookd.config.records import Config, HookConfig
from gms_hookd.contract import comes_with_start, how_to_start
from gms_hookd.errors import ConfigError
from gms_hookd.files import closed, user_name
from gms_hookd.git.command import PROXIES
from gms_hookd.git.errors import GitError
from gms_hookd.git.process import run
from gms_hookd.http import tls
from gms_hookd.http.descriptors import FEW_DESCRIPTORS, MORE_DESCRIPTORS, admitted
from gms_hookd.http.listener import listen
from gms_hookd.model import WHOLE
from gms_hookd.notify.policy import Subscriber
from gms_hookd.service.findings import (
    ERROR,
    OK,
    WARNING,
    Environment,
    Finding,
    finding_of,
)
from gms_hookd.service.inspect_tasks import inspect_tasks
from gms_hookd.service.state_dir import unfit
from gms_hookd.store.backup import last_backup
from gms_hookd.store.dbthread import SQLITE_VERSION
from gms_hookd.store.notices import Tally

Version = tuple[int, ...]
OLDEST_PYTHON = (3, 11)
OLDEST_GIT = (2, 32)
OLDEST_SQLITE = (3, 24)
# The first of a series without the WAL-reset bug; no later series than these has it
# (sqlite.org/wal.html).
WAL_RESET_FIXED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
REPLICATOR = ".gms-hookd.db-litestream"
# The last release with a known hole of each series (git's release notes up to 2.56).
HOLES = ((2, 39, 3), (2, 40, 3), (2, 41, 2), (2, 42, 3), (2, 43, 6), (2, 44, 3),
         (2, 45, 3), (2, 46, 3), (2, 47, 2), (2, 48, 1), (2, 49, 0),
         (2, 50, 0))  # fmt: skip
LEAST_DISK = 1 << 30
RELEASED = 1_767_225_600  # 2026-01-01: a clock before that is not set
AHEAD = 60
RELOAD = "systemctl reload gms-hookd"
RESTART = "systemctl restart gms-hookd"
MAKE = os.W_OK | os.X_OK  # of a folder, to make a file there
BY_SYSTEMD = "gms-hookd install --socket  # systemd may listen there, the service not"
CANNOT_LISTEN = {
    errno.EADDRINUSE: "ss -ltnp  # stop what listens there, or change server.listen",
    errno.EADDRNOTAVAIL: "ip -br address  # correct server.listen",
    socket.EAI_NONAME: "correct server.listen: this name has no address",
}
PATIENCE = 10.0  # seconds for a command to say its version
# What OpenSSL calls a key of another certificate; the last is one of another kind.
OTHER_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
SHORT_SECRET = 16
IMAGES = frozenset({"dockerhub", "msr"})  # who names an image, no repository


DAY = 86400.0
TLS_ENDS = 14 * DAY
BACKUP_OLD = 7 * DAY
QUIET = 30 * DAY


def findings(place: Environment) -> list[Finding]:
    """Look at everything; a look that fails is a finding, and the others go on."""
    return [finding for look in LOOKS for finding in _looked(look, place)]


def _looked(look: "Look", place: Environment) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look(place))
    except Exception as error:  # noqa: BLE001 - whatever it met, others look on
        subject = look.__name__.removeprefix("_")
        why = str(getattr(error, "strerror", None) or error)
        found.append(Finding(ERROR, subject, f"cannot be looked at: {why}"))
    return found


def _python(_place: Environment) -> Iterator[Finding]:
    version = sys.version_info[:3]
    level = OK if version >= OLDEST_PYTHON else ERROR
    remedy = None if level == OK else "install Python 3.11 or newer"
    yield Finding(level, "python", f"{_dotted(version)} at {sys.executable}", remedy)


def _sqlite(place: Environment) -> Iterator[Finding]:
    replicated = (place.state / REPLICATOR).is_dir()
    yield sqlite_finding(SQLITE_VERSION, replicated=replicated)


def sqlite_finding(version: Version, *, replicated: bool) -> Finding:
    """Judge a version of sqlite, also where another process checkpoints the store."""
    said = _dotted(version)
    if version < OLDEST_SQLITE:
        needed = f"needs {_dotted(OLDEST_SQLITE)} or newer"
        return Finding(ERROR, "sqlite", said, needed)
    if _is_wal_reset_fixed(version) or not replicated:
        return Finding(OK, "sqlite", said)
    problem = f"{said} has the WAL-reset bug, and Litestream checkpoints beside us"
    remedy = "gms-hookd manual beyond; until then daily: gms-hookd backup FILE"
    return Finding(WARNING, "sqlite", problem, remedy)


def _is_wal_reset_fixed(version: Version) -> bool:
    return version >= WAL_RESET_FIXED[-1] or any(
        version[:2] == first[:2] and version >= first for first in WAL_RESET_FIXED
    )


def _git(place: Environment) -> Iterator[Finding]:
    said = _output(place.environ, "git", "--version")
    yield _no_git(_path(place)) if said is None else git_finding(said)


def _no_git(search: str) -> Finding:
    """Tell a git that cannot run from one that is not there."""
    if found := shutil.which("git", path=search):
        remedy = "apt-get install --reinstall git"
        return Finding(ERROR, "git", f"{found} does not run", remedy)
    if found := shutil.which("git", os.F_OK, path=search):
        said = f"{found} may not be executed"
        return Finding(ERROR, "git", said, f"chmod 755 {shlex.quote(found)}")
    said = f"not found in {search}"
    return Finding(ERROR, "git", said, "apt-get install git")


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
    level, wanted = (WARNING, " although sync.lfs is strict") if strict else (OK, "")
    said = f"not found: LFS objects are not synced{wanted}"
    remedy = "install git-lfs if a source keeps files in LFS"
    yield Finding(level, "git-lfs", said, remedy)


def git_version(environ: Mapping[str, str]) -> str:
    """Return the version of git, "" where none can be run."""
    said = _output(environ, "git", "--version") or ""
    return said.removeprefix("git version ")


def _output(environ: Mapping[str, str], *argv: str) -> str | None:
    """Return what a command prints; None where it does not work."""
    try:
        done = run(argv, {"PATH": environ.get("PATH", os.defpath)}, PATIENCE)
    except GitError:
        return None
    said = done.out.decode(errors="replace").strip()
    return said if done.status == 0 and said else None


def _path(place: Environment) -> str:
    return place.environ.get("PATH", os.defpath)


def _state(place: Environment) -> Iterator[Finding]:
    state = place.state
    if not state.exists():
        yield Finding(OK, "state", f"{state} does not exist yet; serve makes it")
    elif not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        remedy = "run as root or as the user of the daemon, or give --state"
        yield Finding(ERROR, "state", f"{state} may not be used", remedy)
    elif found := unfit(state):
        problem, remedy = found
        yield Finding(ERROR, "state", f"{state} {problem}", remedy)
    elif shut := _shut_cache(state / "caches"):
        give = f"chown -R {user_name()}: {shlex.quote(str(state))}"
        yield Finding(ERROR, "state", f"{shut} may not be written", give)
    else:
        yield Finding(OK, "state", str(state))


def _shut_cache(folder: Path) -> str:
    """Return the first cache that we may not write, say as root has made it."""
    caches = os.scandir(folder) if folder.exists() else ()
    shut = (each.path for each in caches if not os.access(each, os.R_OK | os.W_OK))
    return next(shut, "")


def _disk(place: Environment) -> Iterator[Finding]:
    there = next(p for p in (place.state, *place.state.parents) if p.exists())
    free = shutil.disk_usage(there).free
    enough = free >= LEAST_DISK
    room = f"df -h {shlex.quote(str(there))}  # make room: runs wait while it is full"
    remedy = None if enough else room
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
    for hook in (place.config.webhook, *place.config.hooks):
        yield _secrets_of(hook)


def _secrets_of(hook: HookConfig) -> Finding:
    subject = f"hook {hook.name}"
    if not hook.secrets:
        return Finding(OK, subject, "no secret yet; serve makes one")
    if min(map(len, hook.secrets)) < SHORT_SECRET:
        remedy = "openssl rand -hex 32, then set it here and at the sender"
        return Finding(WARNING, subject, "a secret is short", remedy)
    return Finding(OK, subject, f"{len(hook.secrets)} active secret(s)")


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


def _shard(place: Environment) -> Iterator[Finding]:
    """Look for tasks whose hooks are sent to another node by the id."""
    shard = place.config.server.shard if place.config else WHOLE
    strange = [task for task in place.tasks if not shard.has(task["id"])]
    if shard is WHOLE or not strange:
        return
    few = ", ".join(str(task["id"]) for task in strange[:5])
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    said = (
        f"the ids of tasks {few}{more} are not {shard.number} modulo {shard.count}:"
        " hooks with a task_id are sent to another node"
    )
    first = strange[0]["id"]
    remedy = f"gms-hookd task show {first}; add it again; gms-hookd task remove {first}"
    yield Finding(WARNING, "shard", said, remedy)


def _configuration(place: Environment) -> Iterator[Finding]:
    use = RELOAD if place.daemon else how_to_start(place.state)
    for fault in place.faults:
        remedy = f"correct it, then: {use}"
        yield finding_of(ERROR, "configuration", fault, remedy)
    if place.problem:
        subject = "store" if place.config else "configuration"
        yield finding_of(ERROR, subject, place.problem)
    elif place.config and not place.faults:
        yield _judged(place.config)
    for warning in place.config.warnings if place.config else ():
        yield finding_of(WARNING, "configuration", warning)
    if place.used and not place.faults and place.config != place.used:
        said = "it, or a secret file, has changed since the daemon has read it"
        yield Finding(WARNING, "configuration", said, RELOAD)


def _judged(config: Config) -> Finding:
    try:
        refuse_weak(config, config.server.listen)
    except ConfigError as error:
        return finding_of(ERROR, "configuration", str(error))
    return Finding(OK, "configuration", str(config.file or "no file"))


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _reloads(place: Environment) -> Iterator[Finding]:
    if place.refusal:
        remedy = f"correct it, then: {RELOAD}"
        yield Finding(ERROR, "daemon", place.refusal, remedy)
    if place.restart_for:
        said = f"{', '.join(place.restart_for)}: changed, but in use after a restart"
        listen = "server.listen" in place.restart_for
        yield Finding(WARNING, "daemon", said, _restart(place) if listen else RESTART)


def _daemon(place: Environment) -> Iterator[Finding]:
    if place.daemon is None:
        return
    for reason in place.unready:
        yield Finding(ERROR, "daemon", f"not ready: {reason}")
    for warning in place.warnings:
        yield Finding(WARNING, "daemon", warning)
    yield from _reloads(place)
    if place.daemon:
        yield Finding(OK, "daemon", "running")
    else:
        yield Finding(WARNING, "daemon", "not running", how_to_start(place.state))


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
        if place.daemon and _is_served(place, spec):
            yield Finding(OK, "listen", f"{spec} is in use")
        elif not place.daemon and _is_lent(place, spec):
            yield Finding(OK, "listen", f"{spec} is held by gms-hookd.socket")
        else:
            yield listener(place, spec)


def _is_served(place: Environment, spec: str) -> bool:
    """Return whether the running daemon listens there."""
    if place.used is None:
        return True
    if _holds_sockets(place):
        host, _, port = spec.rpartition(":")
        name = f"[::]:{port}" if host in ("", "*") else spec
        end = f":{port}" if host[:1].isalpha() else name  # a name is any address
        return any(each.endswith(end) for each in place.listeners)
    return spec in place.used.server.listen and "server.listen" not in place.restart_for


def _holds_sockets(place: Environment) -> bool:
    """Return whether systemd listens in the daemon's place."""
    return "LISTEN_FDS" in place.environ


def _restart(place: Environment) -> str:
    """Return what brings another listener into use, if the daemon would start."""
    if _holds_sockets(place):
        return "gms-hookd install --socket  # as server.listen has it"
    written = place.config.server.listen if place.config else ()
    wrong = [each for each in _tls(place) if each.level == ERROR]
    wrong += filter(None, (_no_listener(place, spec) for spec in written))
    later = f"# when the errors are corrected: {RESTART}"
    return later if wrong or place.faults else RESTART


def listener(place: Environment, spec: str) -> Finding:
    """Look whether the service may listen there: a restart ends it where it may not."""
    if found := _no_listener(place, spec):
        return found
    if place.daemon:
        said = f"{spec} is not in use yet"
        return Finding(WARNING, "listen", said, _restart(place))
    return Finding(OK, "listen", f"{spec} is free")


def _no_listener(place: Environment, spec: str) -> Finding | None:
    """Return why the service may not listen there, and the remedy; None if it may."""
    try:
        if not _holds_sockets(place):
            _probe(place, spec)
    except ValueError as error:
        return Finding(ERROR, "listen", str(error), "write HOST:PORT or unix:PATH")
    except OSError as error:
        why = str(error.strerror or error).partition(" (")[0]
        remedy = CANNOT_LISTEN.get(error.errno or 0, BY_SYSTEMD)
        return Finding(ERROR, "listen", f"{spec}: {why}", remedy)
    return None


def _probe(place: Environment, spec: str) -> None:
    """Listen there for a moment, beside what we hold. Raises ValueError, OSError."""
    path, end = spec.removeprefix("unix:"), f":{spec.rpartition(':')[2]}"
    if place.daemon and path != spec:  # to make it changes the umask of all threads
        if not os.access(os.path.dirname(path), MAKE, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    try:
        listen(spec).close()
    except OSError as error:
        ours = any(each.endswith(end) for each in place.listeners)
        if error.errno != errno.EADDRINUSE or not ours:
            raise


def _is_lent(place: Environment, spec: str) -> bool:
    """Return whether systemd listens there, to start the daemon for who connects."""
    shown = ("systemctl", "show", "-pActiveState", "-pListen", "gms-hookd.socket")
    said = _output(place.environ, *shown) or ""
    held = re.compile(rf"[:=]{re.escape(spec.rpartition(':')[2])} \(Stream\)")
    return "ActiveState=active" in said.splitlines() and held.search(said) is not None


def _tls(place: Environment) -> Iterator[Finding]:
    """Judge certificate and key as the daemon would use them."""
    server = place.config.server if place.config else None
    if server is None or server.tls_cert is None or server.tls_key is None:
        return
    try:
        if not comes_with_start(server.tls_key):
            tls.context(server.tls_cert, server.tls_key)
    except OSError as error:
        yield finding_of(ERROR, "tls", *_unusable(server.tls_cert, error))
    else:
        yield _validity(server.tls_cert)


def _validity(certificate: Path) -> Finding:
    left = tls.valid_until(certificate) - time.time()
    ends = time.strftime("%Y-%m-%d", time.localtime(time.time() + left))
    if left > TLS_ENDS:
        return Finding(OK, "tls", f"{certificate} is valid until {ends}")
    level, said = (ERROR, "has ended on") if left < 0 else (WARNING, "ends on")
    remedy = f"renew it in place, then: {RELOAD}"
    return Finding(level, "tls", f"{certificate} {said} {ends}", remedy)


def _unusable(certificate: Path, error: OSError) -> tuple[str, str]:
    if getattr(error, "reason", None) in OTHER_KEY:
        remedy = "name the key that belongs to it in server.tls_key"
        return f"{certificate} does not belong to the key", remedy
    try:
        tls.valid_until(certificate)
    except (ValueError, IndexError):
        remedy = "put the chain of certificates there, as PEM"
        return f"{certificate} holds no certificate", remedy
    except OSError as unread:
        refused = isinstance(unread, PermissionError)
        why = closed(certificate) if refused else unread.strerror
        return f"{certificate}: {why}", "name another in server.tls_cert"
    remedy = "name its key in server.tls_key: a PEM file without a password"
    return f"{certificate} is sound, its key is not: {error.strerror or error}", remedy


def _authorities(place: Environment) -> Iterator[Finding]:
    """Look whether certificates of hosts can be checked at all."""
    if not tls.knows_authorities() and any(_by_https(task) for task in place.tasks):
        remedy = "apt-get install ca-certificates"
        yield Finding(ERROR, "ca", "this machine trusts no authority", remedy)
    config = place.config
    files = [each.ca_file for each in config.credentials] if config else []
    files += [each.ca_file for each in config.notify] if config else []
    for file in filter(None, files):
        if why := tls.no_authority(file):
            remedy = "put the authority's certificate there, as PEM"
            yield Finding(ERROR, "ca", f"{file}: {why}", remedy)


def _by_https(task: Mapping[str, object]) -> bool:
    return any(str(task[side]).startswith("https:") for side in ("source", "target"))


def _backup(place: Environment) -> Iterator[Finding]:
    if not place.tasks:
        return
    at = last_backup(place.state)
    remedy = "gms-hookd backup /var/backups/gms-hookd.db"
    if at is None:
        yield Finding(WARNING, "backup", "there has never been one", remedy)
        return
    days = (time.time() - at) / DAY
    late = days * DAY > BACKUP_OLD
    said = f"the last one is {days:.0f} days old"
    yield Finding(WARNING if late else OK, "backup", said, remedy if late else None)


def _quiet_hooks(place: Environment) -> Iterator[Finding]:
    for hook, at in (place.latest or {}).items():
        if at is None:
            said = "no delivery has come yet"
        elif time.time() - at / 1000 > QUIET:
            day = time.strftime("%Y-%m-%d", time.localtime(at / 1000))
            said = f"the last delivery came on {day}"
        else:
            continue
        remedy = f"gms-hookd hook test {hook}; gms-hookd hook list"
        yield Finding(WARNING, f"hook {hook}", said, remedy)


def _notices(place: Environment) -> Iterator[Finding]:
    for name, tally in (place.told or {}).items():
        yield _outbox(name, tally)


def _outbox(name: str, tally: Tally) -> Finding:
    again = f"correct it, then: gms-hookd notify list --target {name}"
    if tally.dead:
        said = f"{counted(tally.dead)} not delivered: {tally.last_error}"
        return Finding(WARNING, f"notify {name}", said, again)
    if tally.last_error:
        said = f"{counted(tally.waiting)} not taken yet: {tally.last_error}"
        return Finding(WARNING, f"notify {name}", said, again)
    last = tally.last_sent and time.localtime(tally.last_sent / 1000)
    at = time.strftime("%Y-%m-%d %H:%M", last) if last else "never"
    return Finding(OK, f"notify {name}", f"last told: {at}")


def counted(notices: int) -> str:
    """Return how many notices, in words."""
    return "1 notice" if notices == 1 else f"{notices} notices"


def _notified_tasks(place: Environment) -> Iterator[Finding]:
    known = [(task["id"], str(task["name"])) for task in place.tasks]
    for target in place.config.notify if place.config else ():
        subscriber = Subscriber(target.name, target.events, target.tasks or ())
        if known and not any(subscriber.covers(*task) for task in known):
            remedy = f"correct notify.{target.name}.tasks: gms-hookd task list"
            yield Finding(WARNING, f"notify {target.name}", "covers no task", remedy)


Look = Callable[[Environment], Iterator[Finding]]
LOOKS: tuple[Look, ...] = (
    _python, _git, _lfs, _sqlite, _clock, _configuration, _tls, _secrets,
    _authorities, _proxies, _hooks, _shard, _quiet_hooks, _notices, _notified_tasks,
    _state, _disk, _backup, _daemon, _descriptors, _listeners, inspect_tasks,
)  # fmt: skip
