"""README and manual are true: commands exist and work, tables leave nothing out."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gms_hookd.cli import main
from gms_hookd.cli.manual import topic, topics
from gms_hookd.config import sources
from gms_hookd.forges.registry import FORGES
from tests.support.process import Daemon
from tests.support.repositories import Repo

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MANUAL = {name: topic(name) for name in topics()}
SHELL = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

# These need a network; those above are pasted by tests/system/paste.
DEVELOPMENT = re.findall(
    r"^```sh development\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
)

PASTED = set(re.findall(r"gms-hookd(?:\.pyz)? ([a-z]+)", "\n".join(SHELL)))


def code_in(text):
    return set(re.findall(r"`([^`\n]+)`", text))


def test_the_first_command_runs_the_main_job_and_the_second_the_tests():
    assert SHELL[0] == "python3 -m gms_hookd demo --once\n"
    assert DEVELOPMENT[0].startswith("python3 -m venv ")
    assert DEVELOPMENT[0].endswith(" -m pytest\n")


@pytest.mark.parametrize("name", sorted({words[-1] for words in main.COMMANDS}))
def test_every_command_is_named(name):
    assert re.search(rf"`(\w+ )?{name}\b", MANUAL["commands"])


@pytest.mark.parametrize("name", FORGES)
def test_every_forge_is_in_the_table(name):
    assert f"\n| `{name}` |" in MANUAL["forges"]


@pytest.mark.parametrize(
    "name", [f"{s}.{key}" for s, keys in sources.KEYS.items() for key in keys]
)
def test_every_setting_is_in_the_table(name):
    key = name.rpartition(".")[2]
    words = {word.rpartition(".")[2] for word in code_in(MANUAL["configuration"])}
    assert key in words, name


def test_every_topic_is_listed_and_linked():
    others = set(MANUAL) - {"index"}
    assert others <= code_in(MANUAL["index"])
    linked = re.findall(r"\]\((gms_hookd/manual/(\w+)\.md)\)", README)
    assert {name for _, name in linked} == others
    assert all((ROOT / path).is_file() for path, _ in linked)


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"gms-hookd ([a-z]+)", "\n".join(SHELL))))
)
def test_what_the_readme_has_pasted_exists(command):
    assert any(words[0] == command for words in main.COMMANDS)


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
def test_the_curl_can_be_pasted(tmp_path):
    source = Repo(tmp_path / "source.git")
    source.commit("main")
    daemon = Daemon(tmp_path)
    try:
        daemon.start()
        daemon.api(
            "POST", "task/create", name="app", source=str(source), target="/nonexistent"
        )
        (snippet,) = [text for text in SHELL if "openssl dgst" in text]
        (tmp_path / "secret").write_text(daemon_secret(daemon))
        pasted = snippet.replace(
            "sudo cat /var/lib/gms-hookd/webhook-secret", f"cat {tmp_path}/secret"
        ).replace("curl ", f"curl --unix-socket {daemon.socket} ")
        said = subprocess.check_output(["bash", "-ec", pasted], text=True)
    finally:
        daemon.close()
    assert said == '{"message": "Sync triggered successfully", "task_id": 1}'


def daemon_secret(daemon):
    return re.search(r'secret = "(.+)"', daemon.config.read_text())[1]


def test_each_test_that_the_manual_names_for_a_fault_is_there():
    rows = re.findall(r"^\| .* \| (.*) \|$", MANUAL["faults"], re.MULTILINE)
    named = [cell for cell in rows if cell.startswith("`")]
    assert len(named) > 40
    for cell in named:
        file = None
        for name in code_in(cell):
            assert name.endswith(".py") or name.startswith("test_"), name
        for name in re.findall(r"`([^`]+)`", cell):
            file = ROOT / "tests" / name if name.endswith(".py") else file
            assert file.is_file(), name
            assert name.endswith(".py") or f"def {name}(" in file.read_text(), name
