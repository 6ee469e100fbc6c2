"""Two repositories on this machine, and git for them."""

import shutil
import subprocess

GIT = shutil.which("git")


def git(*arguments, cwd=None):
    done = subprocess.run(
        [GIT, "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(repository, text):
    """Put one more commit on main of a bare repository; returns its id."""
    tree = git("hash-object", "-t", "tree", "-w", "/dev/null", cwd=repository)
    parent = git(
        "for-each-ref", "--format=%(objectname)", "refs/heads/main", cwd=repository
    )
    above = ["-p", parent] if parent else []
    made = git("commit-tree", tree, *above, "-m", text, cwd=repository)
    git("update-ref", "refs/heads/main", made, cwd=repository)
    return made


def tip(repository):
    return git("rev-parse", "refs/heads/main", cwd=repository)
