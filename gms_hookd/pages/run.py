"""The page of a run: how it ended, what it did to each ref, its log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gms_hookd.model import FINAL, Ref, Run
from gms_hookd.pages.html import NOTHING, Html, joined, tag
from gms_hookd.pages.parts import (
    SHORT,
    Frame,
    commands,
    cut,
    document,
    exact,
    facts,
    fitting,
    state,
    table,
    to_delivery,
    to_task,
)
from gms_hookd.pages.texts import Words

REFS = 80  # that are shown
DELIVERIES = 50
LOG = 40 * 1024  # bytes of the log's end that are shown
ERROR = 8 * 1024  # bytes of the reason
RANGE = 4000  # bytes of the commits, and of what it waits for


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its log, and how many attempts it has."""

    run: Run
    attempts: int


def run_page(frame: Frame, view: RunView) -> bytes:
    """Return the page of a run."""
    words, run = frame.words, view.run
    title = f"{words('run')} {run.id} · {run.task_name}"
    return document(
        frame,
        title,
        tag("h1", words("run"), f" {run.id} · ", to_task(run.task_id, run.task_name)),
        _facts(frame, view),
        commands(*_commands(run)),
        _refs(words, run),
        _log(words, run),
        lively=run.status not in FINAL,
    )


def _facts(frame: Frame, view: RunView) -> Html:
    words, run = frame.words, view.run
    most = run.attempts_max(view.attempts)
    tries = words("of_attempts", attempt=run.attempt, most=most)
    return facts(
        words,
        status=state(words, run.status.value),
        reason=_error(run),
        waits_for=cut(run.waits_for or "", RANGE),
        next=exact(frame, run.next_try),
        attempt=tries if run.attempt else None,
        trigger=cut(run.trigger, RANGE),
        deliveries=_deliveries(run),
        asked=exact(frame, run.created_at),
        began=exact(frame, run.start_time),
        ended=exact(frame, run.end_time),
        took=_took(frame, run),
        range=_range(run),
    )


def _error(run: Run) -> Html | None:
    if not run.error_message:
        return None
    return tag("span", fitting(run.error_message, ERROR), class_=run.status.value)


def _range(run: Run) -> Html | None:
    return tag("code", cut(run.commit_range, RANGE)) if run.commit_range else None


def _took(frame: Frame, run: Run) -> str | None:
    if run.start_time is None or run.attempt == 0:
        return None
    return frame.words.span((run.end_time or frame.at) - run.start_time)


def _deliveries(run: Run) -> Html:
    shown = [to_delivery(number) for number in run.deliveries[:DELIVERIES]]
    more = len(run.deliveries) - len(shown)
    return joined([*shown, f"+{more}" if more else None], " ")


def _commands(run: Run) -> Iterable[Sequence[object]]:
    yield "gms-hookd", "run", "show", run.id
    yield "gms-hookd", "run", "log", run.id
    yield "gms-hookd", "run", "retry" if run.status in FINAL else "cancel", run.id


def _refs(words: Words, run: Run) -> Html:
    if not run.refs:
        return NOTHING
    # What was changed or refused comes first; a mirror has thousands that stayed.
    ordered = sorted(run.refs, key=lambda ref: ref.result == "unchanged")
    rows = [_ref(words, ref) for ref in ordered[:REFS]]
    more = len(run.refs) - len(rows)
    return tag(
        "section",
        tag("h2", words("refs")),
        table(words, ("ref", "result", "old_new", "reason"), rows),
        tag("p", words("more_refs", count=more)) if more else None,
    )


def _ref(words: Words, ref: Ref) -> Html:
    ids = " → ".join(oid[:SHORT] if oid else "∅" for oid in (ref.old, ref.new))
    return tag(
        "tr",
        tag("td", tag("code", cut(ref.ref))),
        tag("td", words(ref.result.value), class_="tight"),
        tag("td", tag("code", ids), class_="tight"),
        tag("td", cut(ref.reason or ""), class_="wide"),
    )


def _log(words: Words, run: Run) -> Html:
    text = (run.details or "").rstrip("\n")
    if not text:
        return NOTHING
    shown, whole = fitting(text, LOG, end=True), None
    if len(shown) < len(text):
        command = tag("code", f"gms-hookd run log {run.id}")
        whole = tag("p", words("log_end"), " ", command)
        shown = shown.partition("\n")[2]
    return tag("section", tag("h2", words("log")), whole, tag("pre", shown, tabindex=0))
