"""The command line: which commands there are, what they take, how they may end.

What a command does is in the modules named after it; here is how it is said, and how
failure is shown: one line on stderr and the exit status, never a traceback.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn, TextIO

from gms_hookd import __version__
from gms_hookd.cli import arguments as take
from gms_hookd.cli.arguments import ArgumentParser, Fill, UsageError
from gms_hookd.cli.session import Session
from gms_hookd.cli.terminal import style_of
from gms_hookd.contract import state_dir
from gms_hookd.errors import Failure
from gms_hookd.safetext import hidden, safe
from gms_hookd.safetext.journald import under_journal

PROG = "gms-hookd"
DEBUG = "GMS_HOOKD_DEBUG"
FILES = frozenset({"config", "state", "file", "files"})  # whose names may be any bytes
CommandFunction = Callable[[Session, SimpleNamespace], int]


class Command(NamedTuple):
    """One command: what it does, which arguments it takes, one line of help.

    `run` names module and function, so that only the chosen one's is loaded.
    """

    run: str
    fill: Fill
    help: str

    def load(self) -> CommandFunction:
        """Import what carries it out."""
        module, _, name = self.run.partition(".")
        found: CommandFunction = getattr(import_module(f"{__package__}.{module}"), name)
        return found


DESCRIPTION = "Signed webhooks become finished git syncs."
EPILOG = """\
Exit status: 0 done, 1 it did not work, 2 wrong usage or configuration, 75 another
process holds the state directory. A command asks the running daemon, or works itself.
"""
GROUPS = {
    "task": "what to sync",
    "run": "executions of tasks",
    "hook": "where forges report pushes",
    "delivery": "requests to the hooks",
    "notify": "who is told of what",
    "import": "move in from another service",
}
COMMANDS: dict[tuple[str, ...], Command] = {
    ("serve",): Command("serve.serve", take.serve_options, "the daemon"),
    ("status",): Command(
        "status.status", take.as_json, "what needs hands; 1 if any does"
    ),
    ("reload",): Command(
        "serve.reload", take.nothing, "have the daemon read its configuration again"
    ),
    ("manual",): Command(
        "manual.show", take.manual, "the manual, which is in the archive"
    ),
    ("metrics",): Command("metrics.metrics", take.nothing, "what GET /metrics answers"),
    ("demo",): Command("demo.show_demo", take.demo_options, "the main job, shown"),
    ("check",): Command("check.show_check", take.check, "look at the set-up"),
    ("task", "add"): Command("task.task_add", take.task_add, "print the new id"),
    ("task", "expand"): Command(
        "task.task_expand", take.task_expand, "make the tasks of a pattern"
    ),
    ("task", "list"): Command("task.task_list", take.as_json, "all tasks"),
    ("task", "show"): Command("task.task_show", take.one_task, "one task"),
    ("task", "set"): Command("task.task_set", take.task_set, "change a task"),
    ("task", "enable"): Command("task.task_enable", take.task, "take triggers"),
    ("task", "disable"): Command("task.task_disable", take.task, "refuse triggers"),
    ("task", "remove"): Command("task.task_remove", take.task, "forget a task"),
    ("task", "sync"): Command("sync.task_sync", take.task_sync, "run it and watch"),
    ("trigger",): Command("trigger.trigger", take.trigger, "post as a CI job would"),
    ("sign",): Command("trigger.sign", take.sign, "sign FILE or stdin"),
    ("run", "list"): Command("run.run_list", take.run_list, "the newest runs"),
    ("run", "show"): Command("run.run_show", take.one, "one run"),
    ("run", "log"): Command("run.run_log", take.number, "what git said"),
    ("run", "retry"): Command("run.run_retry", take.number, "queue its task again"),
    ("run", "cancel"): Command("run.run_cancel", take.number, "end a run"),
    ("run", "undo"): Command(
        "run.run_undo", take.run_undo, "put back what a run did, and disable its task"
    ),
    ("delivery", "list"): Command(
        "delivery.delivery_list", take.delivery_list, "the newest deliveries"
    ),
    ("delivery", "show"): Command("delivery.delivery_show", take.one, "one delivery"),
    ("hook", "list"): Command("hook.hook_list", take.as_json, "what to enter where"),
    ("hook", "secret"): Command("hook.hook_secret", take.hook, "make a random secret"),
    ("hook", "test"): Command("hook.hook_test", take.hook_test, "send a signed push"),
    ("install",): Command(
        "install.install",
        take.install,
        "make it a service of this machine; or upgrade it",
    ),
    ("uninstall",): Command(
        "install.uninstall", take.uninstall, "undo that; state and /etc are kept"
    ),
    ("completion",): Command(
        "completion.completion",
        take.completion,
        "what a shell needs to complete commands",
    ),
    ("notify", "list"): Command(
        "notify.notify_list", take.notice_list, "the newest notices"
    ),
    ("notify", "test"): Command(
        "notify.notify_test", take.target, "send a message, show the answer"
    ),
    ("notify", "resend"): Command(
        "notify.notify_resend", take.notice, "send a notice again"
    ),
    ("import", "gms"): Command(
        "import_gms.import_gms", take.import_gms, "take over the tasks of GMS"
    ),
    ("backup",): Command(
        "backup.backup", take.backup, "a consistent copy of the store"
    ),
}


def parser(*typed: str) -> ArgumentParser:
    """Build the parser of all commands; only those that begin as a line was typed."""
    chosen = _chosen(typed[:2]) or _chosen(typed[:1])
    root = ArgumentParser(
        PROG, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
    )
    root.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    take.common(root)
    top = root.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for (*names, last), command in (chosen or COMMANDS).items():
        for name in names:
            groups[name] = groups.get(name) or group(top, name)
        where = groups[names[0]] if names else top
        own = where.add_parser(
            last, help=command.help, description=command.help, allow_abbrev=False
        )
        take.common(own)
        command.fill(own)
        own.set_defaults(load=command.load, carry_out=carry_out)
    return root


def _chosen(typed: tuple[str, ...]) -> dict[tuple[str, ...], Command]:
    named = {words: each for words, each in COMMANDS.items() if words == typed}
    return named or {w: each for w, each in COMMANDS.items() if (w[0],) == typed}


def group(top: Any, name: str) -> Any:
    """Add a command that has commands."""
    text = GROUPS[name]
    under = top.add_parser(name, help=text, description=text, allow_abbrev=False)
    take.common(under)
    return under.add_subparsers(metavar="COMMAND", required=True)


def run() -> NoReturn:
    """Carry out the command line of this process, and end it."""
    status = main()
    drop_output()
    if "threading" not in sys.modules:
        # Nobody else works here. To end, Python frees all that it has loaded, one by
        # one; the kernel takes it back at once.
        os._exit(status)
    raise SystemExit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line; return the exit status."""
    prepare_streams()
    try:
        status = _ended(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown in one line
        return report(error, sys.stderr, os.environ)
    except KeyboardInterrupt:
        return 130
    return status


def _ended(argv: Sequence[str]) -> int:
    try:
        return carry_out(argv, os.environ)
    except SystemExit as helped:  # so ends argparse that has printed help
        return int(helped.code or 0)


def prepare_streams() -> None:
    """Let every text be printable, also where there is nothing to print to.

    What is closed is opened again, so that no file of ours takes its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the end
    files = (s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper))
    for stream in files:
        stream.reconfigure(errors="backslashreplace")
        # Where writing may not block, Python drops what does not fit, and tells nobody.
        with suppress(OSError):
            os.set_blocking(stream.fileno(), True)


def carry_out(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Parse and run; whatever fails is raised."""
    args = parser(*argv).parse_args(argv, SimpleNamespace(config=None, state=None))
    for name, value in vars(args).items():
        if name not in FILES:
            check_text(value)
    session = Session(
        environ,
        sys.stdout,
        style_of(sys.stdout, environ, time.time()),
        args.config,
        state_dir(environ, args.state, os.geteuid()),
    )
    run: CommandFunction = args.load()
    return run(session, args)


def check_text(value: object) -> None:
    """Refuse what was typed in another encoding than UTF-8; raises UsageError."""
    if isinstance(value, list | tuple):
        for each in value:
            check_text(each)
    elif isinstance(value, str) and any("\udc80" <= c <= "\udcff" for c in value):
        raise UsageError(
            f"the argument {os.fsencode(value)!r} is not UTF-8: let the terminal"
            " use UTF-8 and type it again, or name the task by its id"
        )


def report(error: Exception, stream: TextIO, environ: Mapping[str, str]) -> int:
    """Say in one line what went wrong; return the exit status."""
    if isinstance(error, BrokenPipeError):
        drop_output()
        return 1
    if environ.get(DEBUG):
        raise error
    drop_output()
    foreseen = isinstance(error, Failure | OSError)
    line = " ".join((_text(error) if foreseen else _defect(error)).split())
    priority = "<3>" if under_journal(stream, environ) else ""
    with suppress(OSError):  # what the status says is true also where nobody hears why
        stream.write(f"{priority}{PROG}: {safe(hidden(line))}\n")
    return error.exit_status if isinstance(error, Failure) else 1


def drop_output() -> None:
    """Drop what cannot be printed: the interpreter would complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)


def _defect(error: Exception) -> str:
    return f"unexpected {type(error).__name__}: {error} ({DEBUG}=1 shows where)"
