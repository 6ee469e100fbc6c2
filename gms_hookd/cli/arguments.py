"""What each command takes: its arguments, and their help.

How to read those that are more than a number is in `words`.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from gms_hookd.errors import Failure
from gms_hookd.statuses import RunStatus

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


class ArgumentParser(argparse.ArgumentParser):
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
        help="listen here, may be given again; or unix:PATH, [V6]:PORT, :PORT for every"
        " address (default: server.listen, which is 127.0.0.1:38080)",
    )


def nothing(parser: argparse.ArgumentParser) -> None:
    """Take nothing."""


def manual(parser: argparse.ArgumentParser) -> None:
    """Take which part of the manual to show."""
    parser.add_argument(
        "topic",
        metavar="TOPIC",
        nargs="?",
        help="which part (default: the list of all)",
    )
    parser.add_argument(
        "--lang", metavar="LANGUAGE", default="en", help="en or zh (default: en)"
    )


def completion(parser: argparse.ArgumentParser) -> None:
    """Take the shell."""
    parser.add_argument("shell", choices=("bash",), help="the shell")


def install(parser: argparse.ArgumentParser) -> None:
    """Take how to install."""
    parser.add_argument(
        "--socket",
        action="store_true",
        help="let systemd hold the listening sockets, also while the daemon restarts",
    )
    dry_run(parser)


def uninstall(parser: argparse.ArgumentParser) -> None:
    """Take how much goes."""
    parser.add_argument(
        "--purge",
        action="store_true",
        help="remove configuration, secrets, state and user as well",
    )
    dry_run(parser)


def dry_run(parser: argparse.ArgumentParser) -> None:
    """Take whether to print only."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print the steps, change nothing"
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


def check(parser: argparse.ArgumentParser) -> None:
    """Take how to print, and whether the daemon must run."""
    as_json(parser)
    parser.add_argument(
        "--service", action="store_true", help="exit 1 when the daemon does not run"
    )


def task(parser: argparse.ArgumentParser) -> None:
    """Take one task."""
    parser.add_argument("task", metavar="TASK", help="id or name")


def number(parser: argparse.ArgumentParser) -> None:
    """Take one id."""
    parser.add_argument("id", metavar="ID", type=checked(positive), help="its number")


def _switch(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    parser.add_argument(name, action="store_true", help=text)


def task_add(parser: argparse.ArgumentParser) -> None:
    """Take a new task."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="letters, digits, . _ - /; with '*' in name, source and target: a pattern",
    )
    parser.add_argument("--source", required=True, metavar="URL", help="where from")
    parser.add_argument("--target", required=True, metavar="URL", help="where to")
    refs(parser)
    _switch(parser, "--force", "overwrite what has diverged (default: conflict)")
    _switch(
        parser, "--prune", "delete what the source no longer has (default: keep it)"
    )
    _times(parser)
    _switch(
        parser,
        "--create",
        "make the target, a path on this machine, where it is not there"
        " (default: it must be there)",
    )
    parser.add_argument(
        "--max",
        type=checked(positive),
        metavar="N",
        help="of a pattern: how many tasks it may make, 1 to 10000 (default: 1000)",
    )
    _switch(parser, "--disabled", "take no triggers for now (default: enabled)")


def _times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=checked(word("seconds")),
        metavar="SECONDS",
        help="of one attempt, as in 90, 10m or 2h, at most 7d (default: sync.timeout,"
        " which is 10m)",
    )
    parser.add_argument(
        "--cron",
        type=checked(word("schedule")),
        default="",
        metavar="SCHEDULE",
        help='when it runs by itself, as in "0 2 * * *", "@hourly", "@every 90m"'
        " (default: only when triggered)",
    )


def task_expand(parser: argparse.ArgumentParser) -> None:
    """Take a pattern and a list of names."""
    parser.add_argument("task", metavar="PATTERN", help="id or name, as in 'team/*'")
    parser.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="names, one a line, as gh repo list prints them (default: stdin)",
    )
    as_json(parser)


def refs(parser: argparse.ArgumentParser) -> None:
    """Take which refs to sync, kept in the order in which they were given."""
    parser.add_argument(
        "--branch",
        dest="refspecs",
        action="append",
        type=checked(word("branch")),
        default=[],
        metavar="SRC[:DST]",
        help="one branch, may be given again (default: all branches and tags)",
    )
    parser.add_argument(
        "--refspec",
        dest="refspecs",
        action="append",
        default=[],
        metavar="SPEC",
        help="git's own notation, may be given again (default: all branches and tags)",
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


def task_sync(parser: argparse.ArgumentParser) -> None:
    """Take a task, and how to go about it."""
    task(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="also delete what a guard held")
    how.add_argument(
        "--dry-run", action="store_true", help="print the plan, change nothing"
    )


def trigger(parser: argparse.ArgumentParser) -> None:
    """Take a task and where to post."""
    task(parser)
    parser.add_argument(
        "--url", help="of the hook (default: this machine, the first of server.listen)"
    )
    parser.add_argument(
        "--wait",
        type=checked(wait),
        metavar="SECONDS",
        help="hold until the run ends, 0 to 300 (default: do not wait)",
    )
    as_json(parser)


def sign(parser: argparse.ArgumentParser) -> None:
    """Take what to sign."""
    parser.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="what to sign (default: stdin)",
    )


def run_list(parser: argparse.ArgumentParser) -> None:
    """Take which runs to list."""
    parser.add_argument("--task", metavar="TASK", help="id or name (default: all)")
    parser.add_argument(
        "--status",
        metavar="S",
        choices=STATUSES,
        help=f"one of {', '.join(STATUSES)} (default: all)",
    )
    page(parser)
    as_json(parser)


def run_undo(parser: argparse.ArgumentParser) -> None:
    """Take a run, and which of its refs to put back."""
    number(parser)
    parser.add_argument(
        "--ref",
        dest="refs",
        action="append",
        default=[],
        metavar="REF",
        help="only this ref or branch, may be given again (default: all of the run's)",
    )


def hook(parser: argparse.ArgumentParser) -> None:
    """Take one hook."""
    parser.add_argument("name", metavar="NAME", help="of the hook")


def hook_test(parser: argparse.ArgumentParser) -> None:
    """Take a hook, and what the push shall be about."""
    hook(parser)
    parser.add_argument(
        "--task",
        metavar="TASK",
        help="push to its source, and sync it (default: to one that no task has)",
    )
    parser.add_argument(
        "--url", help="of the hook (default: this machine, the first of server.listen)"
    )
    as_json(parser)


def delivery_list(parser: argparse.ArgumentParser) -> None:
    """Take which deliveries to list."""
    parser.add_argument("--hook", metavar="H", help="name of the hook (default: all)")
    parser.add_argument(
        "--status",
        metavar="N",
        type=checked(positive),
        help="HTTP status, as in 401 (default: all)",
    )
    page(parser)
    as_json(parser)


def page(parser: argparse.ArgumentParser) -> None:
    """Take which part of a list to show."""
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=checked(word("since")),
        help="RFC 3339, a date, or an age as in 2h, 7d (default: from the first on)",
    )
    parser.add_argument(
        "--before",
        metavar="ID",
        type=checked(positive),
        help="older than this one (default: from the newest on)",
    )
    limit(parser)


def notice_list(parser: argparse.ArgumentParser) -> None:
    """Take which notices to list."""
    parser.add_argument(
        "--target", metavar="NAME", help="of [notify.NAME] (default: all)"
    )
    parser.add_argument(
        "--status",
        metavar="S",
        choices=NOTICES,
        help=f"one of {', '.join(NOTICES)} (default: all)",
    )
    parser.add_argument(
        "--before",
        metavar="ID",
        help="older than this one (default: from the newest on)",
    )
    limit(parser)
    as_json(parser)


def target(parser: argparse.ArgumentParser) -> None:
    """Take one target of notices."""
    parser.add_argument("name", metavar="NAME", help="of [notify.NAME]")
    as_json(parser)


def notice(parser: argparse.ArgumentParser) -> None:
    """Take one notice."""
    parser.add_argument("id", metavar="ID", help="as notify list shows it")
    as_json(parser)


def limit(parser: argparse.ArgumentParser) -> None:
    """Take how many to list."""
    parser.add_argument(
        "--limit",
        type=checked(positive),
        default=20,
        metavar="N",
        help="how many, the newest first, from 1 on (default: 20)",
    )


def one(parser: argparse.ArgumentParser) -> None:
    """Take one id and how to print."""
    number(parser)
    as_json(parser)


def one_task(parser: argparse.ArgumentParser) -> None:
    """Take one task and how to print."""
    task(parser)
    as_json(parser)


def import_gms(parser: argparse.ArgumentParser) -> None:
    """Take where GMS's tasks are, and whether to print only."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="GMS's git_sync.db, or JSON of its API; - for stdin",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be, change nothing"
    )


def backup(parser: argparse.ArgumentParser) -> None:
    """Take where to."""
    parser.add_argument(
        "file", metavar="FILE", help="replaced at once or not at all; not the store"
    )


def common(parser: argparse.ArgumentParser) -> None:
    """Take what every command takes, before its name or after."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the configuration, .toml or .yaml (default: $GMS_HOOKD_CONFIG, or the"
        " first of /etc/gms-hookd/config.toml and config.yaml; none is fine)",
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="the state directory (default: $GMS_HOOKD_STATE, $STATE_DIRECTORY,"
        " /var/lib/gms-hookd for root and the service's user, else"
        " ~/.local/state/gms-hookd)",
    )
