"""The manual is in the archive, and shown topic by topic."""

import json
import subprocess
import sys

from gms_hookd import pyz
from gms_hookd.cli.manual import topic, topics


def run(archive, *words):
    command = [sys.executable, str(archive), "manual", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    return done.returncode, done.stdout, done.stderr


EACH = """
import json, sys
sys.path.insert(0, sys.argv[1])
from gms_hookd.cli.manual import topic, topics
print(json.dumps({name: topic(name) for name in topics()}))
"""


def test_the_archive_shows_each_topic(tmp_path):
    archive = tmp_path / "gms-hookd.pyz"
    pyz.build(archive)
    assert run(archive) == (0, topic("index").rstrip() + "\n", "")
    assert run(archive, "tasks") == (0, topic("tasks").rstrip() + "\n", "")
    argv = (sys.executable, "-I", "-c", EACH, str(archive))
    there = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/")
    assert json.loads(there.stdout) == {name: topic(name) for name in topics()}
    status, out, err = run(archive, "nothing")
    assert (status, out) == (1, "")
    assert err.startswith("gms-hookd: no topic 'nothing': there are api, beyond")
    assert run(archive, "tasks", "--lang", "xx")[0] == 1
