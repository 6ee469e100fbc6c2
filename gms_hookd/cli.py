"""The command line: which commands there are, what they take, how they may end.

What a command does is in the modules named after it; here is how it is said, and how
failure is told: one line on stderr and the exit status, never a traceback.
"""

import argparse
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn, TextIO

from gms_hookd import __version__, values
from gms_hookd.errors import Failure
from gms_hookd.log import under_journal
from gms_hookd.look import look_of
from gms_hookd.safetext import redacted, safe
from gms_hookd.service.state_dir import state_dir
from gms_hookd.session import Session

PROG = "gms-hookd"
DEBUG = "GMS_HOOKD_DEBUG"
FILES = frozenset({"config", "state", "file"})  # whose names may be any bytes
Fill = Callable[[argparse.ArgumentParser], None]
Run = Callable[[Session, SimpleNamespace], int]


class Command(NamedTuple):
    """One command: what it does, which arguments it takes, one line of help.

    `run` names module and function, so that only the chosen one's is loaded.
    """

    run: str
    fill: Fill
    help: str

    def load(self) -> Run:
        """Import what carries it out."""
        module, _, name = self.run.partition(".")
        found: Run = getattr(import_module(f"{__package__}.{module}"), name)
        return found


class UsageError(Failure):
    """The command line is not one of ours; the text says why."""

    exit_status = 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is an exception of one line."""

    def error(self, message: str) -> NoReturn:
        """Complain; argparse itself would print the usage too."""
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def checked(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show the text of the ValueError that a reader raises."""

    def checked_value(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked_value


def serve_options(parser: argparse.ArgumentParser) -> None:
    """Take the addresses to listen on."""
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="listen here instead of where the configuration says; or unix:PATH",
    )


def demo_options(parser: argparse.ArgumentParser) -> None:
    """Take whether to stop after the show."""
    parser.add_argument(
        "--once", action="store_true", help="stop after the show instead of serving"
    )


def as_json(parser: argparse.ArgumentParser) -> None:
    """Take how to print."""
    parser.add_argument(
        "--json", action="store_true", help="print the objects of the API"
    )


def task(parser: argparse.ArgumentParser) -> None:
    """Take one task."""
    parser.add_argument("task", metavar="TASK", help="id or name")


def number(parser: argparse.ArgumentParser) -> None:
    """Take one id."""
    parser.add_argument(
        "id", metavar="ID", type=checked(values.positive), help="its number"
    )


def task_add(parser: argparse.ArgumentParser) -> None:
    """Take a new task."""
    parser.add_argument("name", metavar="NAME", help="letters, digits, . _ -")
    parser.add_argument("--source", required=True, metavar="URL", help="where from")
    parser.add_argument("--target", required=True, metavar="URL", help="where to")
    refs(parser)
    parser.add_argument(
        "--force", action="store_true", help="overwrite what has diverged"
    )
    parser.add_argument(
        "--prune", action="store_true", help="delete what the source no longer has"
    )
    parser.add_argument(
        "--timeout",
        type=checked(values.seconds),
        metavar="SECONDS",
        help="of one attempt; default: sync.timeout",
    )
    parser.add_argument(
        "--disabled", action="store_true", help="take no triggers for now"
    )


def refs(parser: argparse.ArgumentParser) -> None:
    """Take which refs to sync, kept in the order in which they were given."""
    parser.add_argument(
        "--branch",
        dest="refspecs",
        action="append",
        type=checked(values.branch),
        default=[],
        metavar="SRC[:DST]",
        help="one branch, may be given again; with neither: all branches and tags",
    )
    parser.add_argument(
        "--refspec",
        dest="refspecs",
        action="append",
        default=[],
        metavar="SPEC",
        help="git's own notation, may be given again",
    )


def task_set(parser: argparse.ArgumentParser) -> None:
    """Take a task and what to change in it."""
    task(parser)
    parser.add_argument(
        "changes",
        nargs="+",
        type=checked(values.change),
        metavar="KEY=VALUE",
        help=f"KEY is one of {', '.join(values.KEYS)}",
    )


def task_sync(parser: argparse.ArgumentParser) -> None:
    """Take a task, and how to go about it."""
    task(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--yes", action="store_true", help="do also what a guard has held back"
    )
    how.add_argument(
        "--dry-run", action="store_true", help="print the plan, change nothing"
    )


def trigger(parser: argparse.ArgumentParser) -> None:
    """Take a task and where to post."""
    task(parser)
    parser.add_argument("--url", help="of the hook; default: this machine's daemon")
    parser.add_argument(
        "--wait",
        type=checked(values.wait),
        metavar="SECONDS",
        help="hold until the run ends, at most 300",
    )
    as_json(parser)


def sign(parser: argparse.ArgumentParser) -> None:
    """Take what to sign."""
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="default: stdin"
    )


def run_list(parser: argparse.ArgumentParser) -> None:
    """Take which runs to list."""
    parser.add_argument("--task", metavar="TASK", help="id or name")
    parser.add_argument("--status", metavar="S", choices=values.STATUSES)
    limit(parser)
    as_json(parser)


def hook(parser: argparse.ArgumentParser) -> None:
    """Take one hook."""
    parser.add_argument("name", metavar="NAME", help="of the hook")


def hook_test(parser: argparse.ArgumentParser) -> None:
    """Take a hook, and what the push shall be about."""
    hook(parser)
    parser.add_argument(
        "--task", metavar="TASK", help="push to its source, and sync it"
    )
    parser.add_argument("--url", help="of the hook; default: this machine's daemon")
    as_json(parser)


def delivery_list(parser: argparse.ArgumentParser) -> None:
    """Take which deliveries to list."""
    parser.add_argument("--hook", metavar="H", help="name of the hook")
    limit(parser)
    as_json(parser)


def limit(parser: argparse.ArgumentParser) -> None:
    """Take how many to list."""
    parser.add_argument(
        "--limit",
        type=checked(values.positive),
        default=20,
        metavar="N",
        help="newest first",
    )


def one(parser: argparse.ArgumentParser) -> None:
    """Take one id and how to print."""
    number(parser)
    as_json(parser)


def one_task(parser: argparse.ArgumentParser) -> None:
    """Take one task and how to print."""
    task(parser)
    as_json(parser)


def backup(parser: argparse.ArgumentParser) -> None:
    """Take where to."""
    parser.add_argument("file", metavar="FILE")


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
}
COMMANDS: dict[tuple[str, ...], Command] = {
    ("serve",): Command("servecommand.serve", serve_options, "the daemon"),
    ("demo",): Command(
        "servicecommands.show_demo", demo_options, "the main job, shown"
    ),
    ("check",): Command("servicecommands.show_check", as_json, "look at the set-up"),
    ("task", "add"): Command("taskcommands.task_add", task_add, "print the new id"),
    ("task", "list"): Command("taskcommands.task_list", as_json, "all tasks"),
    ("task", "show"): Command("taskcommands.task_show", one_task, "one task"),
    ("task", "set"): Command("taskcommands.task_set", task_set, "change a task"),
    ("task", "enable"): Command("taskcommands.task_enable", task, "take triggers"),
    ("task", "disable"): Command("taskcommands.task_disable", task, "refuse triggers"),
    ("task", "remove"): Command("taskcommands.task_remove", task, "forget a task"),
    ("task", "sync"): Command("taskcommands.task_sync", task_sync, "run it and watch"),
    ("trigger",): Command("triggercommands.trigger", trigger, "post as a CI job would"),
    ("sign",): Command("triggercommands.sign", sign, "sign FILE or stdin"),
    ("run", "list"): Command("runcommands.run_list", run_list, "the newest runs"),
    ("run", "show"): Command("runcommands.run_show", one, "one run"),
    ("run", "log"): Command("runcommands.run_log", number, "what git said"),
    ("run", "retry"): Command("runcommands.run_retry", number, "queue its task again"),
    ("run", "cancel"): Command("runcommands.run_cancel", number, "end a run"),
    ("delivery", "list"): Command("runcommands.delivery_list", delivery_list, "recent"),
    ("delivery", "show"): Command("runcommands.delivery_show", one, "one delivery"),
    ("hook", "list"): Command("hookcommands.hook_list", as_json, "what to enter where"),
    ("hook", "secret"): Command(
        "hookcommands.hook_secret", hook, "make a random secret"
    ),
    ("hook", "test"): Command(
        "hookcommands.hook_test", hook_test, "send a signed push"
    ),
    ("backup",): Command(
        "runcommands.backup", backup, "a consistent copy of the store"
    ),
}  # fmt: skip


def parser(first: str = "") -> Parser:
    """Build the parser of all commands; only those of `first` if it is one's name."""
    chosen = {words: each for words, each in COMMANDS.items() if words[0] == first}
    root = Parser(PROG, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    root.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    common(root)
    top = root.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for (*names, last), command in (chosen or COMMANDS).items():
        for name in names:
            groups[name] = groups.get(name) or group(top, name)
        where = groups[names[0]] if names else top
        own = where.add_parser(
            last, help=command.help, description=command.help, allow_abbrev=False
        )
        common(own)
        command.fill(own)
        own.set_defaults(load=command.load, carry_out=carry_out)
    return root


def group(top: Any, name: str) -> Any:
    """Add a command that has commands."""
    text = GROUPS[name]
    under = top.add_parser(name, help=text, description=text, allow_abbrev=False)
    common(under)
    return under.add_subparsers(metavar="COMMAND", required=True)


def common(parser: argparse.ArgumentParser) -> None:
    """Take what every command takes, before its name or after."""
    parser.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="the configuration"
    )
    parser.add_argument(
        "--state", metavar="DIR", default=argparse.SUPPRESS, help="the state directory"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; return the exit status."""
    prepare_streams()
    logging.getLogger(__package__).addHandler(logging.NullHandler())
    try:
        status = carry_out(sys.argv[1:] if arguments is None else arguments, os.environ)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in one line
        return told(error, sys.stderr, os.environ)
    except KeyboardInterrupt:
        return 130
    except SystemExit as asked:
        return int(asked.code or 0)
    return status


def prepare_streams() -> None:
    """Let every text be printable, also where there is nothing to print to."""
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def carry_out(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Parse and run; whatever fails is raised."""
    args = parser(*arguments[:1]).parse_args(
        arguments, SimpleNamespace(config=None, state=None)
    )
    for name, value in vars(args).items():
        if name not in FILES:
            check_text(value)
    session = Session(
        environ,
        sys.stdout,
        look_of(sys.stdout, environ, time.time()),
        args.config,
        state_dir(environ, args.state, os.geteuid()),
    )
    run: Run = args.load()
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


def told(error: Exception, stream: TextIO, environ: Mapping[str, str]) -> int:
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
    stream.write(f"{priority}{PROG}: {safe(redacted(line))}\n")
    return error.exit_status if isinstance(error, Failure) else 1


def drop_output() -> None:
    """Drop what cannot be printed: the interpreter would complain at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    return str(error)


def _defect(error: Exception) -> str:
    return f"unexpected {type(error).__name__}: {error} ({DEBUG}=1 shows where)"
