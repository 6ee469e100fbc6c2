"""Shell completion, made from the table of commands and what each takes."""

import pkgutil
import re
from collections.abc import Iterator
from itertools import chain

from gms_hookd.cli.arguments import ArgumentParser, common
from gms_hookd.cli.main import COMMANDS, PROG
from gms_hookd.cli.session import Args, Session

GLOBAL = "--config --state --help"
SCRIPT = (pkgutil.get_data("gms_hookd.cli", "completion.bash") or b"").decode()


def completion(session: Session, _args: Args) -> int:
    """Print the completion for a shell."""
    session.out.write(script())
    return 0


def script() -> str:
    """Return the script for bash: which words may follow which."""
    cases = "\n".join(
        f'    {pattern}) words="{words}" ;;' for pattern, words in followers()
    )
    return SCRIPT.replace("    # CASES", cases)


def followers() -> Iterator[tuple[str, str]]:
    """Give a pattern for what was typed so far, and the words that may follow."""
    firsts = list(dict.fromkeys(words[0] for words in COMMANDS))
    yield '""', " ".join((*firsts, GLOBAL, "--version"))
    for first in firsts:
        if (first,) not in COMMANDS:
            seconds = (words[1] for words in COMMANDS if words[0] == first)
            yield f'" {first}"', " ".join((*seconds, GLOBAL))
    for words in COMMANDS:
        yield f'" {" ".join(words)}"*', " ".join(options(words))


def options(words: tuple[str, ...]) -> list[str]:
    """Return the options of a command, and the words of its choices."""
    parser = ArgumentParser(PROG, allow_abbrev=False)
    common(parser)
    COMMANDS[words].fill(parser)
    usage = parser.format_usage()
    choices = (each.split(",") for each in re.findall(r"\{([\w,-]+)\}", usage))
    named = re.findall(r"--[a-z][a-z-]*", usage)
    return sorted({*named, *chain.from_iterable(choices), "--help"})
