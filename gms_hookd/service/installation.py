"""What an installation consists of, and the steps to it, as values.

`look` says what a machine has; each plan gives steps from there. A step is a command
of the shell, or one file to write; who carries it out prints it first. A plan made
after an interruption goes on where that one ended.
"""

import os
import pkgutil
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gms_hookd.contract import SERVICE
from gms_hookd.service.identity import user_named

UNIT = "gms-hookd.service"
SOCKET = "gms-hookd.socket"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies below `root`, and whose it is."""

    root: Path = Path("/")
    user: str = SERVICE

    @property
    def program(self) -> Path:
        """The program itself."""
        return self.root / "usr/local/bin/gms-hookd"

    @property
    def previous(self) -> Path:
        """The program as it was before the last upgrade."""
        return self.root / "usr/local/bin/gms-hookd.previous"

    @property
    def etc(self) -> Path:
        """The folder of the configuration and of secret files."""
        return self.root / "etc/gms-hookd"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.root / "var/lib/gms-hookd"

    @property
    def private(self) -> Path:
        """The state directory of a service with DynamicUser=yes."""
        return self.root / "var/lib/private/gms-hookd"

    @property
    def kept(self) -> Path:
        """The folder of what was before the last upgrade: store and units."""
        return self.root / "var/lib/gms-hookd.previous"

    @property
    def unfinished(self) -> Path:
        """The file that is there while an upgrade has not come to its end."""
        return self.kept / "unfinished"

    @property
    def units(self) -> Path:
        """The folder of the administrator's units."""
        return self.root / "etc/systemd/system"

    @property
    def completion(self) -> Path:
        """The completion for bash."""
        return self.root / "usr/local/share/bash-completion/completions/gms-hookd"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is installed: the program, the unit and the completion.

    `archive` is where the program lies, None if it is built from sources; `listen` are
    the addresses of the socket unit, none if there shall be none.
    """

    archive: Path | None
    program: bytes
    unit: bytes
    completion: bytes
    listen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """What is there; files by their content, None for one that is not."""

    user: bool
    sysusers: bool
    program: bytes | None
    unit: bytes | None
    socket: bytes | None
    completion: bytes | None
    configs: tuple[Path, ...]
    state: bool
    private: bool
    previous: bytes | None
    unfinished: bool

    @property
    def units(self) -> tuple[str, ...]:
        """The units that are there, the socket first, as they are stopped."""
        there = ((SOCKET, self.socket), (UNIT, self.unit))
        return tuple(name for name, content in there if content is not None)


@dataclass(frozen=True, slots=True)
class File:
    """A file to write at once or not at all, root's; `group` may read it."""

    path: Path
    content: bytes
    mode: int
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: in words, as a command that does it by hand, or the file it writes."""

    what: str
    command: str
    file: File | None = None


def look(layout: Layout) -> Machine:
    """Return what this machine has, as far as this user may see it."""
    configs = (layout.etc / "config.toml", layout.etc / "config.yaml")
    return Machine(
        user=user_named(layout.user) is not None,
        sysusers=shutil.which("systemd-sysusers") is not None,
        program=_content(layout.program),
        unit=_content(layout.units / UNIT),
        socket=_content(layout.units / SOCKET),
        completion=_content(layout.completion),
        configs=tuple(path for path in configs if os.path.exists(path)),
        state=os.path.isdir(layout.state) and not os.path.islink(layout.state),
        private=os.path.isdir(layout.private),
        previous=_content(layout.previous),
        unfinished=os.path.exists(layout.unfinished),
    )


def missing(machine: Machine, root: Path = Path("/")) -> list[str]:
    """Return what the machine would have to have and has not, one line each."""
    found = []
    if not (root / "run/systemd/system").is_dir():
        found.append("systemd: this machine was not booted with it")
    if not (machine.user or machine.sysusers or shutil.which("useradd")):
        found.append("systemd-sysusers or useradd: to make the user")
    found += [f"{name}: not found" for name in ("git", "python3") if not _has(name)]
    return found


def _has(name: str) -> bool:
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/bin") is not None


def brought(name: str) -> bytes:
    """Return a file that the archive brings beside this module."""
    found = pkgutil.get_data("gms_hookd.service", name)
    assert found is not None  # noqa: S101 - a build without it fails its tests
    return found


def socket_unit(listen: Sequence[str]) -> bytes:
    """Return a socket unit for these values of server.listen."""
    lines = (f"ListenStream={_stream(spec)}" for spec in listen)
    return brought(SOCKET).decode().format(listen="\n".join(lines)).encode()


def _stream(spec: str) -> str:
    """Return a listener as systemd.socket(5) writes it."""
    host, _, port = spec.removeprefix("unix:").rpartition(":")
    if spec.startswith("unix:"):
        return spec.removeprefix("unix:")
    if host in ("", "*"):
        return port
    return f"127.0.0.1:{port}" if host.lower() == "localhost" else spec


def install_plan(layout: Layout, machine: Machine, parts: Parts) -> list[Step]:
    """Return the steps that install, or bring what is there up to these parts."""
    socket = socket_unit(parts.listen) if parts.listen else machine.socket
    upgrade = machine.program not in (None, parts.program)
    # One that was interrupted has kept what it replaced: that is the old one still.
    kept = machine.unfinished and machine.previous not in (None, machine.program)
    changed = (machine.program, machine.unit, machine.socket) != (
        parts.program,
        parts.unit,
        socket,
    )
    steps = [*_user(layout, machine)]
    if machine.units and (changed or machine.private):
        steps.append(_systemctl("stop the service", "stop", *machine.units))
    steps += _state(layout, machine)
    if upgrade and not kept:
        steps += _keep(layout, machine)
    steps += _files(layout, machine, parts, socket)
    return [*steps, *_start(socket is not None)]


def _user(layout: Layout, machine: Machine) -> Iterator[Step]:
    home = "/var/lib/gms-hookd"
    if machine.user:
        return
    command = (
        f"useradd --system --user-group --home-dir {home} --no-create-home"
        f" --shell /usr/sbin/nologin {layout.user}"
    )
    if machine.sysusers:
        line = f'u {layout.user} - "gms-hookd" {home}'
        command = f"systemd-sysusers --inline {shlex.quote(line)}"
    yield Step(f"make the system user {layout.user}", command)


def _state(layout: Layout, machine: Machine) -> Iterator[Step]:
    state, private = _quoted(layout.state), _quoted(layout.private)
    if machine.private and not machine.state:
        move = f"rm -f {state} && mv {private} {state}"
        yield Step("take over the state of the service's transient user", move)
    folder = _folder(layout.state, "700", layout.user, layout.user)
    owner = f"{layout.user}:{layout.user}"
    hand = f"find {state} -not -user {layout.user} -exec chown -h {owner} {{}} +"
    yield Step("make the state directory, the service's own", f"{folder} && {hand}")


def _keep(layout: Layout, machine: Machine) -> Iterator[Step]:
    """Keep what an upgrade replaces: the store, the units, and the program last."""
    kept, store = _quoted(layout.kept), f"{_quoted(layout.state)}/gms-hookd.db"
    fresh = f"rm -rf {kept} && {_folder(layout.kept, '700', 'root', 'root')}"
    copy = f"for f in {store}*; do test ! -e $f || cp -a $f {kept}/ || exit 1; done"
    yield Step("copy the store", f"{fresh} && {copy} && sync -f {kept}")
    units = " ".join(_quoted(layout.units / name) for name in machine.units)
    also = f"cp -a {units} {kept}/ && " if units else ""
    program, previous = _quoted(layout.program), _quoted(layout.previous)
    yield Step(
        f"keep the old program as {layout.previous}",
        f"{also}cp -p {program} {previous} && touch {_quoted(layout.unfinished)}",
    )


def _files(
    layout: Layout, machine: Machine, parts: Parts, socket: bytes | None
) -> Iterator[Step]:
    if machine.program != parts.program:
        yield _program(layout, parts)
    yield Step(
        "make the folder of the configuration",
        _folder(layout.etc, "750", "root", layout.user),
    )
    yield from _configs(layout, machine)
    if machine.unit != parts.unit:
        yield _unit(layout, parts)
    if socket is not None and machine.socket != socket:
        file = File(layout.units / SOCKET, socket, 0o644)
        yield Step("write the socket unit", _here(file), file)
    if machine.completion != parts.completion:
        yield _completion(layout, parts)


def _program(layout: Layout, parts: Parts) -> Step:
    file = File(layout.program, parts.program, 0o755)
    command = f"python3 -m gms_hookd.pyz {_quoted(layout.program)}"
    if parts.archive:
        command = f"install -m 755 {_quoted(parts.archive)} {_quoted(layout.program)}"
    return Step(f"install the program {layout.program}", command, file)


def _configs(layout: Layout, machine: Machine) -> Iterator[Step]:
    for path in machine.configs:
        share = f"chown root:{layout.user} {_quoted(path)} && chmod 640 {_quoted(path)}"
        yield Step(f"let the service read {path}, and no other user", share)
    if not machine.configs:
        path = layout.etc / "config.toml"
        file = File(path, brought("config.toml"), 0o640, layout.user)
        own = f"chown root:{layout.user} {path} && chmod 640 {path}"
        yield Step(f"write {path}, where all is commented out", _here(file, own), file)


def _unit(layout: Layout, parts: Parts) -> Step:
    file = File(layout.units / UNIT, parts.unit, 0o644)
    inner = "/tmp/gms-hookd/gms_hookd/service/" + UNIT  # noqa: S108 - an example
    command = (
        f"python3 -m zipfile -e {_quoted(layout.program)} /tmp/gms-hookd"
        f" && install -m 644 {inner} {_quoted(file.path)} && rm -r /tmp/gms-hookd"
    )
    return Step(f"write the unit {file.path}", command, file)


def _completion(layout: Layout, parts: Parts) -> Step:
    file = File(layout.completion, parts.completion, 0o644)
    folder = f"mkdir -p {_quoted(layout.completion.parent)}"
    made = f"{_quoted(layout.program)} completion bash >{_quoted(layout.completion)}"
    return Step("complete commands in bash", f"{folder} && {made}", file)


def _start(socket: bool) -> Iterator[Step]:
    names = [SOCKET, UNIT] if socket else [UNIT]
    yield _systemctl("let systemd see the units", "daemon-reload")
    yield _systemctl("start at boot", "enable", *names)
    for name in names:
        # The socket first: it is refused while its service runs without it.
        yield _systemctl(f"start {name}", "start", name)


def finish_plan(layout: Layout) -> list[Step]:
    """Return the step that ends an upgrade whose service is ready."""
    done = f"rm -f {_quoted(layout.unfinished)}"
    return [Step("note that the upgrade is done", done)]


def back_plan(layout: Layout) -> list[Step]:
    """Return the steps from an upgrade that failed back to the old program."""
    program, previous = _quoted(layout.program), _quoted(layout.previous)
    kept, units = _quoted(layout.kept), _quoted(layout.units)
    unit = f"for f in {kept}/{UNIT} {kept}/{SOCKET}; do test ! -e $f || cp -a $f"
    return [
        _systemctl("stop the new program", "stop", UNIT),
        Step(
            "put the old program and its units back",
            f"cp -p {previous} {program}.back && mv -f {program}.back {program}"
            f" && {unit} {units}/ || exit 1; done",
        ),
        _systemctl("let systemd see the units", "daemon-reload"),
        _systemctl("start the old program", "start", UNIT),
    ]


def store_plan(layout: Layout) -> list[Step]:
    """Return the steps back to the old store, which the new program has changed."""
    state, kept = _quoted(layout.state), _quoted(layout.kept)
    newer = f"{kept}/newer"
    return [
        _systemctl("stop the service", "stop", UNIT),
        Step(
            f"put the old store back, and the newer one into {layout.kept}/newer",
            f"mkdir -p {newer} && mv -f {state}/gms-hookd.db* {newer}/"
            f" && cp -a {kept}/gms-hookd.db* {state}/",
        ),
        _systemctl("start the old program", "start", UNIT),
    ]


def uninstall_plan(layout: Layout, machine: Machine, *, purge: bool) -> list[Step]:
    """Return the steps that undo an installation; `purge` takes what users made."""
    steps = []
    if machine.units:
        stop = ("disable", "--now", *machine.units)
        steps.append(_systemctl("stop the service, at boot too", *stop))
        units = " ".join(_quoted(layout.units / name) for name in machine.units)
        steps.append(Step("remove the units", f"rm -f {units}"))
        steps.append(_systemctl("let systemd see that", "daemon-reload"))
    completions = _quoted(layout.completion.parent)
    gone = (layout.program, layout.previous, layout.completion)
    steps.append(Step("remove the program", f"rm -f {' '.join(map(_quoted, gone))}"))
    if layout.completion.parent.is_dir():
        parent = _quoted(layout.completion.parent.parent)
        empty = f"rmdir --ignore-fail-on-non-empty {completions} {parent}"
        steps.append(Step("remove the folders that are empty now", empty))
    return [*steps, *(_purge(layout, machine) if purge else ())]


def _purge(layout: Layout, machine: Machine) -> Iterator[Step]:
    folders = (layout.etc, layout.state, layout.private, layout.kept)
    gone = " ".join(_quoted(path) for path in folders if os.path.lexists(path))
    if gone:
        yield Step("remove configuration, secrets and state", f"rm -rf {gone}")
    if machine.user:
        yield Step(f"remove the user {layout.user}", f"userdel {layout.user}")


def left(layout: Layout, machine: Machine, *, purge: bool) -> list[Path]:
    """Return what stays after uninstalling, since others made it or may want it."""
    own = () if purge else (layout.etc, layout.state, layout.kept)
    users = [layout.units / f"{name}.d" for name in (UNIT, SOCKET)]
    credentials = [*layout.root.glob("etc/credstore*/gms-hookd.*")]
    return [path for path in (*own, *users, *credentials) if path.exists()]


def _folder(path: Path, mode: str, user: str, group: str) -> str:
    return f"install -d -m {mode} -o {user} -g {group} {_quoted(path)}"


def _here(file: File, then: str = "") -> str:
    """Return a command that writes a file from the terminal."""
    command = f"cat >{_quoted(file.path)} <<'END'\n{file.content.decode()}END"
    return f"{command}\n{then}" if then else command


def _systemctl(what: str, *words: str) -> Step:
    return Step(what, " ".join(("systemctl", *words)))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def reason(journal: str) -> str:
    """Return the last thing that the service said itself, as the journal has it."""
    said = [line for line in journal.splitlines() if re.match("gms-hookd: ", line)]
    return said[-1].removeprefix("gms-hookd: ") if said else ""
