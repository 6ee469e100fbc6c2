"""The recipes of the manual's page about deploying, pasted as they stand there.

sudo, systemctl and the owner of a folder are stood in for, and paths are below the
test's folder; on a machine with systemd, tests/system/vm/deploying.py does without.
"""

import base64
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gms_hookd.cli.manual import topic
from tests.support.in_process import Place, until
from tests.support.repositories import ENVIRON, Repo
from tests.support.vendor import Vendor

ROOT = Path(__file__).parents[2]
PAGE = topic("deploying")
BLOCKS = re.findall(r"^```(sh|toml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SOURCE = "https://github.com/you/app.git"
STAND_INS = """\
sudo() { [ "$1" != -u ] || shift 2; "$@"; }
systemctl() { echo "systemctl $*"; }
install() { while [ "${1#/}" = "$1" ]; do shift; done; mkdir -p "$@"; }
gms-hookd() { "$PYTHON" -m gms_hookd --config "$CONFIG" --state "$STATE" "$@"; }
"""


def recipe(words):
    """Return the one command block that holds these words."""
    (found,) = [text for kind, text in BLOCKS if kind == "sh" and words in text]
    return found


class Machine:
    """A folder that is the root of a machine."""

    def __init__(self, root):
        self.root, self.source = root, Repo(root / "source.git")
        self.source.commit("main", files={"page": "one", "other": "x"})
        (root / "etc/systemd/system").mkdir(parents=True)
        self.config = root / "config.toml"
        self.config.write_text('[webhook]\nsecret = "a secret of the machine"\n')
        self.config.chmod(0o600)
        self.settings = {
            **ENVIRON,
            "PYTHON": sys.executable,
            "CONFIG": str(self.config),
            "STATE": str(root / "state"),
        }

    def here(self, text):
        """Return the text of the manual with the paths and the source of this one."""
        text = text.replace(SOURCE, str(self.source))
        return re.sub(r"/(srv|etc)/", rf"{self.root}/\1/", text)

    def paste(self, text):
        script = STAND_INS + "set -eo pipefail\n" + text
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=self.settings, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    def sync(self, task):
        return self.paste(f"gms-hookd task sync {task}")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_work_tree_follows_and_keeps_what_was_changed_there(machine):
    status, said = machine.paste(machine.here(recipe("updateInstead")))
    assert status == 0, said
    page = machine.root / "srv/site/page"
    assert page.read_text() == "one"
    page.write_text("changed here\n")
    machine.source.commit("main", files={"page": "two"})
    status, said = machine.sync("site")
    assert status == 1
    assert "Working directory has unstaged changes" in said
    assert page.read_text() == "changed here\n"
    drop_in = machine.root / "etc/systemd/system/gms-hookd.service.d/site.conf"
    assert f"ReadWritePaths=-{machine.root}/srv/site\n" in drop_in.read_text()


def test_a_hook_lays_out_what_arrives(machine):
    status, said = machine.paste(machine.here(recipe("post-receive")))
    assert status == 0, said
    page = machine.root / "srv/www/page"
    assert page.read_text() == "one"
    page.write_text("changed here\n")
    machine.source.commit("main", files={"page": "two"})
    assert machine.sync("www")[0] == 0
    assert page.read_text() == "two"


def test_the_units_are_as_systemd_wants_them(machine):
    status, said = machine.paste(machine.here(recipe("site-deploy.path")))
    assert (status, said) == (
        0,
        "systemctl daemon-reload\nsystemctl enable --now site-deploy.path\n",
    )
    units = machine.root / "etc/systemd/system"
    path = (units / "site-deploy.path").read_text()
    assert f"PathChanged={machine.root}/srv/site/.git/refs/heads/main\n" in path
    assert "Type=oneshot" in (units / "site-deploy.service").read_text()


def test_everything_else_hears_of_a_change(tmp_path):
    vendor = Vendor()
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    secret = tmp_path / "deploy"
    secret.write_text("whsec_" + base64.b64encode(bytes(24)).decode() + "\n")
    secret.chmod(0o600)
    given = tomllib.loads(text)["notify"]["deploy"]
    text = text.replace(given["url"], vendor.url)
    place = Place(tmp_path, text.replace(given["secret_file"], str(secret)))
    try:
        source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
        source.commit()
        place.ended(place.order("site", source, target))
        until(lambda: vendor.got)
        (sent,) = vendor.got
        assert b'"sync.changed"' in sent.body
        assert sent.headers["webhook-signature"].startswith("v1,")
    finally:
        place.close()
        vendor.stop()
