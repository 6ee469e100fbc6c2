"""The page of a task: what it is to do, how it fares, its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gms_hookd.model import Task
from gms_hookd.pages import charts, parts
from gms_hookd.pages.html import Child, Html, joined, tag
from gms_hookd.pages.texts import Words
from gms_hookd.store.listings import RunPage, RunRow

STATUSES = ("queued", "running", "success", "conflict", "failed", "cancelled")
REFSPECS = 50  # that are shown
URL = 4096  # bytes


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task, None where it was removed, and a page of its runs; `name` is its name."""

    id: int
    name: str
    task: Task | None
    last: RunRow | None
    outcomes: Sequence[str]
    runs: RunPage
    query: Mapping[str, str] = field(default_factory=dict)


def task_page(frame: parts.Frame, view: TaskView) -> bytes:
    """Return the page of a task."""
    words, path = frame.words, f"{parts.TOP}/task/{view.id}"
    title = f"{words('task')} {view.name}"
    lively = view.last is not None and view.last.status in {"queued", "running"}
    return parts.document(
        frame,
        title,
        tag("h1", title),
        _facts(frame, view),
        _commands(view),
        tag("section", *_runs(frame, view, path)),
        lively=lively,
    )


def _facts(frame: parts.Frame, view: TaskView) -> Html:
    words, task = frame.words, view.task
    last = parts.state(words, view.last.status) if view.last else words("never")
    if task is None:
        return tag("p", words("task_gone"))
    limit = (
        None if task.timeout is None else words("seconds", count=f"{task.timeout:g}")
    )
    return parts.facts(
        words,
        last_run=last,
        history=charts.strip(words, view.outcomes),
        makes=_makes(words, task),
        made_by=_made_by(task),
        source=parts.cut(task.source, URL),
        target=parts.cut(task.target, URL),
        refspecs=_refspecs(words, task),
        policy=_policy(words, task),
        enabled=words("yes" if task.enabled else "no"),
        cron=tag("code", task.cron) if task.cron else None,
        next=parts.exact(frame, task.next_cron),
        timeout=limit,
        key=task.key,
        added=parts.exact(frame, task.created_at),
        changed=parts.exact(frame, task.updated_at),
    )


def _makes(words: Words, task: Task) -> str | None:
    return None if task.most is None else words("tasks_at_most", count=task.most)


def _made_by(task: Task) -> Html | None:
    if task.pattern_id is None:
        return None
    return parts.to_task(task.pattern_id, task.pattern or f"#{task.pattern_id}")


def _refspecs(words: Words, task: Task) -> Child:
    if not task.refspecs:
        return words("mirror")
    shown = [tag("code", parts.cut(spec)) for spec in task.refspecs[:REFSPECS]]
    more = len(task.refspecs) - len(shown)
    rest = [words("more_refs", count=more)] if more else []
    return joined([*shown, *rest], ", ")


def _policy(words: Words, task: Task) -> str:
    names = [name for name in ("force", "prune") if getattr(task, name)]
    return ", ".join(words(name) for name in names) or words("forward_only")


def _commands(view: TaskView) -> Html | None:
    if view.task is None:
        return parts.commands(("gms-hookd", "run", "list", "--task", view.id))
    turn = "disable" if view.task.enabled else "enable"
    act = "sync" if view.task.most is None else "expand"
    return parts.commands(
        ("gms-hookd", "task", act, view.name),
        ("gms-hookd", "run", "list", "--task", view.name),
        ("gms-hookd", "task", turn, view.name),
    )


def _runs(frame: parts.Frame, view: TaskView, path: str) -> list[Html]:
    words, page = frame.words, view.runs
    took = [(row.status, row.took) for row in page.rows if row.took is not None]
    picture = []
    if len(took) > 1:
        said = f"{words('durations')}: {charts.durations(words, took)}."
        marks = tag("span", words("durations_marks"), class_="dim")
        picture = [charts.dots(words, took), tag("p", said, " ", marks)]
    return [
        *picture,
        tag("h2", words("runs")),
        parts.choices(frame, path, view.query, "outcome", STATUSES),
        parts.run_table(frame, page, named=False),
        parts.pager(frame, path, view.query, "before", page.older),
        tag(
            "p",
            parts.link(
                parts.TOP, words("deliveries"), task=view.name, outcome="accepted"
            ),
        ),
    ]
