"""Look at what the tasks need: hosts, keys, repositories on this machine."""

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from gms_hookd.auth.secret_file import SecretFileError, check_secret
from gms_hookd.contract import SERVICE, SERVICE_STATE, comes_with_start
from gms_hookd.cron import parse
from gms_hookd.files import closed, user_name
from gms_hookd.git import url as giturl
from gms_hookd.git.credentials import CredentialStore, access
from gms_hookd.git.errors import GitError
from gms_hookd.git.ownership import untrusted
from gms_hookd.git.process import run
from gms_hookd.git.ssh import pinning
from gms_hookd.git.url import GitUrl
from gms_hookd.service.findings import (
    ERROR,
    OK,
    WARNING,
    Environment,
    Finding,
    finding_of,
    unreadable,
)

PATIENCE = 5.0  # seconds for ssh-keygen
MOST_FOLDERS = 2000  # of a repository that are looked at
SHOW = ("systemctl", "show", "-pProtectSystem", "-pReadWritePaths", "-pBindPaths")
# What the unit hides: ProtectHome= and PrivateTmp= of systemd.exec(5).
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - as named
DROP_IN = "/etc/systemd/system/gms-hookd.service.d/targets.conf"


def inspect_tasks(place: Environment) -> Iterator[Finding]:
    """Look at source and target of each task."""
    if place.config is None:
        return
    sync = place.config.sync
    files = sync.ssh_key_file, sync.ssh_known_hosts
    keys = CredentialStore(place.state / "home", place.config.credentials, *files)
    named = _writable_folders(place)
    needed = [path for path in named or () if path.startswith("/")]
    yield from (_unmounted(path) for path in needed if not os.path.exists(path))
    folders = named and [path.lstrip("-+") for path in named]
    place = replace(place, writable=folders)
    # A host is asked only where nothing stands against it already.
    clear = []
    for subject, url in _sides(place):
        found = list(_url(place, subject, url, keys))
        yield from found
        clear += [] if found or "*" in url else [(subject, url)]
    yield from _reached(place, clear)
    for task in place.tasks:
        yield from _schedule(task)


def _why_never(cron: str) -> str:
    try:
        parse(cron)
    except ValueError as error:
        return str(error)
    return "no such time comes within five years"


def _sides(place: Environment) -> list[tuple[str, str]]:
    return [
        (f"task {task['id']} {side}", str(task[side]))
        for task in place.tasks
        for side in ("source", "target")
        if side == "source" or not _is_made(task)
        # Of a pattern only the host is known, no path on this machine.
        if "*" not in task[side] or giturl.origin(task[side])
    ]


def _schedule(task: Mapping[str, Any]) -> Iterator[Finding]:
    """Look whether a schedule is ever met; that of a pattern is for what it makes."""
    cron = task.get("cron")
    idle = not task.get("enabled") or "*" in str(task["name"])
    if not cron or idle or task.get("next_cron") is not None:
        return
    said = f"its schedule {cron!r} is never met: {_why_never(cron)}"
    remedy = f'gms-hookd task set {task["id"]} cron="0 2 * * *"'
    yield Finding(WARNING, f"task {task['id']} cron", said, remedy)


def _reached(place: Environment, sides: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Look whether the repositories afar can be read, as a run would read them."""
    afar = [(subject, url) for subject, url in sides if giturl.origin(url)]
    if not afar or place.reach is None:
        return
    answers = place.reach([url for _, url in afar])
    for subject, url in afar:
        if why := answers.get(url):
            look = (
                f"gms-hookd task show {subject.split(' ')[1]}; gms-hookd manual tasks"
            )
            yield unreadable(subject, why, look if why.answered else _from_here(url))
    good = [url for url, why in answers.items() if not why]
    if good:
        yield Finding(OK, "hosts", f"{len(good)} of {len(answers)} repositories answer")


def _is_made(task: Mapping[str, Any]) -> bool:
    """Tell whether a target is not there, and its first run makes it."""
    path = Path(task["target"])
    return (
        task.get("create", False)
        and not os.path.exists(path)
        and os.path.isdir(path.parent)
    )


def _from_here(text: str) -> str:
    """Return the command that shows whether the host is in reach at all."""
    url = giturl.parse(text, (*giturl.PORTS,))
    if url.scheme == "ssh":
        port = f"-p {url.port} " if url.port else ""
        return f"ssh-keyscan {port}{shlex.quote(url.host.strip('[]'))}"
    return f"curl -sSI -m 10 {shlex.quote(url.origin)}"


def _url(
    place: Environment, subject: str, text: str, keys: CredentialStore
) -> Iterator[Finding]:
    allowed = place.config.sync.allow_protocols if place.config else ()
    try:
        url = giturl.parse(text, allowed)
        if url.scheme != "ssh":  # of whose key there is more to say
            access(url, keys)
    except (ValueError, GitError) as error:
        yield finding_of(ERROR, subject, str(error))
        return
    if url.scheme == "ssh":
        yield from _ssh(place, subject, url, keys)
    elif url.local:
        yield from _local(place, subject, url)


def _local(place: Environment, subject: str, url: GitUrl) -> Iterator[Finding]:
    """Look at a repository on this machine, as this process sees it."""
    task, side = subject.split(" ")[1:]
    trusted = place.config.sync.trust_owners if place.config else ()
    path, quoted = Path(url.path), shlex.quote(url.path)
    if why := untrusted(url.path, trusted):
        yield finding_of(ERROR, subject, why)
    elif not os.path.exists(path):
        yield _absent(place, subject, task, side, path)
    elif side == "target":
        yield from _unwritable(place, subject, path)
    elif not os.access(path, os.R_OK | os.X_OK):
        said = f"{path}: user {user_name()} may not read it"
        remedy = "chgrp -R $(id -gn {0}) {1} && chmod -R g+rX {1}"
        yield Finding(ERROR, subject, said, remedy.format(user_name(), quoted))


def _absent(
    place: Environment, subject: str, task: str, side: str, path: Path
) -> Finding:
    quoted = shlex.quote(str(path))
    if _is_hidden(path) and place.state == Path(SERVICE_STATE):
        said = f"{path}: of that folder the unit shows the service nothing"
        return Finding(ERROR, subject, said, f"ls -d {quoted} && {_shown(path, side)}")
    folder = next(p for p in path.parents if os.path.exists(p))
    if not os.access(folder, os.X_OK):
        said = f"{path}: user {user_name()} may not enter {folder}"
        return Finding(ERROR, subject, said, f"chmod o+x {shlex.quote(str(folder))}")
    if side == "source":
        remedy = f"correct the path: gms-hookd task set {task} source=/PATH"
        return Finding(ERROR, subject, f"{path} does not exist", remedy)
    remedy = f"git init --bare {quoted} && chown -R {user_name()}: {quoted}"
    return Finding(ERROR, subject, f"{path} does not exist", remedy)


def _unwritable(place: Environment, subject: str, path: Path) -> Iterator[Finding]:
    repository = path / ".git" if os.path.isdir(path / ".git") else path
    quoted = shlex.quote(str(path))
    read_only = os.statvfs(repository).f_flag & os.ST_RDONLY
    if read_only or _is_shut(place, repository.resolve()):
        said = f"{path} is on a file system that is read-only for the service"
        yield Finding(ERROR, subject, said, _shown(path, "target"))
        return
    shut = (f for f in _folders(repository) if not os.access(f, os.W_OK | os.X_OK))
    for folder in islice(shut, 1):
        said = f"{folder} belongs to {_owner(folder)}, and user {user_name()} may not"
        remedy = f"chown -R {user_name()}: {quoted}"
        yield Finding(ERROR, subject, f"{said} write it", remedy)


def _writable_folders(place: Environment) -> Sequence[str] | None:
    """Return, where no daemon runs, what its unit lets it write; None: everything."""
    if place.daemon is not False or place.state != Path(SERVICE_STATE):
        return None
    search = {"PATH": place.environ.get("PATH", os.defpath)}
    try:
        said = run((*SHOW, SERVICE), search, PATIENCE).out.decode(errors="replace")
    except GitError:
        return None
    shown = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if shown.get("ProtectSystem") != "strict":
        return None
    bound = shown.get("BindPaths", "").split()
    writable = shown.get("ReadWritePaths", "").split()
    return [*writable, *(path.split(":")[0] for path in bound)]


def _unmounted(path: str) -> Finding:
    """Name a folder without which the unit does not start; a `-` lets it."""
    edit = shlex.quote(f"s#([= ]){re.escape(path)}( |$)#\\1-{path}\\2#")
    files = f"{os.path.dirname(DROP_IN)}/*.conf"
    remedy = f"sed -i -E {edit} {files} && systemctl daemon-reload"
    said = f"{path} of ReadWritePaths= is not there: the service does not start"
    return Finding(ERROR, "unit", said, f"{remedy} && systemctl start {SERVICE}")


def _is_shut(place: Environment, path: Path) -> bool:
    """Tell whether the unit would not let the service write there."""
    if place.writable is None:
        return False
    return not any(path.is_relative_to(folder) for folder in place.writable)


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in HIDDEN)


def _shown(path: Path, side: str) -> str:
    """Return the commands that let the unit read a source there, or write a target.

    The `-` lets the service start also while the folder is not there: not mounted, say.
    """
    escaped = str(path).replace("%", "%%")
    settings = [f'ReadWritePaths="-{escaped}"']
    if _is_hidden(path):
        bind = "BindPaths" if side == "target" else "BindReadOnlyPaths"
        settings = ["ProtectHome=tmpfs", f'{bind}="-{escaped}"']
    lines = shlex.join(("[Service]", *settings))
    folder = os.path.dirname(DROP_IN)
    return (
        f"mkdir -p {folder} && printf '%s\\n' {lines} >> {DROP_IN} &&"
        f" systemctl daemon-reload && systemctl restart {SERVICE}"
    )


def _owner(path: Path) -> str:
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except (KeyError, OSError):
        return "somebody else"


def _folders(repository: Path) -> Iterator[Path]:
    """Name the folders that a push writes in, so many at most."""
    yield repository
    walks = (os.walk(repository / top) for top in ("objects", "refs"))
    for folder, _, _ in islice(chain.from_iterable(walks), MOST_FOLDERS):
        yield Path(folder)


def _ssh(
    place: Environment, subject: str, url: GitUrl, keys: CredentialStore
) -> Iterator[Finding]:
    search = place.environ.get("PATH", os.defpath)
    if shutil.which("ssh", path=search) is None:
        remedy = "apt-get install openssh-client"
        yield Finding(ERROR, subject, "there is no ssh", remedy)
    identity = keys.identity(url)
    yield from _key(subject, identity.key, url.host)
    pin = f"{pinning(url, identity.known_hosts)}  # compare it with what is published"
    if not os.path.exists(identity.known_hosts):
        yield Finding(ERROR, subject, f"no host key at {identity.known_hosts}", pin)
    elif not _is_known(url, identity.known_hosts, search):
        said = f"{identity.known_hosts} has no key of {url.host}"
        yield Finding(ERROR, subject, said, pin)


def _key(subject: str, key: Path, host: str) -> Iterator[Finding]:
    if comes_with_start(key):
        return
    if not os.path.exists(key):
        yield Finding(ERROR, subject, f"no key at {key}", _new_key(key, host))
        return
    if not os.access(key, os.R_OK):
        yield finding_of(ERROR, subject, f"{key}: {closed(key)}")
        return
    try:
        check_secret(key, key.stat())
    except SecretFileError as error:
        yield finding_of(ERROR, subject, str(error))


def _new_key(key: Path, host: str) -> str:
    """Return the command that makes a key which the service can read."""
    quoted, user = shlex.quote(str(key)), user_name()
    give = f" && chown {user}: {quoted}" if user == SERVICE else ""
    make = f"ssh-keygen -q -t ed25519 -N '' -f {quoted}{give} && cat {quoted}.pub"
    return f"{make}  # enter that at {host}"


def _is_known(url: GitUrl, known_hosts: Path, search: str) -> bool:
    """Return whether the host has a line; ssh-keygen reads hashed ones, too."""
    if shutil.which("ssh-keygen", path=search) is None:
        return True
    host = url.host.strip("[]")
    name = host if url.port in (None, 22) else f"[{host}]:{url.port}"
    if not re.fullmatch(r"[\w.:\[\]-]+", name) or name.startswith("-"):
        return True
    command = ("ssh-keygen", "-F", name, "-f", str(known_hosts))
    try:
        return bool(run(command, {"PATH": search}, PATIENCE).out)
    except GitError:
        return False
