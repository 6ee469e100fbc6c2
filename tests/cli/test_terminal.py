"""Watching a run: lines everywhere, progress on a terminal, every attempt once."""

import io

from gms_hookd.cli.terminal import Style
from gms_hookd.cli.watch import Screen, follow

TERMINAL = Style(0.0, width=20)


def shown(text, style):
    out = io.StringIO()
    screen = Screen(out, style)
    screen.show(text)
    screen.clear()
    return out.getvalue()


def test_progress_is_left_out_where_there_is_no_terminal():
    assert shown("a\n 10%\r 50%\rdone\nrest", Style(0.0)) == "a\ndone\nrest\n"


def test_progress_takes_its_own_place_on_a_terminal():
    said = shown("a\n 10%\r 50%\rdone\n 1%\r", TERMINAL)
    assert said == "a\n\r\x1b[K 10%\r\x1b[K 50%\r\x1b[Kdone\n\r\x1b[K 1%\r\x1b[K"


def test_progress_never_fills_the_line():
    assert shown("x" * 40 + "\r", TERMINAL) == "\r\x1b[K" + "x" * 18 + "…\r\x1b[K"


def test_what_could_steer_the_terminal_is_shown_as_an_escape():
    text = "\x1b[2J\u2028\x0b\n\x1b[1A\r"
    assert shown(text, Style(0.0)) == "\\x1b[2J\\u2028\\x0b\n"
    assert "\\x1b[1A" in shown(text, TERMINAL)


class Script:
    """An API that answers by heart: what each attempt says, how the run stands."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def ask(self, call):
        self.asked.append((call.path, call.query.get("offset")))
        path, data = self.answers.pop(0)
        assert path == call.path
        return 200, {"code": 0, "data": data}


def run(status, attempt, details=None):
    return "run", {"status": status, "attempt": attempt, "details": details}


def output(text, offset, done):
    return "run/output", {"text": text, "offset": offset, "done": done}


def followed(*answers):
    out, pauses, api = io.StringIO(), [], Script(*answers)
    ended = follow(api, 1, Screen(out, Style(0.0)), pauses.append)
    assert api.answers == []
    return ended["status"], out.getvalue(), len(pauses), api


def test_a_run_is_followed_from_the_queue_to_its_end():
    status, said, pauses, api = followed(
        run("queued", 0),
        run("running", 1),
        output("a\n", 2, False),
        output("", 2, False),
        output("b\n", 4, True),
        run("running", 1),
        run("success", 1, "a\nb\n"),
    )
    assert (status, said, pauses) == ("success", "a\nb\n", 3)
    asked = [offset for path, offset in api.asked if path == "run/output"]
    assert asked == [0, 2, 2]


def test_each_attempt_is_shown_from_its_beginning():
    status, said, _, _ = followed(
        run("running", 1),
        output("one\n", 4, True),
        run("queued", 1),
        run("running", 2),
        output("two\n", 4, True),
        run("failed", 2, "one\ntwo\n"),
    )
    assert (status, said) == ("failed", "one\ntwo\n")


def test_a_run_that_has_ended_before_shows_the_log_that_was_kept():
    assert followed(run("success", 1, "all\n"))[:2] == ("success", "all\n")
    assert followed(run("cancelled", 0))[:2] == ("cancelled", "")
