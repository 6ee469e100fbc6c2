"""Two repositories for a daemon, and a git that waits."""

import os

import pytest

from tests.support.disk import Disk
from tests.support.pair import GIT, commit, git


@pytest.fixture
def pair(tmp_path):
    """Make a source with one commit and an empty target; returns their paths."""

    def make(name="one"):
        source, target = (
            tmp_path / f"{name}-source.git",
            tmp_path / f"{name}-target.git",
        )
        for repository in (source, target):
            git("init", "-q", "--bare", "-b", "main", str(repository))
        commit(source, "first")
        return source, target

    return make


@pytest.fixture
def guard(tmp_path, daemon):
    """Put a git first in the daemon's PATH which fetches only through the gate.

    Opening the gate for writing waits until a fetch stands there.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    os.mkfifo(folder / "gate")
    (folder / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" fetch "*) read -r _ <{folder}/gate ;; esac\n'
        f'exec {GIT} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    daemon.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    return folder / "gate"


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    yield made
    made.close()
