"""The commands about tasks: add, change, show; to sync one is `sync`."""

import re
import sys
from collections.abc import Mapping
from typing import BinaryIO

from gms_hookd.cli import render
from gms_hookd.cli.api_client import get, post
from gms_hookd.cli.arguments import UsageError
from gms_hookd.cli.session import SLOW, Args, Session, api_of, task_id, which
from gms_hookd.errors import Failure

ASKED = (
    "name", "source", "target", "refspecs", "force", "prune", "timeout", "cron",
    "create",
)  # fmt: skip
AT_ONCE = 200  # names in one call
SHOWING = r"Showing \d+ of \d+ "  # how a list of glab begins
BRANCHES = frozenset({"source_branch", "target_branch"})


def task_add(session: Session, args: Args) -> int:
    """Add a task and print its id."""
    asked = {key: getattr(args, key) for key in ASKED} | {"enabled": not args.disabled}
    if args.max is not None:
        asked["max"] = args.max
    with api_of(session) as api:
        added = post(api, "task/create", asked)
    session.say(added["id"])
    return 0


def _names(file: str) -> list[str]:
    names = [name for line in read_lines(file) if (name := first_word(line))]
    if not names:
        raise Failure("the list has no names: one a line, as gh repo list prints them")
    return names


def task_expand(session: Session, args: Args) -> int:
    """Make the tasks of a pattern from a list of names."""
    names = _names(args.file)
    with api_of(session) as api:
        pattern = task_id(api, args.task)
        parts = (names[n : n + AT_ONCE] for n in range(0, len(names), AT_ONCE))
        asked = ({"id": pattern, "names": part} for part in parts)
        made = [one for body in asked for one in post(api, "task/expand", body, SLOW)]
    session.show(args, made, render.expanded)
    refused = sum(one["result"] == "refused" for one in made)
    if refused:
        raise Failure(f"{refused} of {len(made)} names refused")
    return 0


def read_lines(file: str) -> list[str]:
    """Return the lines of a file, or of stdin."""
    if file == "-":
        return _lines(sys.stdin.buffer)
    with open(file, "rb") as stream:
        return _lines(stream)


def _lines(stream: BinaryIO) -> list[str]:
    return stream.read().decode("utf-8", "replace").split("\n")


def first_word(line: str) -> str:
    """Return the name in a line of what gh, glab or tea print, "" for none.

    It is the first column; a comment, a head or a rule has none. A sentence is given
    back whole, since its first word is no name.
    """
    bare = line.strip(' \t\r|"')
    if bare.startswith(("#", "+-", "--")) or re.match(SHOWING, bare):
        return ""
    word = re.split(r"[\s,|]", bare, maxsplit=1)[0]
    rest = bare.removeprefix(word)
    sentence = re.match(r" +[^\s|#]", rest) and "/" not in word
    return bare if sentence else word.strip('"')


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
    names = [name for name, _ in args.changes]
    ways = {"branches" if name in BRANCHES else name for name in names}
    twice = {name for name in names if names.count(name) > 1}
    if twice or {"branches", "refspecs"} <= ways:
        which = ", ".join(sorted(twice)) or "branch and refspecs"
        raise UsageError(f"{which}: given in two ways, keep one of them")
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
