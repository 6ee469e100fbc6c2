"""Pages: what they say, and that no text from outside becomes markup."""

import re
import string
from html.parser import HTMLParser

import pytest

from gms_hookd.model import Delivery, Ref, RefResult, Run, RunStatus, Task
from gms_hookd.pages import charts
from gms_hookd.pages.delivery import DeliveryView, delivery_page
from gms_hookd.pages.failure import failure_page
from gms_hookd.pages.front import FailingRow, Front, TaskLine, front, plain_url
from gms_hookd.pages.hook import HookFacts, HookView, hook_page
from gms_hookd.pages.html import VOID, joined, tag
from gms_hookd.pages.parts import Frame
from gms_hookd.pages.run import REFS, RunView, run_page
from gms_hookd.pages.style import POLICY, STYLE
from gms_hookd.pages.task import TaskView, task_page
from gms_hookd.pages.texts import LANGUAGES, SENTENCES, Words, language
from gms_hookd.store.listings import (
    DeliveryPage,
    Failures,
    RunPage,
    RunRow,
)

EVIL = """<script>alert(1)</script>"'><img src=x onerror=a> &amp; \x1b[31m\u202e\x00"""
NOW = 1_700_000_000_000
_KNOWN_ELEMENTS = """
html head meta title style body header strong a span time main section h1 h2 p ul li
code pre table thead tbody tr th td dl dt dd nav form label input button div svg path i
"""
_KNOWN_ATTRIBUTES = """
lang charset name content http-equiv class role href datetime title scope aria-hidden
aria-current aria-label id for type value action viewbox d stroke-width stroke-linecap
width height preserveaspectratio tabindex
"""
ELEMENTS, ATTRIBUTES = (
    frozenset(names.split()) for names in (_KNOWN_ELEMENTS, _KNOWN_ATTRIBUTES)
)


def frame(words="en", **more):
    return Frame(NOW, Words(words), **{"host": "vm", "version": "1", **more})


def a_task(text="app", **more):
    given = {
        "id": 1, "key": text, "name": text, "source": text, "target": text,
        "refspecs": (text,), "force": True, "prune": True, "enabled": True,
        "timeout": 60.0, "created_at": NOW, "updated_at": NOW, "push_options": (),
        "cron": text, "next_cron": NOW + 9, "most": 9, "pattern_id": 3, "pattern": text,
    }  # fmt: skip
    return Task(**{**given, **more})


def a_run(text="app", status=RunStatus.FAILED, **more):
    given = {
        "id": 7, "task_id": 1, "task_key": text, "task_name": text, "status": status,
        "attempt": 2, "trigger": text, "deliveries": (1, 2), "created_at": NOW - 9000,
        "start_time": NOW - 8000, "end_time": NOW - 5000, "commit_range": text,
        "error_message": text, "details": text, "waits_for": text, "next_try": NOW,
        "refs": (Ref(text, RefResult.REJECTED, text, text, text),),
    }  # fmt: skip
    return Run(**{**given, **more})


def a_row(text="app", status="failed", **more):
    row = RunRow(7, 1, text, status, 1, text, NOW, NOW - 4000, NOW - 10, text, text)
    return row._replace(**more)


def a_delivery(text="app", **more):
    given = {
        "id": 1, "hook": text, "provider": text, "event": text, "delivery_key": text,
        "received_at": NOW, "client": text, "status": 200, "reason": text,
        "task_ids": (1,), "run_ids": (7,),
    }  # fmt: skip
    return Delivery(**{**given, **more})


def every_page(text, words="en"):
    """Render each page with a text wherever one goes."""
    seen = frame(words, host=text, version=text, since=0, problems=(text,))
    runs, came = RunPage((a_row(text),), 3), DeliveryPage((a_delivery(text),), 3)
    line = TaskLine(a_task(text), a_row(text), ("failed", "success"))
    failing = FailingRow(a_run(text), Failures(3, NOW - 3_600_000), NOW + 9000)
    full = Front(
        failing=[failing], more_failing=2, hands=[text], dead=[(text, 1, text)],
        restart_for=[text], lively=True, queued=1, running=1, oldest=NOW - 1,
        alive=runs, scheduled=[a_task(text)],
        hours=[{"success": 3, "failed": 1}] * 24, days=[{"conflict": 3}] * 30,
        tasks=[line], after=text, runs=runs, deliveries=came,
    )  # fmt: skip
    query = {"task": text, "outcome": "failed", "tasks_after": text}
    yield front(seen, full)
    yield front(seen, Front(tasks=[line], after=text, runs=runs, query=query))
    strip = ("failed", "cancelled", "conflict")
    for task in (a_task(text), None):
        shown = RunPage((a_row(text), a_row(text)), None)
        yield task_page(seen, TaskView(1, text, task, a_row(text), strip, shown))
    yield run_page(seen, RunView(a_run(text), 5))
    kept = {text: text}
    yield delivery_page(
        seen, DeliveryView(a_delivery(text), [a_task(text)], runs, kept, text)
    )
    facts = HookFacts(text, text, text, text, text, (text,))
    yield hook_page(seen, HookView(text, facts, {"queued": 2}, came, kept))
    yield hook_page(seen, HookView(text, None, {}, came))
    yield failure_page(seen, text)


class Seen(HTMLParser):
    """Reads a page as a browser does; what is not in order is a failure."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.links, self.ids = [], [], [], []
        self.feed(page.decode())
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        assert name in ELEMENTS, name
        keys = [key for key, _ in attributes]
        assert set(keys) <= ATTRIBUTES, keys
        assert len(set(keys)) == len(keys)
        given = dict(attributes)
        self.links += [given[key] for key in ("href", "action") if key in given]
        self.ids += [given["id"]] if "id" in given else []
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, text):
        if self.open[-1:] != ["style"]:
            self.text.append(text)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.mark.parametrize("words", LANGUAGES)
def test_no_text_from_outside_becomes_markup(words):
    for page in every_page(EVIL, words):
        seen = Seen(page)
        assert "<script>alert(1)</script>" in seen.words
        assert all(link.startswith(("/status", "?", "#")) for link in seen.links)
        assert len(set(seen.ids)) == len(seen.ids)
        assert b"\x1b" not in page
        assert "\u202e" not in page.decode()
        assert len(page) < 20_000


def test_an_element_escapes_all_but_elements():
    assert tag("p", "<&", tag("b", '"')) == "<p>&lt;&amp;<b>&quot;</b></p>"
    assert tag("p", None, "", 0, class_='"') == '<p class="&quot;">0</p>'
    assert joined(["a<", tag("br")], " & ") == "a&lt; &amp; <br>"


@pytest.mark.parametrize(
    "attributes",
    [{"onclick": "x"}, {"style": "x"}, {"src": "/x"}, {"href": "javascript:x"},
     {"href": "https://x"}, {"href": "//x"}, {"href": "/\\x"}, {"action": "http://x"}],
)  # fmt: skip
def test_no_element_runs_styles_or_leads_elsewhere(attributes):
    with pytest.raises(ValueError, match=next(iter(attributes))):
        tag("a", "x", **attributes)


def test_the_policy_lets_nothing_in_but_the_style():
    assert "default-src 'none'" in POLICY
    assert re.search(r"style-src 'sha256-[\w+/]{43}='", POLICY)
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def fields(sentence):
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_languages_say_the_same_things():
    english, chinese = (SENTENCES[each] for each in ("en", "zh"))
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        assert fields(sentence) == fields(chinese[key]), key


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [(None, "en"), ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en,zh", "en"),
     ("fr, zh;q=0.5", "zh"), ("de-DE", "en"), ("zh;q=0", "en"), ("ZH-Hant-TW", "zh"),
     ("en;q=0.4, zh;q=0.7", "zh"), ("*", "en"), (";;q=x,,", "en")],
)  # fmt: skip
def test_the_language_is_the_one_that_is_wanted_most(accepted, expected):
    assert language(accepted) == expected


@pytest.mark.parametrize(
    ("milliseconds", "english", "chinese"),
    [(0, "0 s", "0秒"), (400, "0.4 s", "0.4秒"), (61_000, "1 min 1 s", "1分 1秒"),
     (7_200_000, "2 h", "2小时"), (93_600_000, "1 d 2 h", "1天 2小时")],
)  # fmt: skip
def test_how_long_something_takes_is_said_in_two_units(milliseconds, english, chinese):
    assert Words("en").span(milliseconds) == english
    assert Words("zh").span(milliseconds) == chinese


def test_how_far_a_time_is_away_is_said_in_one_unit():
    said = Words("en").distance
    assert said(NOW - 93_600_000, NOW) == "1 d ago"
    assert said(NOW + 61_000, NOW) == "in 1 min"
    assert said(NOW, NOW) == "now"
    assert Words("zh").distance(NOW - 93_600_000, NOW) == "1天前"


def test_a_picture_is_small_and_says_what_it_shows():
    words = Words("en")
    windows = [{"success": 9 * n, "conflict": n, "failed": n} for n in range(30)]
    pictures = [
        charts.bars(words, "30 days", windows),
        charts.strip(words, ("success", "failed", "conflict", "cancelled") * 5),
        charts.dots(words, [("success", 900 * n) for n in range(1, 51)]),
    ]
    for picture in pictures:
        assert len(picture) < 2048
        assert picture.startswith("<svg")
        assert "<title>" in picture
    assert "last 20 runs, newest right: 5 success · 5 conflict" in pictures[1]
    assert charts.dots(words, [("success", 0)]) == ""
    assert 'd="M3 1v8M9 1v8"' in charts.strip(words, ("success", *["conflict"] * 2))


def test_needs_hands_stands_first_with_reason_since_when_and_next_try():
    run = a_run("app", error_message="git push: not allowed")
    failing = FailingRow(run, Failures(3, NOW - 7_200_000), NOW + 300_000)
    said = Seen(front(frame(), Front(failing=[failing], tasks=[]))).words
    assert "3 times without success since 2 h ago, next try in 5 min" in said
    assert "git push: not allowed" in said
    assert "gms-hookd run show 7" in said
    assert said.index("Needs hands") < said.index("Queue")
    assert "no tries" not in said


def test_an_empty_store_says_what_to_do_first():
    said = Seen(front(frame(), Front(tasks=[]))).words
    assert "gms-hookd task add NAME --source URL --target URL" in said
    assert "Nothing needs hands." in said


def test_a_page_asks_again_only_while_something_runs():
    assert b'http-equiv="refresh"' in front(frame(), Front(lively=True))
    assert b'http-equiv="refresh"' not in front(frame(), Front())
    for status in RunStatus:
        page = run_page(frame(), RunView(a_run(status=status), 5))
        alive = status in {RunStatus.QUEUED, RunStatus.RUNNING}
        assert (b'http-equiv="refresh"' in page) == alive


def test_a_run_with_a_long_log_and_many_refs_stays_a_page():
    refs = tuple(
        Ref(f"refs/tags/{n}", RefResult.UNCHANGED, "a" * 40, "a" * 40)
        for n in range(10_000)
    )
    moved = Ref("refs/heads/main", RefResult.UPDATED, "a" * 40, "b" * 40)
    run = a_run(refs=(*refs, moved), details="0123456789 line\n" * 100_000)
    page = run_page(frame(), RunView(run, 5))
    said = Seen(page).words
    assert len(page) < 150 * 1024
    assert f"and {10_001 - REFS} more" in said
    assert "refs/heads/main updated" in said
    assert "Its end; the whole of it: gms-hookd run log 7" in said


def test_no_page_is_large_whatever_it_shows():
    """150 KiB, also where each character takes six bytes."""
    text = '"中' * 40_000
    long = a_task(text[:4000], name=text[:99], refspecs=(text[:4000],) * 99)
    many = (Ref(text[:900], RefResult.REJECTED, "a", "b", text),) * 999
    run = a_run(text, refs=many, deliveries=(*range(9999),), task_name="app")
    rows = RunPage((a_row(text, task_name=text[:99]),) * 50, 1)
    few = RunPage(rows.rows[:20], None)
    came = DeliveryPage((a_delivery(text, hook="h" * 99, client="::1"),) * 50, 1)
    lines = [TaskLine(long, a_row(text), ("failed",) * 20)] * 50
    kept = {f"{n}{text[:200]}": text[:200] for n in range(50)}
    sent = a_delivery(text[:400], event="x", task_ids=(*range(999),))
    pages = [
        front(frame(), Front(tasks=lines, query={"tasks_after": "x"})),
        front(frame(), Front(runs=rows, query={"outcome": "failed"})),
        front(frame(), Front(deliveries=came, query={"outcome": "refused"})),
        run_page(frame(), RunView(run, 5)),
        delivery_page(frame(), DeliveryView(sent, [long] * 9, few, kept, text)),
        task_page(frame(), TaskView(1, "x", long, None, (), rows)),
    ]
    assert [len(page) // 1024 for page in pages if len(page) > 150 * 1024] == []


def test_a_delivery_says_each_reason_on_a_line_of_its_own():
    why = "accepted for app; lib: refs/heads/x is not selected"
    view = DeliveryView(
        a_delivery(reason=why), [a_task()], RunPage((), None), None, '{"a":"<b>"}',
        {"lib": 2},
    )  # fmt: skip
    page = delivery_page(frame(), view).decode()
    lib = '<a href="/status/task/2">lib</a>'
    assert f"<li>accepted for app</li><li>{lib}: refs/heads/x is not selected" in page
    assert "&quot;a&quot;: &quot;&lt;b&gt;&quot;" in page


@pytest.mark.parametrize(
    ("url", "plain"),
    [("https://github.com/you/app.git", "github.com/you/app"),
     ("git@host:you/app.git", "host:you/app"), ("/srv/a@b.git", "/srv/a@b"),
     ("ssh://git@h:22/a@b", "h:22/a@b")],
)  # fmt: skip
def test_an_address_is_shown_as_people_say_it(url, plain):
    assert plain_url(url) == plain


def luminance(colour):
    full = colour if len(colour) == 7 else "#" + "".join(c * 2 for c in colour[1:])
    parts = [int(full[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(p * w for p, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_colour_is_readable_on_both_grounds(theme):
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text."""
    block = STYLE.split(":root{")[theme + 1].split("}")[0]
    colours = dict(re.findall(r"--(\w+):(#[0-9a-f]+)", block))
    for name in ("fg", "dim", "good", "bad", "warn", "busy"):
        for ground in ("bg", "soft"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
