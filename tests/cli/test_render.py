"""Text for people: aligned, local, coloured on a terminal only, never steering it."""

import io
import json
import os
import pty
import re
import time

import pytest

from gms_hookd.cli import render
from gms_hookd.cli.terminal import Style, as_json, cut, style_of
from gms_hookd.safetext import safe, safe_lines

OLD, NEW = "1" * 40, "2" * 64
NOW = 1_800_000_000.0
PLAIN = Style(NOW)
RUN = {
    "id": 7,
    "task_id": 1,
    "task_key": "5e6d",
    "task_name": "mirror",
    "status": "success",
    "attempt": 2,
    "attempts_max": 5,
    "next_try": None,
    "waits_for": None,
    "trigger": "webhook:task-sync",
    "deliveries": [3, 4],
    "created_at": "2027-01-15T07:58:00.000Z",
    "start_time": "2027-01-15T07:58:01.000Z",
    "end_time": "2027-01-15T07:58:04.250Z",
    "commit_range": f"{OLD}..{NEW}",
    "error_message": "",
    "details": None,
    "refs": [
        {
            "ref": "refs/heads/main",
            "result": "forced",
            "old": OLD,
            "new": NEW,
            "reason": None,
        }
    ],
}
TASK = {
    "id": 1,
    "key": "5e6d",
    "name": "mirror",
    "source": "https://a.example/x.git",
    "target": "git@b.example:x.git",
    "refspecs": ["refs/heads/main:refs/heads/release"],
    "force": False,
    "prune": True,
    "enabled": False,
    "timeout": None,
    "cron": None,
    "next_cron": None,
    "pattern": None,
    "created_at": "2027-01-15T07:00:00.000Z",
    "updated_at": "2027-01-15T07:30:00.000Z",
    "last_run": RUN,
}
DELIVERY = {
    "id": 3,
    "hook": "task-sync",
    "provider": "gms",
    "event": None,
    "delivery_key": None,
    "received_at": "2027-01-15T07:58:00.000Z",
    "client": "127.0.0.1",
    "status": 401,
    "reason": "signature wrong",
    "task_ids": [],
    "run_ids": [],
}


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    monkeypatch.setenv("TZ", "XXX-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def terminal():
    leader, follower = pty.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w") as stream:
        yield stream


def words(text):
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\u202eb\u2066", r"a\u202eb\u2066"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\ud800\udcff", r"\ud800\udcff"),
        ("ключ 分支 é", "ключ 分支 é"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_an_escape(hostile, shown):
    assert safe(hostile) == shown


def test_several_lines_keep_their_breaks_and_tabs_alone():
    assert safe_lines("a\r\nb\tc\rd\x1b[2J") == "a\nb\tc\\rd\\x1b[2J"


def test_every_shown_field_of_a_outsider_is_made_safe():
    evil = "\x1b]0;x\x07"
    rows = [
        render.task({**TASK, "name": evil, "source": evil, "target": evil}, PLAIN),
        render.tasks([{**TASK, "name": evil, "source": evil}], PLAIN),
        render.run({**RUN, "error_message": evil, "trigger": evil}, PLAIN),
        render.runs([{**RUN, "error_message": evil, "task_name": evil}], PLAIN),
        render.result({**RUN, "error_message": evil}, PLAIN),
        render.refs([{**RUN["refs"][0], "ref": evil, "reason": evil}], PLAIN),
        render.delivery({**DELIVERY, "event": evil, "delivery_key": evil}, PLAIN),
        render.deliveries([{**DELIVERY, "event": evil, "reason": evil}], PLAIN),
    ]
    assert all("\x1b" not in text and r"\x1b]0;x\x07" in text for text in rows)


def test_json_is_the_object_itself_in_ascii():
    text = as_json([{"name": "分\x9b", "last_run": None}])
    assert text.isascii()
    assert json.loads(text) == [{"name": "分\x9b", "last_run": None}]


def test_times_are_local_with_their_distance_and_offset():
    text = "2027-01-15T07:58:00.000Z"
    assert render.when(text) == "2027-01-15 13:28:00"
    assert render.ago(text, PLAIN) == "2027-01-15 13:28:00 +0530 (2 min ago)"
    assert render.ago("2027-01-15T09:58:00.000Z", PLAIN).endswith("(0.0 s ago)")
    assert (render.when(None), render.ago(None, PLAIN)) == ("-", None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (3.25, "3.2 s"), (9.99, "10.0 s"), (59.6, "1 min"),
     (61, "1 min 1 s"), (3600, "1 h"), (3725, "1 h 2 min"), (86401, "1 d")],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds, text):
    assert render.duration(seconds) == text


def test_a_running_run_has_taken_the_time_until_now():
    run = {**RUN, "start_time": "2027-01-15T07:59:00.000Z", "end_time": None}
    assert render.took(run, PLAIN) == "1 min"
    assert render.took({**run, "start_time": None}, PLAIN) is None


def test_columns_are_aligned_by_what_a_terminal_shows():
    lines = render.table(("NAME", "X"), [("分支", 1), ("é", 2)], PLAIN).split("\n")
    assert lines == ["NAME  X", "分支  1", "é     2"]


def test_an_empty_value_is_a_dash_and_an_empty_list_is_said():
    assert render.table(("A",), [("",), (None,), (0,)], PLAIN) == "A\n-\n-\n0"
    shown = [f([], PLAIN) for f in (render.tasks, render.runs, render.deliveries)]
    assert shown == ["no tasks", "no runs", "no deliveries"]


def test_the_last_column_is_cut_to_the_terminal():
    text = render.table(("A", "B"), [("x", "y" * 50)], Style(NOW, width=30))
    assert text.splitlines()[1] == "x  " + "y" * 26 + "…"
    assert cut("分支分支", 5) == "分支…"


def test_colours_and_width_are_for_terminals_only(terminal, monkeypatch):
    environ = {"TERM": "xterm"}
    assert style_of(terminal, environ, NOW).colour
    assert not style_of(terminal, {**environ, "NO_COLOR": "1"}, NOW).colour
    assert style_of(terminal, {**environ, "NO_COLOR": ""}, NOW).colour
    assert not style_of(terminal, {"TERM": "dumb"}, NOW).colour
    assert style_of(io.StringIO(), environ, NOW) == PLAIN


def test_a_status_is_coloured_and_still_aligned():
    style = Style(NOW, colour=True)
    rows = [("failed", "ok"), ("ok", 2), ("401", 3)]
    lines = render.table(("STATUS", "N"), rows, style).split("\n")
    assert lines[1:] == [
        "\x1b[31mfailed\x1b[0m  ok",
        "\x1b[32mok    \x1b[0m  2",
        "\x1b[33m401   \x1b[0m  3",
    ]


def test_a_task_says_its_policy_and_its_last_run():
    text = render.task(TASK, PLAIN)
    assert "task:       1 mirror (off)" in text
    assert "refs:       refs/heads/main:refs/heads/release" in text
    assert "policy:     fast-forward only, deletes" in text
    assert "last run:   7 success 2027-01-15 13:28:04" in text
    everything = render.task({**TASK, "refspecs": [], "last_run": None}, PLAIN)
    assert "refs:       refs/heads/* refs/tags/*" in everything
    assert "last run:   none" in everything


def test_lists_show_one_line_each():
    assert words(render.tasks([TASK], PLAIN))[1][:4] == [
        "1",
        "mirror",
        "off",
        "success",
    ]
    run = words(render.runs([RUN], PLAIN))[1]
    assert run[:5] == ["7", "mirror", "success", "2", "webhook:task-sync"]
    assert run[-1] == "1111111111..2222222222"
    delivery = words(render.deliveries([DELIVERY], PLAIN))[1]
    assert delivery[3:] == [
        "task-sync",
        "-",
        "127.0.0.1",
        "401",
        "-",
        "signature",
        "wrong",
    ]


def test_a_run_shows_whole_ids_once_and_each_ref():
    text = render.run(RUN, PLAIN)
    assert "run:        7 success, attempt 2" in text
    assert f"commits:    {OLD}..{NEW}" in text
    assert "took:       3.2 s" in text
    assert "deliveries: 3, 4" in text
    ref = ["refs/heads/main", "forced", "1111111111", "2222222222", "-"]
    assert words(text)[-1] == ref
    assert "error" not in text


WAITING = RUN | {
    "status": "queued",
    "attempt": 1,
    "end_time": None,
    "error_message": "no route",
    "next_try": "2027-01-15T08:10:00.000Z",
}


def test_a_run_that_waits_says_when_its_next_attempt_is_due_and_how_many_are_left():
    shown = render.run(WAITING, PLAIN)
    assert "run:        7 queued, attempt 1/5" in shown
    assert re.search(r"next try: +2027-01-15 .* \(in 10 min\), 4 left", shown)
    assert "waits for" not in shown
    listed = render.runs([WAITING], PLAIN)
    assert listed.endswith("next try in 10 min: no route")
    assert words(listed)[1][2:4] == ["queued", "1/5"]


@pytest.mark.parametrize(
    "status", [{"status": "queued", "next_try": "2027-01-15T08:00:00.000Z"},
               {"status": "running"}]
)  # fmt: skip
def test_a_run_that_waits_for_something_says_for_what(status):
    run = RUN | {"end_time": None, "waits_for": "run 6 of app", "commit_range": ""}
    shown = render.run(run | status, PLAIN)
    assert "waits for:  run 6 of app" in shown
    assert ("(now), 3 left" in shown) == (status["status"] == "queued")
    assert render.runs([run | status], PLAIN).endswith("waits for run 6 of app")


def test_a_result_is_one_line():
    assert render.result(RUN, PLAIN) == (
        "run 7: success in 3.2 s: 1111111111..2222222222"
    )
    idle = {**RUN, "commit_range": ""}
    assert render.result(idle, PLAIN) == "run 7: success in 3.2 s: nothing to do"


def test_a_delivery_shows_what_is_kept_of_it():
    kept = {"headers": {"x-github-event": "push"}, "body": '{"a":"\x1b"}'}
    text = render.delivery({**DELIVERY, **kept}, PLAIN)
    assert "header:     x-github-event: push" in text
    assert 'body:       {"a":' in text
    assert "\x1b" not in text


def test_a_delivery_leaves_out_what_it_has_not():
    text = render.delivery(DELIVERY, PLAIN)
    assert "hook:       task-sync (gms)" in text
    assert "reason:     signature wrong" in text
    assert "event" not in text


def test_the_reasons_of_a_run_are_never_cut():
    ref = {**RUN["refs"][0], "reason": "to restore: " + "x" * 200}
    assert "x" * 200 in render.run({**RUN, "refs": [ref]}, Style(NOW, width=80))


def test_refs_that_were_left_alone_are_counted():
    same = {**RUN["refs"][0], "result": "unchanged"}
    assert render.refs([same, same], PLAIN) == "2 unchanged"
    text = render.refs([same, *RUN["refs"]], PLAIN)
    assert text.splitlines()[1].startswith("refs/heads/main  forced")
    assert text.splitlines()[2:] == ["1 unchanged"]
