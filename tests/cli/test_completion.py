"""The completion for bash, as bash itself uses it."""

import shutil
import subprocess

import pytest

from gms_hookd.cli.completion import options, script
from gms_hookd.cli.main import COMMANDS

bash = shutil.which("bash")
pytestmark = pytest.mark.skipif(not bash, reason="no bash here")


def complete(*typed):
    """Return what bash offers for the last of the words typed."""
    words = " ".join(f"'{word}'" for word in ("gms-hookd", *typed))
    asked = f"COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _gms_hookd"
    shown = 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.check_output(
        [bash, "-euc", f"{script()}\n{asked}\n{shown}"], text=True
    )
    return done.split()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("tas",), ["task"]),
        (("task", "re"), ["remove"]),
        (("--config", "x.toml", "run", "ret"), ["retry"]),
        (("task", "add", "app", "--so"), ["--source"]),
        (("completion", ""), ["--config", "--help", "--state", "bash"]),
        (("run", "--json", "nope"), []),
    ],
)
def test_it_offers_what_may_follow(typed, offered):
    assert complete(*typed) == offered


def test_every_command_is_offered():
    for words in COMMANDS:
        assert words[-1] in complete(*words[:-1], words[-1][:1])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_offered(words):
    assert complete(*words, "--") == [x for x in options(words) if x[:2] == "--"]
