"""From the rows of the outbox to what is said: one message, masked, in one language."""

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from gms_hookd.errors import NotFound
from gms_hookd.model import RefResult, Run, RunStatus, Task
from gms_hookd.notify import policy, texts
from gms_hookd.notify.base import Notice
from gms_hookd.payload import dump_json, load_json
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import Connection, deliveries, runs, tasks
from gms_hookd.store.notices import Lot, NoticeRow
from gms_hookd.units import rfc3339

LONGEST = 4000  # characters of a reason
MOST_REFS = 1000  # of a run: many receivers take 1 MiB, and a ref may need 700 bytes
Shown = Callable[[Run | None, Task | None], Mapping[str, Any]]


class NoticeStyle(NamedTuple):
    """How a target is spoken to; `shown` gives a run and its task as the API does.

    `pages` is where the status page is, "" where nobody may see it.
    """

    language: str
    mask: Mask
    shown: Shown
    pages: str = ""


def message(db: Connection, lot: Lot, style: NoticeStyle) -> Notice:
    """Return what is sent of a lot."""
    if len(lot.rows) == 1 and lot.rows[0].condition:
        return _of_trouble(db, lot.rows[0], style)
    first, language, mask = lot.rows[0], style.language, style.mask
    each = [_event_facts(db, row, language) for row in lot.rows]
    if len(each) > 1:
        title, reason, level = texts.digest(each, language)
        facts: tuple[tuple[str, str], ...] = ()
    else:
        title, reason = texts.title(each[0], language), each[0].reason
        level = texts.level(each[0].event)
        facts = _facts(db, first, language)
    said = mask("\n".join(filter(None, (*_before(lot, language), reason))))
    return Notice(
        key=lot.key,
        event=first.event,
        timestamp=rfc3339(first.created_at),
        title=mask(title),
        reason="\n".join(filter(None, (said[:LONGEST], *_after(lot, language)))),
        facts=tuple((label, mask(value)) for label, value in facts),
        level=level,
        link=_link(lot, style.pages),
        data=_data(db, first, style),
    )


def _of_trouble(db: Connection, row: NoticeRow, style: NoticeStyle) -> Notice:
    """Return what is sent of a trouble of the daemon, with the run that waits."""
    notice = of_condition(row, style, _facts(db, row, style.language))
    said = notice.data["message"]
    return replace(notice, data={**_data(db, row, style), "message": said})


def of_condition(
    row: NoticeRow, style: NoticeStyle, facts: Iterable[tuple[str, str]] = ()
) -> Notice:
    """Return what is sent of a trouble of the daemon; it needs no store."""
    language, mask = style.language, style.mask
    event_facts = _of_condition(row, language)
    host = texts.label("host", language), socket.gethostname()
    title, reason = mask(texts.title(event_facts, language)), mask(event_facts.reason)
    began = None if row.since is None else rfc3339(row.since)
    data = {**style.shown(None, None), "failures": 0, "failing_since": began}
    before = _before(Lot(row.key, (row,)), language)
    return Notice(
        key=row.key,
        event=row.event,
        timestamp=rfc3339(row.created_at),
        title=title,
        reason="\n".join(filter(None, (*before, reason)))[:LONGEST],
        facts=(host, *((label, mask(value)) for label, value in facts)),
        level=texts.level(row.event),
        link=_link(Lot(row.key, (row,)), style.pages),
        data={**data, "message": f"{title}: {reason}".rstrip(": ")},
    )


def _of_condition(row: NoticeRow, language: str) -> texts.EventFacts:
    reason = row.said or ""
    if row.condition == policy.DISK and reason:
        reason = texts.free(reason, language)
    lasted = (row.created_at - row.since) / 1000 if row.since is not None else 0.0
    found = row.condition or ""
    return texts.EventFacts(row.event, lasted=lasted, reason=reason, condition=found)


def _link(lot: Lot, pages: str) -> str:
    """Return the page that shows what it is about; none for who sent a delivery."""
    first = lot.rows[0]
    if not pages or first.delivery_id is not None:
        return ""
    if len(lot.rows) == 1 and first.run_id is not None:
        return f"{pages}/run/{first.run_id}"
    if len(lot.rows) == 1 and first.task_id is not None:
        return f"{pages}/task/{first.task_id}"
    return pages


def _before(lot: Lot, language: str) -> list[str]:
    came_from = lot.rows[0].came_from
    return [texts.not_delivered(came_from, language)] if came_from else []


def _after(lot: Lot, language: str) -> list[str]:
    return [texts.lost(lot.lost, language)] if lot.lost else []


def _event_facts(db: Connection, row: NoticeRow, language: str) -> texts.EventFacts:
    if row.condition:
        return _of_condition(row, language)
    if row.delivery_id is not None:
        return _outcome(deliveries.outcome(db, row.delivery_id))
    run = _run(db, row)
    failed = run is not None and run.error_message and row.event != policy.RECOVERED
    reason = run.error_message if run and failed else row.said or ""
    return texts.EventFacts(
        row.event,
        row.task_name,
        row.failures,
        (row.created_at - row.since) / 1000 if row.since is not None else 0.0,
        row.reminder,
        reason,
    )


def _outcome(statuses: tuple[RunStatus, ...]) -> texts.EventFacts:
    good = all(status is RunStatus.SUCCESS for status in statuses)
    words = ", ".join(statuses) or "nothing to sync"
    return texts.EventFacts(policy.SUCCESS if good else policy.FAILED, reason=words)


def _run_facts(run: Run) -> list[tuple[str, str]]:
    changes = [("changes", run.commit_range)] if run.commit_range else []
    return [("run", str(run.id)), ("trigger", run.trigger), *changes]


def _facts(
    db: Connection, row: NoticeRow, language: str
) -> tuple[tuple[str, str], ...]:
    if row.delivery_id is not None:
        return ()
    run, task = _run(db, row), _task(db, row)
    found = _run_facts(run) if run else []
    found += [("way", f"{task.source} -> {task.target}")] if task else []
    if row.since is not None and row.event != policy.CHANGED:
        word = "began" if row.condition else "since"
        found.append((word, rfc3339(row.since)))
    return tuple((texts.label(word, language), value) for word, value in found)


def _data(db: Connection, row: NoticeRow, style: NoticeStyle) -> dict[str, object]:
    if row.delivery_id is not None:
        return {}
    since = None if row.since is None else rfc3339(row.since)
    shown = style.shown(_run(db, row), _task(db, row))
    safe = load_json(style.mask.answer(dump_json(shown)))
    said = {"message": style.mask(row.said)} if row.said else {}
    return {**safe, "failures": row.failures, "failing_since": since, **said}


def _run(db: Connection, row: NoticeRow) -> Run | None:
    """Return the run that a notice is about, unless it is no longer kept."""
    try:
        found = None if row.run_id is None else runs.get(db, row.run_id)
    except NotFound:
        return None
    return _shortened(found) if found and len(found.refs) > MOST_REFS else found


def _shortened(run: Run) -> Run:
    """Return a run with as many refs as a receiver takes, those that say most first."""
    telling = sorted(run.refs, key=lambda ref: ref.result is RefResult.UNCHANGED)
    return replace(run, refs=tuple(telling[:MOST_REFS]))


def _task(db: Connection, row: NoticeRow) -> Task | None:
    try:
        return None if row.task_id is None else tasks.get(db, row.task_id)
    except NotFound:
        return None
