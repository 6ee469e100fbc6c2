"""The first page: what needs hands, what happens, and whether a push arrived."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gms_hookd.model import Run, Task
from gms_hookd.pages import charts, parts
from gms_hookd.pages.html import NOTHING, Html, joined, tag
from gms_hookd.store import listings

_SCHEME_AND_USER = re.compile(r"^(?:[a-z]+://)?(?:[^/@]*@)?")
STATUSES = ("queued", "running", "success", "conflict", "failed", "cancelled")
BY_NAME = "from_a", "next_names"
FIRST = (
    ("gms-hookd", "task", "add", "NAME", "--source", "URL", "--target", "URL"),
    ("gms-hookd", "task", "sync", "NAME"),
    ("gms-hookd", "trigger", "NAME", "--wait", "60"),
)


@dataclass(frozen=True, slots=True)
class FailingRow:
    """A task that fails: its last run, how often by now, and when it is tried again."""

    run: Run
    failures: listings.Failures
    next_try: int | None


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task in the list: its newest run, and how its last ones ended."""

    task: Task
    last: listings.RunRow | None
    outcomes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Front:
    """What the first page shows; a list that a filter leaves out is None.

    `hands` are sentences of what else needs hands; `lively`: something runs, or is due;
    `alive` are the runs under way and the first that wait; `scheduled` the tasks whose
    schedules are met next;
    `hours` and `days` say how many runs ended how, oldest first; `query` is what was
    asked for.
    """

    failing: Sequence[FailingRow] = ()
    more_failing: int = 0
    hands: Sequence[str] = ()
    dead: Sequence[tuple[str, int, str]] = ()
    restart_for: Sequence[str] = ()
    lively: bool = False
    queued: int = 0
    running: int = 0
    oldest: int | None = None
    alive: listings.RunPage | None = None
    scheduled: Sequence[Task] = ()
    hours: Sequence[Mapping[str, int]] = ()
    days: Sequence[Mapping[str, int]] = ()
    tasks: Sequence[TaskLine] | None = None
    after: str | None = None
    runs: listings.RunPage | None = None
    deliveries: listings.DeliveryPage | None = None
    query: Mapping[str, str] = field(default_factory=dict)


def front(frame: parts.Frame, view: Front) -> bytes:
    """Return the first page."""
    words = frame.words
    filtered = [] if view.query else [_hands(frame, view), _queue(frame, view)]
    lists = [_tasks(frame, view), _runs(frame, view), _deliveries(frame, view)]
    title = words("status")
    shown = [tag("h1", title), _contents(frame, view), *filtered, *lists]
    return parts.document(frame, title, *shown, lively=view.lively)


def _contents(frame: parts.Frame, view: Front) -> Html:
    """Return links to the lists of the page, which is long on a phone."""
    lists = {"tasks": view.tasks, "runs": view.runs, "deliveries": view.deliveries}
    shown = [name for name, page in lists.items() if page is not None]
    links = [tag("a", frame.words(name), href=f"#{name}") for name in shown]
    if view.query:
        links.insert(0, parts.link(parts.TOP, frame.words("back")))
    return tag("nav", *links)


def _hands(frame: parts.Frame, view: Front) -> Html:
    words = frame.words
    items = [_failing(frame, each) for each in view.failing]
    said = [*view.hands]
    if view.restart_for:
        said.append(words("restart_for", keys=", ".join(view.restart_for)))
    items += [tag("li", tag("p", text)) for text in said]
    for target, count, error in view.dead:
        text = words("dead_notices", target=target, count=count, error=error)
        resend = parts.commands(("gms-hookd", "notify", "list"))
        items.append(tag("li", tag("p", text), resend))
    if not items:
        return tag("p", parts.form("success"), words("all_well"))
    more = words("more_failing", count=view.more_failing)
    return tag(
        "section",
        tag("h2", words("needs_hands")),
        tag("ul", *items, class_="hands"),
        tag("p", parts.link(parts.TOP, more, outcome="failed"))
        if view.more_failing
        else None,
    )


def _failing(frame: parts.Frame, each: FailingRow) -> Html:
    words, run = frame.words, each.run
    again = words("no_next_try")
    if each.next_try is not None:
        again = words("next_try", when=words.distance(each.next_try, frame.at))
    first = joined(
        [
            parts.state(words, run.status),
            parts.to_task(run.task_id, run.task_name),
            f"{_since(frame, each)}, {again}",
        ],
        " ",
    )
    return tag(
        "li",
        tag("p", first),
        tag("p", parts.cut(run.error_message)) if run.error_message else None,
        tag(
            "p", parts.to_run(run.id), " ", tag("code", f"gms-hookd run show {run.id}")
        ),
        class_="conflict-edge" if run.status == "conflict" else None,
    )


def _since(frame: parts.Frame, each: FailingRow) -> str:
    words, (count, since) = frame.words, each.failures
    ago = words.distance(since or each.run.created_at, frame.at)
    if count <= 1:
        return words("failing_once", ago=ago)
    return words(
        "at_least" if count >= listings.MOST_FAILURES else "failing",
        count=count,
        ago=ago,
    )


def _queue(frame: parts.Frame, view: Front) -> Html:
    words = frame.words
    shown = [(words("last_day"), view.hours), (words("last_month"), view.days)]
    known = any(count for each in view.days for count in each.values())
    pictures = [_bars(frame, *each) for each in shown] if known else []
    return tag(
        "section",
        tag("h2", words("queue")),
        tag("p", _queued(frame, view)),
        parts.run_table(frame, view.alive) if view.alive and view.alive.rows else None,
        _scheduled(frame, view.scheduled),
        tag("div", *pictures, class_="charts") if pictures else None,
        tag("p", words("up_and_down"), class_="dim") if pictures else None,
    )


def _scheduled(frame: parts.Frame, tasks: Sequence[Task]) -> Html | None:
    if not tasks:
        return None
    shown = [
        joined(
            [parts.to_task(each.id, each.name), parts.moment(frame, each.next_cron)],
            " ",
        )
        for each in tasks
    ]
    return tag("p", frame.words("scheduled"), " ", joined(shown, ", "))


def _queued(frame: parts.Frame, view: Front) -> str:
    words = frame.words
    if not view.queued and not view.running:
        return words("empty_queue")
    said = words("queue_is", running=view.running, queued=view.queued)
    if view.oldest is None:
        return said
    return f"{said}, {words('oldest', span=words.span(frame.at - view.oldest))}"


def _bars(frame: parts.Frame, title: str, windows: Sequence[Mapping[str, int]]) -> Html:
    words = frame.words
    whole = {name: sum(each.get(name, 0) for each in windows) for name in windows[0]}
    said = charts.sentence(words, whole)
    picture = charts.bars(words, f"{title}: {said}", windows)
    return tag("div", picture, tag("p", f"{title}: {said}"))


def _tasks(frame: parts.Frame, view: Front) -> Html:
    words = frame.words
    if view.tasks is None:
        return NOTHING
    if not view.tasks and not view.query:
        return _first_steps(frame)
    heads = ("task", "last_run", "history", "way")
    rows = [_task(frame, line) for line in view.tasks]
    shown = parts.table(words, heads, rows) if rows else tag("p", words("none_found"))
    return tag(
        "section",
        tag("h2", words("tasks"), id="tasks"),
        _search(frame, view),
        shown,
        parts.pager(
            frame, parts.TOP, view.query, "tasks_after", view.after, words=BY_NAME
        ),
    )


def _first_steps(frame: parts.Frame) -> Html:
    words = frame.words
    return tag(
        "section",
        tag("h2", words("tasks")),
        tag("p", words("first")),
        parts.commands(*FIRST),
    )


def _search(frame: parts.Frame, view: Front) -> Html:
    words, given = frame.words, view.query.get("task")
    field_ = tag("input", id="task", name="task", value=given, type="search")
    name = tag("label", words("find_task"), for_="task", class_="dim")
    return tag("form", name, field_, tag("button", words("find")), action=parts.TOP)


def _task(frame: parts.Frame, line: TaskLine) -> Html:
    words, task, last = frame.words, line.task, line.last
    notes = [] if task.enabled else [words("disabled")]
    notes += [] if task.most is None else [words("pattern")]
    off = tag("span", ", ".join(notes), class_="dim") if notes else None
    way = f"{plain_url(task.source)} → {plain_url(task.target)}"
    return tag(
        "tr",
        tag("td", joined([parts.to_task(task.id, task.name), off], " ")),
        tag("td", _last(frame, last) if last else tag("span", words("never"))),
        tag("td", charts.strip(words, line.outcomes)),
        tag("td", parts.cut(way), class_="dim wide"),
    )


def _last(frame: parts.Frame, last: listings.RunRow) -> Html:
    when = parts.moment(frame, last.end_time or last.created_at)
    changed = (
        tag("code", parts.commits(last.commit_range)) if last.commit_range else None
    )
    return joined([parts.state(frame.words, last.status), when, changed], " ")


def plain_url(url: str) -> str:
    """Return an address as people say it: without scheme, user and ending."""
    return _SCHEME_AND_USER.sub("", url).removesuffix(".git")


def _runs(frame: parts.Frame, view: Front) -> Html:
    words, page = frame.words, view.runs
    if page is None:
        return NOTHING
    return tag(
        "section",
        tag("h2", words("recent_runs"), id="runs"),
        parts.choices(frame, parts.TOP, view.query, "outcome", STATUSES),
        parts.run_table(frame, page),
        parts.pager(frame, parts.TOP, view.query, "runs_before", page.older),
    )


def _deliveries(frame: parts.Frame, view: Front) -> Html:
    words, page = frame.words, view.deliveries
    if page is None:
        return NOTHING
    return tag(
        "section",
        tag("h2", words("recent_deliveries"), id="deliveries"),
        parts.choices(frame, parts.TOP, view.query, "outcome", listings.OUTCOMES),
        parts.delivery_table(frame, page),
        parts.pager(frame, parts.TOP, view.query, "deliveries_before", page.older),
    )
