"""The addresses that a repository of somebody else's gives its remotes."""

import os
from collections.abc import Mapping
from pathlib import Path

from gms_hookd.git.command import ISOLATED
from gms_hookd.git.process import run

PATIENCE = 10.0  # seconds


def remote_url(repository: Path, name: str, environ: Mapping[str, str]) -> str:
    """Return what `git config --get remote.NAME.url` says there; "" for nothing.

    Named outright, a repository of another owner is read as well, and nothing of it is
    carried out. Raises GitError where git cannot be run.
    """
    inner = repository / ".git"  # of a work tree, maybe a file that names the folder
    gitdir = inner if inner.exists() else repository
    own = {"PATH": environ.get("PATH", os.defpath), "GIT_CONFIG_GLOBAL": "/dev/null"}
    ask = ("config", "--no-includes", "--get", f"remote.{name}.url")
    done = run(("git", f"--git-dir={gitdir}", *ask), {**ISOLATED, **own}, PATIENCE)
    return "" if done.status else done.out.decode("utf-8", "surrogateescape").strip()
