"""The Chinese pages say what the English ones say: no command, key or status lacks."""

import re

import pytest

from gms_hookd.cli import main
from gms_hookd.cli.manual import topic, topics
from gms_hookd.config import sources
from gms_hookd.errors import Failure
from gms_hookd.forges.registry import FORGES
from gms_hookd.model import RunStatus

PAGES = [name for name in topics("zh") if name != "index"]
USERS_HALF = {"install", "tasks", "forges", "gms", "configuration", "api", "operating"}
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
KEYS = {key.rpartition(".")[2] for keys in sources.KEYS.values() for key in keys}
COMMANDS = {" ".join(words) for words in main.COMMANDS}
STATUSES = {status.value for status in RunStatus}


def code(text):
    found = " ".join(CODE.findall(text))
    return re.sub(r"\s# .*", "", found)  # what is said to a command is translated


def words(text):
    """Return the commands, options, keys, variables and statuses of a page."""
    said = code(text)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", said))
    variables = set(re.findall(r"\b(?:GMS_HOOKD|WEBHOOK)_[A-Z_]+\b", said))
    statuses = set(re.findall(r"(?<![\d,.])[2-5]\d\d(?![\d,.])", text))
    settings = set(re.findall(r"\b(?:[a-z]+\.)+[a-z_]+\b", said)) & {
        f"{section}.{key}" for section, keys in sources.KEYS.items() for key in keys
    }
    known = COMMANDS | KEYS | STATUSES | set(FORGES)
    plain = {each for each in known if re.search(rf"(?<![\w-]){each}(?![\w-])", said)}
    return options | variables | statuses | settings | plain


def without(found, text):
    return sorted(each for each in found if each not in text)


def test_what_is_in_english_only_says_how_to_read_it():
    with pytest.raises(Failure, match="in English only: gms-hookd manual notify"):
        topic("notify", "zh")
    with pytest.raises(Failure, match="no topic 'nothing': there are api, "):
        topic("nothing", "zh")


def test_the_user_s_half_is_there():
    assert USERS_HALF | {"index", "commands"} <= set(topics("zh"))
    assert set(topics("zh")) <= set(topics())


@pytest.mark.parametrize("name", PAGES)
def test_every_command_key_and_status_of_the_english_page_stands_in_it(name):
    assert not without(words(topic(name)), topic(name, "zh"))


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_to_paste_are_the_same(name):
    def pasted(text):
        blocks = re.findall(r"^```sh[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = "".join(blocks).splitlines()
        return [re.sub(r"\s+# .*|\s+#$", "", line) for line in lines]

    assert pasted(topic(name, "zh")) == pasted(topic(name))


def test_the_index_names_every_topic_and_every_status():
    index = topic("index", "zh")
    assert not without({f"`{name}`" for name in topics()} - {"`index`"}, index)
    assert not without({f"`{status}`" for status in STATUSES}, index)


@pytest.mark.parametrize("name", ["index", *PAGES])
def test_it_is_chinese(name):
    text = CODE.sub("", topic(name, "zh"))
    chinese = len(re.findall(r"[\u4e00-\u9fff]", text))
    assert chinese > len(re.findall(r"[A-Za-z]+", text))
