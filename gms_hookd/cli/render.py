"""Text for people out of the API's objects: tables, single records, times, colours.

Names, reasons and logs come from outside: all of them pass `safetext.safe`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from gms_hookd.cli.terminal import Style, columns, cut
from gms_hookd.contract import FINAL
from gms_hookd.safetext import safe

Record = Mapping[str, Any]
COLOURS = {
    "success": "32", "conflict": "33", "failed": "31", "running": "36", "queued": "2",
    "cancelled": "2", "off": "2", "created": "32", "updated": "32", "forced": "33",
    "deleted": "33", "rejected": "31", "unchanged": "2", "ok": "32", "warning": "33",
    "error": "31",
}  # fmt: skip
PAINTED = ("STATUS", "STATE", "LAST RUN", "RESULT")
STATUS_CLASSES = {"2": "32", "4": "33", "5": "31"}
STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
OID = re.compile(r"\b([0-9a-f]{10})[0-9a-f]{30}(?:[0-9a-f]{24})?\b")


def paint(text: str, word: str, style: Style) -> str:
    """Return `text` in the colour of a status word or an HTTP status."""
    code = COLOURS.get(word) or STATUS_CLASSES.get(word[:1] if word.isdigit() else "")
    return f"\x1b[{code}m{text}\x1b[0m" if code and style.colour else text


def table(head: Sequence[str], rows: Iterable[Sequence[object]], style: Style) -> str:
    """Return aligned columns under their heads; only the last one is ever cut."""
    cells = [[safe("-" if v in (None, "") else str(v)) for v in row] for row in rows]
    widths = [max(map(columns, c)) for c in zip_longest(head, *cells, fillvalue="")]
    top = "  ".join(_pad(head, widths, style)).rstrip()
    return "\n".join([top, *(_line(head, row, widths, style) for row in cells)])


def _line(
    head: Sequence[str], row: Sequence[str], widths: Sequence[int], style: Style
) -> str:
    padded = zip(head, row, _pad(row, widths, style), strict=True)
    cells = (paint(c, word if h in PAINTED else "", style) for h, word, c in padded)
    return "  ".join(cells).rstrip()


def _pad(row: Sequence[str], widths: Sequence[int], style: Style) -> list[str]:
    used = sum(widths[:-1]) + 2 * (len(widths) - 1)
    last = cut(row[-1], max(style.width - used, 24)) if style.width else row[-1]
    before = zip(row[:-1], widths[:-1], strict=True)
    return [*(cell + " " * (w - columns(cell)) for cell, w in before), last]


def record(pairs: Iterable[tuple[str, object]]) -> str:
    """Return one line per pair, the values aligned; a value of None is left out."""
    lines = [(label, safe(str(value))) for label, value in pairs if value is not None]
    return "\n".join(f"{label + ':':<11} {value}" for label, value in lines)


def moment(text: str | None) -> datetime | None:
    """Return the time which an RFC 3339 text of the API stands for."""
    return datetime.fromisoformat(text) if text else None


def when(text: str | None) -> str:
    """Return an API time as local time."""
    at = moment(text)
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else "-"


def ago(text: str | None, style: Style) -> str | None:
    """Return an API time as local time and how long ago that is; None for none."""
    at = moment(text)
    if not at:
        return None
    past = f"{duration(max(style.now - at.timestamp(), 0))} ago"
    return f"{when(text)} {at.astimezone():%z} ({past})"


def until(text: str | None, style: Style) -> str | None:
    """Return an API time as local time and how far away it is; None for none."""
    at = moment(text)
    if not at:
        return None
    wait = at.timestamp() - style.now
    due = f"in {duration(wait)}" if wait > 0 else "now"
    return f"{when(text)} {at.astimezone():%z} ({due})"


def took(run: Record, style: Style) -> str | None:
    """Return how long a run took, or has been running."""
    start, end = moment(run["start_time"]), moment(run["end_time"])
    if not start:
        return None
    return duration(max((end.timestamp() if end else style.now) - start.timestamp(), 0))


def duration(seconds: float) -> str:
    """Return seconds as people say it, in at most two units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole, parts = round(seconds), []
    for size, unit in STEPS:
        count, whole = divmod(whole, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next(i for i, part in enumerate(parts) if part)
    return " ".join(part for part in parts[first : first + 2] if part)


def short(text: str | None) -> str:
    """Return `text` with its object ids cut to ten digits."""
    return OID.sub(r"\1", text or "")


def tasks(found: Sequence[Record], style: Style) -> str:
    """Return the list of tasks."""
    if not found:
        return "no tasks"
    scheduled = any(task["cron"] for task in found)
    cron = ("NEXT CRON",) if scheduled else ()
    head = ("ID", "NAME", "STATE", "LAST RUN", "ENDED", *cron, "SOURCE -> TARGET")
    rows = (_task_row(task, scheduled) for task in _under_patterns(found))
    return table(head, rows, style)


def _under_patterns(found: Sequence[Record]) -> Iterator[Record]:
    """Put the tasks that a pattern has made under it, and indent them."""
    made: dict[str, list[Record]] = {}
    for task in found:
        made.setdefault(task["pattern"] or "", []).append(task)
    for task in made.get("", ()):
        yield task
        for child in made.get(task["name"], ()):
            yield {**child, "name": f"  {child['name']}"}


def expanded(made: Sequence[Record], style: Style) -> str:
    """Return what became of each name of a list."""
    rows = [(one["task_id"], one["name"], one["result"], one["reason"]) for one in made]
    return table(("ID", "NAME", "RESULT", "REASON"), rows, style)


def _task_row(task: Record, scheduled: bool) -> tuple[object, ...]:
    last = task["last_run"] or {}
    state = "on" if task["enabled"] else "off"
    way = f"{task['source']} -> {task['target']}"
    cron = (when(task["next_cron"]),) if scheduled else ()
    ended = when(last.get("end_time"))
    return task["id"], task["name"], state, last.get("status"), ended, *cron, way


def task(one: Record, style: Style) -> str:
    """Return one task in full."""
    last = one["last_run"]
    timeout = one["timeout"]
    return record(
        [
            ("task", f"{one['id']} {one['name']}{_off(one)}"),
            ("key", one["key"]),
            ("pattern", _pattern(one)),
            ("source", one["source"]),
            ("target", one["target"]),
            ("refs", " ".join(one["refspecs"]) or "refs/heads/* refs/tags/*"),
            ("policy", _policy(one)),
            ("timeout", "default" if timeout is None else duration(timeout)),
            ("cron", one["cron"]),
            ("next cron", _next_cron(one, style)),
            ("created", ago(one["created_at"], style)),
            ("changed", ago(one["updated_at"], style)),
            ("last run", f"{last['id']} {_outcome(last, style)}" if last else "none"),
        ]
    )


def _pattern(one: Record) -> str | None:
    if one["pattern"]:
        return f"made by {one['pattern']}"
    most = one.get("max")
    return f"makes up to {most} tasks, and never runs itself" if most else None


def _off(one: Record) -> str:
    """Return that a task is disabled, and why where an undo has done that."""
    if one["enabled"]:
        return ""
    last = one["last_run"]
    if not last or last["trigger"] != "undo":
        return " (off)"
    return f" (off since run {last['id']}, an undo: a sync would do the same again)"


def _next_cron(one: Record, style: Style) -> str | None:
    met = one["enabled"] and one["cron"] and "max" not in one  # a pattern never runs
    if one["next_cron"] is None and met:
        return "never"
    return until(one["next_cron"], style)


def _policy(one: Record) -> str:
    force = "overwrites what has diverged" if one["force"] else "fast-forward only"
    passed = "".join(f", {option}" for option in one.get("push_options", ()))
    return f"{force}, {'deletes' if one['prune'] else 'never deletes'}{passed}"


def _outcome(run: Record, style: Style) -> str:
    end = ago(run["end_time"], style)
    why = run["error_message"]
    return f"{run['status']}{' ' + end if end else ''}{': ' + why if why else ''}"


def runs(found: Sequence[Record], style: Style) -> str:
    """Return the list of runs."""
    head = ("ID", "TASK", "STATUS", "TRY", "TRIGGER", "QUEUED", "TOOK", "RESULT")
    rows = (_run_row(run, style) for run in found)
    return table(head, rows, style) if found else "no runs"


def _run_row(run: Record, style: Style) -> tuple[object, ...]:
    said = run["error_message"] or short(run["commit_range"])
    result = ": ".join(part for part in (_waiting(run, style), said) if part)
    queued, time = when(run["created_at"]), took(run, style)
    named = run["id"], run["task_name"], run["status"], _attempt(run), run["trigger"]
    return *named, queued, time, result


def _waiting(run: Record, style: Style) -> str | None:
    """Return what a run waits for: its next attempt, or what the API says."""
    at = moment(run["next_try"])
    if at and at.timestamp() > style.now:
        return f"next try in {duration(at.timestamp() - style.now)}"
    return f"waits for {run['waits_for']}" if run["waits_for"] else None


def _next_try(run: Record, style: Style) -> str | None:
    """Return when the next attempt of a queued run is due, and how many are left."""
    at = until(run["next_try"], style)
    return f"{at}, {run['attempts_max'] - run['attempt']} left" if at else None


def run(one: Record, style: Style) -> str:
    """Return one run in full, with what became of each ref."""
    shown = record(
        [
            ("run", f"{one['id']} {one['status']}, attempt {_attempt(one)}"),
            ("task", f"{one['task_id']} {one['task_name']}"),
            ("trigger", one["trigger"]),
            ("deliveries", _ids(one["deliveries"])),
            ("queued", ago(one["created_at"], style)),
            ("next try", _next_try(one, style)),
            ("waits for", one["waits_for"]),
            ("started", ago(one["start_time"], style)),
            ("ended", ago(one["end_time"], style)),
            ("took", took(one, style)),
            ("commits", one["commit_range"] or None),
            ("error", one["error_message"] or None),
        ]
    )
    whole = style._replace(width=None)  # a reason may hold the command that restores
    return f"{shown}\n\n{refs(one['refs'], whole)}" if one.get("refs") else shown


def _attempt(run: Record) -> str:
    """Return the number of an attempt, and of how many where there may be more."""
    over = run["status"] in FINAL
    return f"{run['attempt']}{'' if over else '/' + str(run['attempts_max'])}"


def _ids(numbers: Sequence[int]) -> str | None:
    return ", ".join(map(str, numbers)) or None


def refs(found: Sequence[Record], style: Style) -> str:
    """Return what a run did to each ref; those it left alone are counted."""
    head = ("REF", "RESULT", "OLD", "NEW", "REASON")
    changed = [ref for ref in found if ref["result"] != "unchanged" or ref["reason"]]
    same = len(found) - len(changed)
    parts = [table(head, map(_ref_row, changed), style)] if changed else []
    return "\n".join([*parts, *([f"{same} unchanged"] if same else [])])


def confirmed(deletions: Mapping[str, str], style: Style) -> str:
    """Return what somebody said yes to, as lines."""
    if not deletions:
        return "confirmed: the source has none of the selected refs"
    rows = [(ref, short(oid)) for ref, oid in deletions.items()]
    return "confirmed to be deleted:\n" + table(("REF", "OLD"), rows, style)


def _ref_row(ref: Record) -> tuple[object, ...]:
    old, new = short(ref["old"]), short(ref["new"])
    return ref["ref"], ref["result"], old, new, ref["reason"]


def result(one: Record, style: Style) -> str:
    """Return a finished run as one line."""
    said = one["error_message"] or short(one["commit_range"]) or _nothing(one)
    status = paint(one["status"], one["status"], style)
    time = took(one, style)
    return f"run {one['id']}: {status}{f' in {time}' if time else ''}: {safe(said)}"


def _nothing(run: Record) -> str:
    return "nothing to do" if run["end_time"] else "has not ended yet"


def notices(found: Sequence[Record], style: Style) -> str:
    """Return the list of notices."""
    head = ("ID", "TARGET", "EVENT", "RUN", "STATUS", "TRIES", "MADE", "SENT", "ERROR")
    return table(head, map(_notice_row, found), style) if found else "no notices"


def _notice_row(notice: Record) -> tuple[object, ...]:
    what = notice["id"], notice["target"], notice["event"], notice["run_id"]
    became = notice["status"], notice["attempts"]
    times = when(notice["created_at"]), when(notice["sent_at"])
    return *what, *became, *times, notice["error"]


def deliveries(found: Sequence[Record], style: Style) -> str:
    """Return the list of deliveries."""
    head = ("ID", "RECEIVED", "HOOK", "EVENT", "CLIENT", "STATUS", "RUNS", "REASON")
    return table(head, map(_delivery_row, found), style) if found else "no deliveries"


def _delivery_row(delivery: Record) -> tuple[object, ...]:
    came = delivery["id"], when(delivery["received_at"]), delivery["hook"]
    sender = delivery["event"], delivery["client"], delivery["status"]
    return *came, *sender, _ids(delivery["run_ids"]), delivery["reason"]


def delivery(one: Record, style: Style) -> str:
    """Return one delivery in full, with what is kept of its headers and body."""
    return record(
        [
            ("delivery", one["id"]),
            ("hook", f"{one['hook']} ({one['provider']})"),
            ("event", one["event"]),
            ("key", one["delivery_key"]),
            ("received", ago(one["received_at"], style)),
            ("client", one["client"] or None),
            ("status", one["status"]),
            ("reason", one["reason"] or None),
            ("tasks", _ids(one["task_ids"])),
            ("runs", _ids(one["run_ids"])),
            *(("header", f"{n}: {v}") for n, v in (one.get("headers") or {}).items()),
            ("body", one.get("body")),
        ]
    )
