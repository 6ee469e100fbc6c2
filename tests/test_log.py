"""The log as its reader gets it: from a stream, and from a process's stderr."""

import ast
import io
import itertools
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from functools import cache
from pathlib import Path

import pytest

from gms_hookd import log, safetext
from gms_hookd.safetext.journald import under_journal

HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
events = logging.getLogger("events")
ROOT = Path(__file__).parent.parent
# What forms the text of events, and which argument it is.
FORMING = {"event": 1, "mask.line": 0}
LOGGING = re.compile(r"\b(?:log\.|event\(|mask\.line\()")


@pytest.fixture
def logging_as_before():
    root, show = logging.getLogger(), warnings.showwarning
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], warnings.showwarning = handlers, show
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def read(logging_as_before):
    """Log to a stream; returns what it holds, as text or as lines without the time."""
    stream = io.StringIO()
    log.setup(stream, {}, redact=lambda text: text.replace("hunter2", "***"))
    return lambda: [HEAD.sub("", line) for line in stream.getvalue().split("\n")[:-1]]


@pytest.fixture
def journal(tmp_path, logging_as_before):
    """Log to a file that passes for the journal; returns its lines."""
    with (tmp_path / "journal").open("w") as stream:
        status = os.fstat(stream.fileno())
        log.setup(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})

        def lines():
            stream.flush()
            return (tmp_path / "journal").read_text().split("\n")[:-1]

        yield lines


def fail(error):
    raise error


def test_an_event_is_a_line_with_time_and_level(read):
    logging.getLogger("any").info("sync done run=%d task=%d", 7, 1)
    assert read() == ["INFO sync done run=7 task=1"]


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.INFO + 5, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
        (logging.CRITICAL + 50, 2),
    ],
)
def test_under_the_journal_a_line_begins_with_its_priority(journal, level, priority):
    logging.getLogger().setLevel(logging.DEBUG)
    events.log(level, "ready")
    assert journal() == [f"<{priority}>ready"]


def test_another_stream_than_the_journals_gets_no_priority(tmp_path):
    with (tmp_path / "stderr").open("w") as stream:
        assert not under_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not under_journal(stream, {})
        assert not under_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


@pytest.mark.parametrize(
    "text",
    ["a\n<0>fake", "a\r\n<0>b", "a\x0b\x0cb", "a\x1c\x85b", "a\u2028\u2029b", "a\0b"],
)
def test_no_text_begins_a_record_of_its_own(journal, text):
    events.warning("refused path=%s", text)
    events.warning("%s", text)
    assert len(journal()) == 2
    assert all(line.startswith("<4>") and line.isprintable() for line in journal())


def test_terminal_escapes_and_surrogates_are_written_escaped(journal):
    events.info("ref=%s %s", "\x1b[2Jx", "\udcff")
    assert journal() == ["<6>ref=\\x1b[2Jx \\udcff"]


def test_other_scripts_stay_readable(journal):
    events.info("task=%s", safetext.quoted("同步"))
    assert journal() == ["<6>task=同步"]


def test_a_line_that_the_journal_would_split_keeps_its_two_ends(journal):
    events.info("begin %s end", "<0>" * 100_000)
    (line,) = journal()
    assert len(line.encode()) < 48 * 1024
    assert line.startswith("<6>begin <0>")
    assert line.endswith("<0> end")


def test_an_exception_is_on_the_line_of_its_event(read):
    try:
        fail(ValueError("first\n<0>second"))
    except ValueError:
        events.exception("run failed run=%d", 7)
    (line,) = read()
    assert line.startswith('ERROR run failed run=7 exception="ValueError: first\\n<0>')
    assert re.search(r" trace=\S*test_log.py:\d+:fail$", line)


def test_an_exception_names_its_cause(read):
    try:
        try:
            fail(KeyError("inner"))
        except KeyError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        events.exception("run failed")
    (line,) = read()
    assert re.search(r'exception="RuntimeError: outer" .* cause="KeyError: ', line)


def test_a_cause_that_was_hidden_stays_hidden(read):
    try:
        try:
            fail(KeyError("inner"))
        except KeyError:
            raise RuntimeError("outer") from None
    except RuntimeError:
        events.exception("run failed")
    assert "KeyError" not in read()[0]


def test_deep_recursion_and_long_texts_stay_one_short_line(read):
    def deeper():
        deeper()

    try:
        deeper()
    except RecursionError:
        events.exception("run failed")
    (line,) = read()
    assert len(line) < 2000


def test_secrets_are_redacted_in_message_exception_and_cause(read):
    try:
        try:
            fail(ValueError("inner hunter2"))
        except ValueError as error:
            raise RuntimeError("outer hunter2") from error
    except RuntimeError:
        events.exception("fetch failed url=%s", "https://u:hunter2@host/")
    assert "hunter2" not in read()[0]
    assert read()[0].count("***") == 3


def test_a_warning_of_python_is_an_event_too(read):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        warnings.warn("old\nthing", stacklevel=1)
    (line,) = read()
    assert line.startswith("WARNING ")
    assert "old\\nthing" in line


def test_an_event_that_cannot_be_written_is_named_not_dumped(logging_as_before):
    stream = io.StringIO()
    broken = logging.LogRecord("events", 20, "/x/worker.py", 32, "%d %d", (1,), None)
    log.setup(stream, {}).handle(broken)
    lost = 'ERROR log event lost by=events event="%d %d"\n'
    assert HEAD.sub("", stream.getvalue()) == lost


def test_a_broken_stream_breaks_nothing(logging_as_before):
    stream = io.StringIO()
    log.setup(stream, {})
    stream.close()
    events.info("nobody reads this")


def test_lines_kept_back_for_a_broken_stream_break_nothing(logging_as_before):
    stream = io.StringIO()
    log.setup(stream, {})
    log.hold()
    events.info("nobody reads this")
    stream.close()
    log.release()


def test_a_second_setup_takes_the_place_of_the_first(logging_as_before):
    first, second = io.StringIO(), io.StringIO()
    log.setup(first, {})
    log.setup(second, {}, level=logging.WARNING)
    events.info("not this")
    events.warning("but this")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("refs/heads/main", "refs/heads/main"),
        (7, "7"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a\nb", '"a\\nb"'),
        ("a\xa0b", '"a\\xa0b"'),
        ("x" * 200, "x" * 200),
        ("x" * 201, '"' + "x" * 195 + '..."'),
        ("\x1b" * 300, None),
        ("\\" * 300, None),
        ('"' * 300, None),
    ],
)
def test_a_field_is_one_word_or_quoted_and_never_long(value, written):
    out = safetext.quoted(value)
    assert written is None or out == written
    assert len(out) <= 200
    assert re.fullmatch(r'[^\s="\\]+|"([^"\\]|\\.)*"', out)


@cache
def calls():
    """Return (where, words of the function, call) of each call in the package."""
    return [
        (f"{path}:{node.lineno}", ast.unparse(node.func), node)
        for path in sorted((ROOT / "gms_hookd").rglob("*.py"))
        if LOGGING.search(text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    ]


def log_calls():
    """Yield (where, message, arguments) of each log call of the package."""
    for where, function, call in calls():
        if function.startswith("log."):
            texts = [a for a in call.args if isinstance(a, ast.Constant)]
            if texts and isinstance(texts[0].value, str):
                yield where, texts[0].value, call.args[call.args.index(texts[0]) + 1 :]


@pytest.mark.parametrize(
    ("where", "message", "arguments"),
    [pytest.param(*call, id=call[1][:40]) for call in log_calls()],
)
def test_free_text_in_an_event_is_quoted(where, message, arguments):
    keys = re.findall(r"(\w+)=%", message)
    assert "%r" not in message, where
    assert not any(isinstance(each, ast.Starred) for each in arguments), where
    assert message.count("%") == len(keys) == len(arguments), where
    for key, argument in zip(keys, arguments, strict=True):
        free = key in ("error", "reason", "warning", "changed")
        kept = isinstance(argument, ast.Name) and argument.id in ("why", "made")
        assert not free or kept or _is_quoted(argument), where


def _is_quoted(argument):
    return any(name in ast.unparse(argument) for name in ("quoted(", "reason("))


def formed_events():
    """Yield (key, value) of each field of the events formed by their caller."""
    for _, function, call in calls():
        if function in FORMING:
            for before, value in itertools.pairwise(
                call.args[FORMING[function]].values
            ):
                if isinstance(value, ast.FormattedValue):
                    yield before.value.rpartition(" ")[2], ast.unparse(value.value)


def test_free_text_in_a_formed_event_is_quoted():
    fields = dict(formed_events())
    harmless = {"id=", "status=", "ms=", "count=", "run=", "task=", "attempt="}
    harmless |= {"seconds="}
    assert fields.keys() > harmless
    free = fields.keys() - harmless
    careful = ("quoted(", "reason(", "_numbers(", "_described(", "self._policy.shown(")
    assert all(fields[key].startswith(careful) for key in free), fields


def test_the_format_holds_on_a_real_stderr_in_the_c_locale():
    code = (
        "import logging, os, sys; from gms_hookd import log;"
        "log.setup(sys.stderr, os.environ); logging.info('caf\\xe9 \\udcff\\n<0>x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=True,
    )
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.endswith(b" INFO caf\\xe9 \\udcff\\n<0>x\n")


def alone():
    """Take away the handlers of the test's own runner."""
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if type(h).__module__ == log.__name__]
    assert len(root.handlers) == 1


def test_a_formed_event_is_a_line_as_any_other(journal):
    alone()
    log.event(events, "of hunter2\n<0>fake")
    assert journal() == ["<6>of hunter2\\n<0>fake"]


def test_only_an_event_that_is_not_masked_yet_is_masked(read):
    alone()
    log.hold()
    for number, masked in enumerate([False, True, True, False]):
        log.event(events, f"{number} of hunter2", masked=masked)
    log.release()
    known, unknown = "of hunter2", "of ***"
    shown = [f"INFO 0 {unknown}", f"INFO 1 {known}", f"INFO 2 {known}"]
    assert read() == [*shown, f"INFO 3 {unknown}"]


def test_a_formed_event_is_redacted_and_has_its_place(read):
    alone()
    log.hold()
    events.info("before")
    log.event(events, "of hunter2")
    events.info("after")
    log.release()
    assert read() == ["INFO before", "INFO of ***", "INFO after"]


def test_a_formed_event_is_not_written_where_its_level_is_not_wanted(read):
    alone()
    logging.getLogger().setLevel(logging.WARNING)
    log.event(events, "not wanted")
    assert read() == []


def test_a_formed_event_goes_where_records_go_that_others_want_too(caplog):
    caplog.set_level("INFO")
    log.event(events, "100% shown")
    assert caplog.messages == ["100% shown"]


def test_lines_that_threads_write_at_once_are_all_there(read):
    def write(number):
        for _ in range(300):
            log.event(events, f"event {number}")
            events.info("record %d", number)

    alone()
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read()) == 4 * 600


def test_lines_held_back_come_in_order_when_they_are_let_go(read):
    log.hold()
    events.info("one")
    events.info("two")
    assert read() == []
    log.release()
    events.info("three")
    assert read() == ["INFO one", "INFO two", "INFO three"]


def test_a_warning_is_not_held_back_nor_what_came_before_it(read):
    log.hold()
    events.info("before")
    events.warning("now")
    assert read() == ["INFO before", "WARNING now"]
    log.release()
