import base64
from functools import partial

import pytest

from gms_hookd.runlog import HEAD, LINE, TAIL, RunLog
from gms_hookd.safetext import one_line
from gms_hookd.safetext.mask import Mask


@pytest.mark.parametrize(("text", "safe"), [
    ("to https://u:p@h/x ok", "to https://***@h/x ok"),
    ("HTTPS://token@h/x", "HTTPS://***@h/x"),
    ("ssh://git@h/x", "ssh://git@h/x"),
    ("ssh://git:pw@h/x", "ssh://git:***@h/x"),
    ("Authorization: Basic abc", "Authorization: ***"),
    ("private-token=abc", "private-token=***"),
])  # fmt: skip
def test_credentials_are_masked(text, safe):
    assert Mask()(text) == safe


def test_known_secrets_are_masked_in_every_spelling():
    secret = "a/secret+x"
    log = RunLog(Mask([secret]))
    log.line(f"{secret} {base64.b64encode(secret.encode()).decode()} a%2Fsecret%2Bx")
    assert log.text() == "*** *** ***\n"


def test_a_short_secret_does_not_mask_ordinary_words():
    assert Mask(["a"])("a cat") == "a cat"


def test_one_line_has_nothing_that_moves_a_terminal():
    assert one_line("a\x1b[31m\r\nb\u2028c") == "a [31m b c"
    assert len(one_line("x" * 5000)) == 2000


def test_a_long_log_keeps_its_head_and_its_tail():
    log = RunLog()
    for number in range(20_000):
        log.line(f"line {number} " + "x" * 40)
    text = log.text()
    assert text.startswith("line 0 ")
    assert "line 19999 " in text
    assert "characters left out" in text
    assert len(text) < HEAD + TAIL + 200


def test_a_long_line_is_cut():
    log = RunLog()
    log.line("x" * 100_000)
    assert len(log.text()) < LINE + 10


def test_progress_is_shown_and_not_kept():
    log = RunLog()
    log.progress("50%")
    log.line("done")
    assert log.text() == "done\n"
    assert log.follow(0) == ("50%\rdone\n", 9, False)


def test_a_follower_is_called_by_a_line_by_progress_and_by_the_end():
    log, seen = RunLog(), []
    for write in (partial(log.line, "one"), partial(log.progress, "50%"), log.close):
        log.call(log.follow(0)[1], lambda: seen.append(log.follow(0)[1:]))
        write()
        write()
    assert seen == [(4, False), (12, False), (16, True)]


def test_a_follower_is_called_at_once_when_there_is_more_already():
    log, seen = RunLog(), []
    log.line("one")
    log.call(0, lambda: seen.append("more"))
    log.close()
    log.call(4, lambda: seen.append("closed"))
    assert seen == ["more", "closed"]


def test_a_follower_who_gave_up_is_not_called():
    log, seen = RunLog(), []
    call = partial(seen.append, 1)
    log.call(0, call)
    log.forget(call)
    log.forget(call)
    log.line("one")
    assert seen == []


def test_a_follower_who_is_late_goes_on_where_the_window_begins():
    log = RunLog()
    for number in range(10_000):
        log.line(f"{number:060}")
    text, offset, _ = log.follow(0)
    assert offset == 10_000 * 61
    assert text.endswith(f"{9999:060}\n")
    assert len(text) <= TAIL
