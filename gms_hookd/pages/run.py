"""The page of a run: how it ended, what it did to each ref, its log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gms_hookd.model import FINAL, Ref, Run
from gms_hookd.pages import parts
from gms_hookd.pages.html import NOTHING, Html, joined, tag
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


def run_page(frame: parts.Frame, view: RunView) -> bytes:
    """Return the page of a run."""
    words, run = frame.words, view.run
    title = f"{words('run')} {run.id} · {run.task_name}"
    return parts.document(
        frame,
        title,
        tag(
            "h1",
            words("run"),
            f" {run.id} · ",
            parts.to_task(run.task_id, run.task_name),
        ),
        _facts(frame, view),
        parts.commands(*_commands(run)),
        _refs(words, run),
        _log(words, run),
        lively=run.status not in FINAL,
    )


def _facts(frame: parts.Frame, view: RunView) -> Html:
    words, run = frame.words, view.run
    most = run.attempts_max(view.attempts)
    tries = words("of_attempts", attempt=run.attempt, most=most)
    return parts.facts(
        words,
        status=parts.state(words, run.status.value),
        reason=_error(run),
        waits_for=parts.cut(run.waits_for or "", RANGE),
        next=parts.exact(frame, run.next_try),
        attempt=tries if run.attempt else None,
        trigger=parts.cut(run.trigger, RANGE),
        deliveries=_deliveries(run),
        asked=parts.exact(frame, run.created_at),
        began=parts.exact(frame, run.start_time),
        ended=parts.exact(frame, run.end_time),
        took=_took(frame, run),
        range=_range(run),
    )


def _error(run: Run) -> Html | None:
    if not run.error_message:
        return None
    return tag("span", parts.fitting(run.error_message, ERROR), class_=run.status.value)


def _range(run: Run) -> Html | None:
    return tag("code", parts.cut(run.commit_range, RANGE)) if run.commit_range else None


def _took(frame: parts.Frame, run: Run) -> str | None:
    if run.start_time is None or run.attempt == 0:
        return None
    return frame.words.span((run.end_time or frame.at) - run.start_time)


def _deliveries(run: Run) -> Html:
    shown = [parts.to_delivery(number) for number in run.deliveries[:DELIVERIES]]
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
        parts.table(words, ("ref", "result", "old_new", "reason"), rows),
        tag("p", words("more_refs", count=more)) if more else None,
    )


def _ref(words: Words, ref: Ref) -> Html:
    ids = " → ".join(oid[: parts.SHORT] if oid else "∅" for oid in (ref.old, ref.new))
    return tag(
        "tr",
        tag("td", tag("code", parts.cut(ref.ref))),
        tag("td", words(ref.result.value), class_="tight"),
        tag("td", tag("code", ids), class_="tight"),
        tag("td", parts.cut(ref.reason or ""), class_="wide"),
    )


def _log(words: Words, run: Run) -> Html:
    text = (run.details or "").rstrip("\n")
    if not text:
        return NOTHING
    shown, whole = parts.fitting(text, LOG, end=True), None
    if len(shown) < len(text):
        command = tag("code", f"gms-hookd run log {run.id}")
        whole = tag("p", words("log_end"), " ", command)
        shown = shown.partition("\n")[2]
    return tag("section", tag("h2", words("log")), whole, tag("pre", shown, tabindex=0))
