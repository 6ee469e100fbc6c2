"""Words of a command line: each is read exactly or refused with a reason."""

import re

import pytest

from gms_hookd.cli import arguments, main, words
from gms_hookd.cli.task import first_word


@pytest.mark.parametrize("text", ["0", "-1", "", "1.0", " 1", "٣", "9" * 20, "0x1"])
def test_what_is_no_positive_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a positive number"):
        arguments.positive(text)


def test_a_wait_is_at_most_300_seconds():
    assert (arguments.wait("0"), arguments.wait("300")) == (0, 300)
    with pytest.raises(ValueError, match="more than 300"):
        arguments.wait("301")


def test_a_timeout_is_seconds_or_has_a_unit():
    assert (words.seconds("90"), words.seconds("10m")) == (90, 600)
    for text in ("0", "-1", "soon", "", "nan", "inf"):
        with pytest.raises(ValueError, match=r"."):
            words.seconds(text)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("name=a=b", ("name", "a=b")),
        ("force=yes", ("force", True)),
        ("prune=OFF", ("prune", False)),
        ("timeout=2m", ("timeout", 120)),
        ("timeout=default", ("timeout", None)),
        ("refspecs=", ("refspecs", [])),
        ("cron=0 2 * * *", ("cron", "0 2 * * *")),
        ("cron=", ("cron", "")),
        ("refspecs=refs/a/*:refs/b/* ^refs/a/x",
         ("refspecs", ["refs/a/*:refs/b/*", "^refs/a/x"])),
        ("source_branch=dev", ("source_branch", "dev")),
        ("branch=main:release", ("refspecs", ["refs/heads/main:refs/heads/release"])),
    ],
)  # fmt: skip
def test_a_change_is_a_key_of_the_api_and_its_value(text, change):
    assert words.change(text) == change


@pytest.mark.parametrize(
    "text", ["name", "=x", "id=3", "sourc=x", "force=maybe", "timeout=0", "cron=soon"]
)
def test_a_change_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        words.change(text)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("team/app\tA fine app\tpublic\t2026-11-01T00:00:00Z", "team/app"),  # gh
        ("Showing 2 of 2 projects (Page 1 of 1).", ""),  # glab
        ("app  # ours", "app"),
        ("group/app  git@gitlab.com:group/app.git  An app", "group/app"),
        ("app", "app"),  # tea --fields name --output simple
        ("| app  | source |", "app"),
        ("+------+--------+", ""),
        ('"app","source"', "app"),
        ("https://github.com/team/app.git\r", "https://github.com/team/app.git"),
        ("  app  ", "app"),
        ("# those of the team", ""),
        ("", ""),
        ("There are no repositories.", "There are no repositories."),
        ("a\x00b", "a\x00b"),
    ],
)
def test_a_name_is_the_first_column_of_a_list(line, name):
    assert first_word(line) == name


@pytest.mark.parametrize("words", main.COMMANDS, ids=" ".join)
def test_each_option_says_its_default_or_what_it_may_be(words, capsys):
    assert main.main([*words, "--help"]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    options = re.findall(r" (--[a-z-]+) [A-Z][\w:\[\]]*  ?(.*?)(?= --[a-z]|$)", said)
    for name, text in options:
        assert "default" in text or name in {"--source", "--target"}, (name, text)
