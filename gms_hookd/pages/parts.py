"""What several pages show: the document around them, times, states, lists, commands."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from gms_hookd.model import Delivery
from gms_hookd.pages.html import NOTHING, Child, Html, joined, raw, tag
from gms_hookd.pages.style import STYLE
from gms_hookd.pages.texts import Words, local_time
from gms_hookd.store.listings import DeliveryPage, RunPage, RunRow
from gms_hookd.units import rfc3339

TOP = "/status"
REFRESH = 5  # seconds until a page on which something runs asks again
WORD = 120  # bytes of what is a word or a few
SHORT = 10  # digits of a commit
# Each state has a word and a form, never a colour alone.
_FORMS = {
    "success": "●",
    "accepted": "●",
    "conflict": "◆",
    "failed": "■",
    "refused": "■",
    "running": "▶",
    "queued": "○",
    "cancelled": "□",
    "nothing": "○",
}
_COLOURS = {"accepted": "success"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands on each page: who serves since when (ms), and what is wrong with it.

    `at` is the time of the page (ms).
    """

    at: int
    words: Words
    host: str = ""
    version: str = ""
    since: int | None = None
    problems: tuple[str, ...] = ()


def document(frame: Frame, title: str, *content: Child, lively: bool = False) -> bytes:
    """Return a whole page; a `lively` one asks again by itself."""
    words = frame.words
    refresh = tag("meta", http_equiv="refresh", content=REFRESH) if lively else None
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        refresh,
        tag("title", f"{title} · gms-hookd {frame.host}".strip()),
        tag("style", raw(STYLE)),
    )
    alarms = [
        tag("p", words("not_ready", problem=problem), class_="alarm", role="alert")
        for problem in frame.problems
    ]
    body = tag("body", _header(frame, lively), *alarms, tag("main", *content))
    page = tag("html", head, body, lang=words("lang"))
    return f"<!DOCTYPE html>\n{page}\n".encode()


def _header(frame: Frame, lively: bool) -> Html:
    words = frame.words
    since = words("not_serving")
    if frame.since is not None:
        since = words("serving", span=words.span(frame.at - frame.since))
    exact = local_time(frame.at)
    return tag(
        "header",
        tag("strong", tag("a", "gms-hookd", href=TOP)),
        tag("span", " · ".join(filter(None, (frame.host, frame.version, since)))),
        tag("span", words("refreshes")) if lively else None,
        tag(
            "time", exact[11:19], datetime=rfc3339(frame.at), title=exact, class_="now"
        ),
    )


def moment(frame: Frame, at: int | None) -> Html:
    """Return a time as its distance from now, the exact one in its title."""
    if at is None:
        return NOTHING
    far = frame.words.distance(at, frame.at)
    return tag("time", far, datetime=rfc3339(at), title=local_time(at))


def exact(frame: Frame, at: int | None) -> Html:
    """Return a time to the second, and how far away it is."""
    if at is None:
        return NOTHING
    shown = tag("time", local_time(at), datetime=rfc3339(at))
    return joined([shown, f" ({frame.words.distance(at, frame.at)})"])


def state(words: Words, name: str) -> Html:
    """Return a state as a form and a word."""
    colour = _COLOURS.get(name, name)
    return tag("span", form(name), words(name), class_=f"word {colour}")


def form(name: str) -> Html:
    """Return the form that stands for a state, which no reader reads out."""
    colour = _COLOURS.get(name, name)
    return tag("i", _FORMS.get(name, "·"), class_=f"form {colour}", aria_hidden="true")


def commands(*lines: Sequence[object]) -> Html:
    """Return commands to copy, each of words that the shell is to take as they are."""
    shown = (shlex.join(map(str, words)) for words in lines)
    items = [tag("li", tag("code", line)) for line in shown]
    return tag("ul", *items, class_="commands")


def facts(words: Words, **values: Child) -> Html:
    """Return values under the sentences with their keys, without what has none."""
    return definitions((words(key), value) for key, value in values.items())


def definitions(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Return names and values, without those that have none."""
    shown = [
        joined([tag("dt", name), tag("dd", value)])
        for name, value in pairs
        if value is not None and value != ""
    ]
    return tag("dl", *shown)


def link(path: str, text: Child, **query: object) -> Html:
    """Return a link into these pages; a parameter that is None is left out."""
    given = {key: value for key, value in query.items() if value is not None}
    return tag("a", text, href=path + (f"?{urlencode(given)}" if given else ""))


def to_task(task_id: int, name: str) -> Html:
    """Return a link to a task."""
    return link(f"{TOP}/task/{task_id}", name)


def to_run(run_id: int) -> Html:
    """Return a link to a run."""
    return link(f"{TOP}/run/{run_id}", f"#{run_id}")


def to_delivery(delivery_id: int, text: Child = None) -> Html:
    """Return a link to a delivery."""
    return link(f"{TOP}/delivery/{delivery_id}", text or f"#{delivery_id}")


def to_hook(name: str) -> Html:
    """Return a link to a hook."""
    return link(f"{TOP}/hook/{quote(name, safe='')}", name)


def choices(
    frame: Frame, path: str, query: Mapping[str, str], key: str, names: Iterable[str]
) -> Html:
    """Return links that filter a page by one of the names; the chosen one is marked."""
    words, chosen = frame.words, query.get(key)
    kept = {k: v for k, v in query.items() if k != key and not k.endswith("before")}
    links = [
        tag("span", words(name), aria_current="true")
        if name == (chosen or "all")
        else link(path, words(name), **{**kept, key: None if name == "all" else name})
        for name in ("all", *names)
    ]
    return tag("nav", *links, aria_label=words("filter"))


def pager(
    frame: Frame,
    path: str,
    query: Mapping[str, str],
    key: str,
    older: int | str | None,
    *,
    words: tuple[str, str] = ("first_page", "older"),
) -> Html:
    """Return links to the first page and to the next."""
    first, following = (frame.words(word) for word in words)
    rest = {k: v for k, v in query.items() if k != key}
    links = [
        link(path, first, **rest) if key in query else None,
        link(path, following, **rest, **{key: older}) if older is not None else None,
    ]
    return tag("nav", *links) if any(links) else NOTHING


def run_table(frame: Frame, page: RunPage, *, named: bool = True) -> Html:
    """Return runs as a list; `named`: with their tasks."""
    task = ["task"] if named else []
    heads = ["run", "status", *task, "when", "took", "trigger", "result"]
    rows = [_run(frame, row, named) for row in page.rows]
    return table(frame.words, heads, rows) if rows else _none(frame, page)


def _none(frame: Frame, page: RunPage | DeliveryPage) -> Html:
    """Say that nothing is found, or not yet: what is rare may be far back."""
    empty = "none_found" if page.older is None else "looked_so_far"
    return tag("p", frame.words(empty), class_="dim")


def table(words: Words, heads: Sequence[str], rows: Sequence[Html]) -> Html:
    """Return a table; its head is of the sentences with these keys."""
    cells = [tag("th", words(key), scope="col") for key in heads]
    return tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *rows))


def _run(frame: Frame, row: RunRow, named: bool) -> Html:
    words = frame.words
    took = row.took
    task = tag("td", to_task(row.task_id, row.task_name)) if named else None
    return tag(
        "tr",
        tag("td", to_run(row.id), class_="tight"),
        tag("td", state(words, row.status), class_="tight"),
        task,
        tag("td", moment(frame, row.end_time or row.created_at), class_="tight"),
        tag("td", "" if took is None else words.span(took), class_="tight"),
        tag("td", cut(row.trigger, WORD), class_="dim whole"),
        tag("td", outcome(words, row), class_="wide"),
    )


def outcome(words: Words, row: RunRow) -> Html:
    """Return what came of a run, in a line: why it did not succeed, or the commits.

    Of one that has not ended, what it waits for.
    """
    if row.waits_for:
        return tag("span", f"{words('waits_for')}: {cut(row.waits_for)}")
    if row.error_message:
        return tag("span", cut(row.error_message), class_=row.status)
    return tag("code", commits(row.commit_range)) if row.commit_range else NOTHING


def commits(commit_range: str) -> str:
    """Return the first of the changed refs with short ids, and how many more."""
    first, *others = commit_range.split(" ")
    short = "..".join(oid[:SHORT] for oid in first.split(".."))
    return f"{short} +{len(others)}" if others else short


def cut(text: str, size: int = 400) -> str:
    """Return the beginning of a text in one line, `size` bytes of HTML at most."""
    line = " ".join(text[: 2 * size].split())
    shown = fitting(line, size)
    if len(shown) == len(line) and len(text) <= 2 * size:
        return line
    return f"{shown[:-3]}..."


def fitting(text: str, size: int, *, end: bool = False) -> str:
    """Return the beginning of a text, or its end, that is `size` bytes of HTML."""
    shown = text[-size:] if end else text[:size]
    while len(joined([shown]).encode()) > size:
        less = len(shown) * 3 // 4
        shown = shown[-less:] if end else shown[:less]
    return shown


def delivery_outcome(delivery: Delivery) -> str:
    """Return what became of a delivery in one word."""
    if delivery.status >= 400:
        return "refused"
    # Runs may be gone before it; its tasks' ids stay with it.
    return "accepted" if delivery.run_ids or delivery.task_ids else "nothing"


def delivery_table(frame: Frame, page: DeliveryPage, *, named: bool = True) -> Html:
    """Return deliveries as a list; `named`: with their hooks."""
    hook = ["hook"] if named else []
    heads = ["delivery", "when", *hook, "event", "client", "answer", "reason"]
    rows = [_delivery(frame, row, named) for row in page.rows]
    return table(frame.words, heads, rows) if rows else _none(frame, page)


def _delivery(frame: Frame, row: Delivery, named: bool) -> Html:
    words, name = frame.words, delivery_outcome(row)
    links = [to_run(run_id) for run_id in row.run_ids[:5]]
    hook = tag("td", to_hook(row.hook)) if named else None
    return tag(
        "tr",
        tag("td", to_delivery(row.id), class_="tight"),
        tag("td", moment(frame, row.received_at), class_="tight"),
        hook,
        tag("td", cut(row.event or "", WORD)),
        tag("td", row.client, class_="dim whole"),
        tag("td", state(words, name), f" {row.status}", class_="tight"),
        tag("td", joined([cut(row.reason), *links], " "), class_="wide"),
    )
