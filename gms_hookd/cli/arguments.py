"""What each command takes: its arguments, and their help.

How to read those that are more than a number is in `words`.
"""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from gms_hookd.contract import RunStatus
from gms_hookd.errors import Failure

STATUSES = tuple(status.value for status in RunStatus)
NOTICES = ("waiting", "sent", "dead", "dropped")
LONGEST_WAIT = 300


def positive(text: str) -> int:
    """Read a number from 1 on."""
    if text.isascii() and text.isdigit() and int(text[:19]) > 0 and len(text) < 19:
        return int(text)
    raise ValueError(f"{text!r} is not a positive number")


def wait(text: str) -> int:
    """Read how many seconds to wait."""
    number = 0 if text == "0" else positive(text)
    if number <= LONGEST_WAIT:
        return number
    raise ValueError(f"{text!r} is more than {LONGEST_WAIT} seconds")


def words() -> Any:
    """Import what reads times, refs and changes: few commands are given any.

    With `cron`, `units` and `git.refspec` it takes 30 ms to load.
    """
    return import_module("gms_hookd.cli.words")


def word(name: str) -> Callable[[str], Any]:
    """Return a reader of `words`, which is loaded when there is something to read."""

    def read(text: str) -> Any:
        return getattr(words(), name)(text)

    return read


Fill = Callable[[argparse.ArgumentParser], None]


class UsageError(Failure):
    """The command line is not one of ours; the text says why."""

    exit_status = 2


class _Formatter(argparse.HelpFormatter):
    """Help as wide as the terminal.

    The standard one is made for each argument, and asks `shutil`, with all compression.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (ValueError, OSError):  # it is closed, or no terminal
        return 80


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser whose complaint is an exception of one line."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, formatter_class=_Formatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is unknown where it stands; argparse leaves it to the root."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

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


def argument(*names: str, says: str, **options: Any) -> Fill:
    """Return what has a parser take an argument; its help is what `says` says."""

    def fill(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(*names, help=says, **options)

    return fill


def switch(name: str, says: str) -> Fill:
    """Return what has a parser take an option without a value."""
    return argument(name, says=says, action="store_true")


def several(name: str, says: str, *, dest: str, metavar: str, **options: Any) -> Fill:
    """Return what has a parser take an option that may be given again."""
    more = {"action": "append", "default": [], "dest": dest, "metavar": metavar}
    return argument(name, says=says, **more, **options)


def takes(*fills: Fill) -> Fill:
    """Return what has a parser take all of these."""

    def fill(parser: argparse.ArgumentParser) -> None:
        for each in fills:
            each(parser)

    return fill


nothing = takes()
as_json = switch("--json", "print the objects of the API")
dry_run = switch("--dry-run", "print the steps, change nothing")
task = argument("task", metavar="TASK", says="id or name")
number = argument("id", metavar="ID", type=checked(positive), says="its number")
hook = argument("name", metavar="NAME", says="of the hook")
one = takes(number, as_json)
one_task = takes(task, as_json)
url = argument(
    "--url", says="of the hook (default: this machine, the first of server.listen)"
)
limit = argument(
    "--limit",
    type=checked(positive),
    default=20,
    metavar="N",
    says="how many, the newest first, from 1 on (default: 20)",
)


def _before(read: Callable[[str], Any]) -> Fill:
    says = "older than this one (default: from the newest on)"
    return argument("--before", metavar="ID", type=read, says=says)


def _status(words: tuple[str, ...]) -> Fill:
    says = f"one of {', '.join(words)} (default: all)"
    return argument("--status", metavar="S", choices=words, says=says)


def _file(says: str) -> Fill:
    says = f"{says} (default: stdin)"
    return argument("file", nargs="?", default="-", metavar="FILE", says=says)


page = takes(
    argument(
        "--since",
        metavar="TIME",
        type=checked(word("since")),
        says="RFC 3339, a date, or an age as in 2h, 7d (default: from the first on)",
    ),
    _before(checked(positive)),
    limit,
)
serve_options = several(
    "--listen",
    "listen here, may be given again; or unix:PATH, [V6]:PORT, :PORT for every"
    " address (default: server.listen, which is 127.0.0.1:38080)",
    dest="listen",
    metavar="HOST:PORT",
)
manual = takes(
    argument(
        "topic",
        metavar="TOPIC",
        nargs="?",
        says="which part (default: the list of all)",
    ),
    argument("--lang", metavar="LANGUAGE", default="en", says="en or zh (default: en)"),
)
completion = argument("shell", choices=("bash",), says="the shell")
install = takes(
    switch(
        "--socket",
        "let systemd hold the listening sockets, also while the daemon restarts",
    ),
    dry_run,
)
uninstall = takes(
    switch("--purge", "remove configuration, secrets, state and user as well"), dry_run
)
demo_options = switch("--once", "stop after the show instead of serving")
check = takes(as_json, switch("--service", "exit 1 when the daemon does not run"))
refs = takes(  # kept in the order in which they were given
    several(
        "--branch",
        "one branch, may be given again (default: all branches and tags)",
        dest="refspecs",
        type=checked(word("branch")),
        metavar="SRC[:DST]",
    ),
    several(
        "--refspec",
        "git's own notation, may be given again (default: all branches and tags)",
        dest="refspecs",
        metavar="SPEC",
    ),
)
task_add = takes(
    argument(
        "name",
        metavar="NAME",
        says="letters, digits, . _ - /; with '*' in name, source and target: a pattern",
    ),
    argument("--source", required=True, metavar="URL", says="where from"),
    argument("--target", required=True, metavar="URL", says="where to"),
    refs,
    switch("--force", "overwrite what has diverged (default: conflict)"),
    switch("--prune", "delete what the source no longer has (default: keep it)"),
    argument(
        "--timeout",
        type=checked(word("seconds")),
        metavar="SECONDS",
        says="of one attempt, as in 90, 10m or 2h, at most 7d (default: sync.timeout,"
        " which is 10m)",
    ),
    argument(
        "--cron",
        type=checked(word("schedule")),
        default="",
        metavar="SCHEDULE",
        says='when it runs by itself, as in "0 2 * * *", "@hourly", "@every 90m"'
        " (default: only when triggered)",
    ),
    switch(
        "--create",
        "make the target, a path on this machine, where it is not there"
        " (default: it must be there)",
    ),
    argument(
        "--max",
        type=checked(positive),
        metavar="N",
        says="of a pattern: how many tasks it may make, 1 to 10000 (default: 1000)",
    ),
    switch("--disabled", "take no triggers for now (default: enabled)"),
)
task_expand = takes(
    argument("task", metavar="PATTERN", says="id or name, as in 'team/*'"),
    _file("names, one a line, as gh repo list prints them"),
    as_json,
)
trigger = takes(
    task,
    url,
    argument(
        "--wait",
        type=checked(wait),
        metavar="SECONDS",
        says="hold until the run ends, 0 to 300 (default: do not wait)",
    ),
    as_json,
)
sign = _file("what to sign")
run_list = takes(
    argument("--task", metavar="TASK", says="id or name (default: all)"),
    _status(STATUSES),
    page,
    as_json,
)
run_undo = takes(
    number,
    several(
        "--ref",
        "only this ref or branch, may be given again (default: all of the run's)",
        dest="refs",
        metavar="REF",
    ),
)
hook_test = takes(
    hook,
    argument(
        "--task",
        metavar="TASK",
        says="push to its source, and sync it (default: to one that no task has)",
    ),
    url,
    as_json,
)
delivery_list = takes(
    argument("--hook", metavar="H", says="name of the hook (default: all)"),
    argument(
        "--status",
        metavar="N",
        type=checked(positive),
        says="HTTP status, as in 401 (default: all)",
    ),
    page,
    as_json,
)
notice_list = takes(
    argument("--target", metavar="NAME", says="of [notify.NAME] (default: all)"),
    _status(NOTICES),
    _before(str),
    limit,
    as_json,
)
target = takes(argument("name", metavar="NAME", says="of [notify.NAME]"), as_json)
notice = takes(argument("id", metavar="ID", says="as notify list shows it"), as_json)
import_gms = takes(
    argument(
        "files",
        metavar="FILE",
        nargs="+",
        says="GMS's git_sync.db, or JSON of its API; - for stdin",
    ),
    switch("--dry-run", "print what would be, change nothing"),
)
backup = argument(
    "file", metavar="FILE", says="replaced at once or not at all; not the store"
)
# What every command takes, before its name or after.
common = takes(
    argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        says="the configuration, .toml or .yaml (default: $GMS_HOOKD_CONFIG, or the"
        " first of /etc/gms-hookd/config.toml and config.yaml; none is fine)",
    ),
    argument(
        "--state",
        metavar="DIR",
        default=argparse.SUPPRESS,
        says="the state directory (default: $GMS_HOOKD_STATE, $STATE_DIRECTORY,"
        " /var/lib/gms-hookd for root and the service's user, else"
        " ~/.local/state/gms-hookd)",
    ),
)


def task_sync(parser: argparse.ArgumentParser) -> None:
    """Take a task, and how to go about it."""
    task(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="also delete what a guard held")
    how.add_argument(
        "--dry-run", action="store_true", help="print the plan, change nothing"
    )


def task_set(parser: argparse.ArgumentParser) -> None:
    """Take a task and what to change in it."""
    task(parser)
    parser.add_argument(
        "changes",
        nargs="+",
        type=checked(word("change")),
        metavar="KEY=VALUE",
        help=f"KEY is one of {', '.join(words().KEYS)}; force, prune, enabled and"
        " create take true or false, refspecs several with blanks between, timeout up"
        " to 7d or default, cron a schedule or nothing",
    )
