"""What needs hands, on one screen: for three in the morning."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gms_hookd.cli import render
from gms_hookd.cli.api_client import QUICK, SILENT, Api, get
from gms_hookd.cli.session import Args, Session, api_of
from gms_hookd.cli.terminal import Style
from gms_hookd.contract import USER_STATE, how_to_start
from gms_hookd.errors import ConfigError, Failure, SilentError
from gms_hookd.safetext import safe

Record = Mapping[str, Any]


def status(session: Session, args: Args) -> int:
    """Print how the daemon fares; 1 if something needs hands."""
    try:
        with api_of(session, patience=QUICK) as api:
            found = _asked(api, session.state)
    except SilentError:
        raise Failure(SILENT) from None
    except ConfigError as error:
        # Only where no daemon runs is the configuration read here.
        raise ConfigError(f"{_not_starting(session.state)}: {error}") from None
    session.show(args, found, screen)
    if found["needs_hands"]:
        more = len(found["needs_hands"]) - 1
        others = f" (and {more} more)" if more else ""
        raise Failure(f"needs hands: {found['needs_hands'][0]}{others}")
    return 0


def _asked(api: Api, state: str) -> dict[str, Any]:
    found: dict[str, Any] = get(api, "status")
    if found["since"] is None:
        why = "why it ended: journalctl -u gms-hookd -n 20"
        said = f"the daemon is not running: {how_to_start(state)} ({why})"
        found["needs_hands"].insert(0, said)
    return found


def _not_starting(state: str) -> str:
    if state.endswith(USER_STATE):
        return f"no daemon runs in {state}"
    start = how_to_start(state)
    return f"the daemon does not run, and would not start (correct this, then: {start})"


def screen(found: Record, style: Style) -> str:
    """Return the status for people: what needs hands comes last, where one looks."""
    parts = [render.record(_head(found, style)), *_lists(found, style)]
    hands = [f"- {safe(each)}" for each in found["needs_hands"]]
    last = ["needs hands:", *hands] if hands else ["all is well"]
    return "\n\n".join([*parts, "\n".join(last)])


def _head(found: Record, style: Style) -> Iterator[tuple[str, object]]:
    yield "gms-hookd", found["version"]
    yield "serving", render.ago(found["since"], style) or "no: not running"
    yield "listeners", ", ".join(found["listeners"]) or None
    yield "queue", _queue(found, style)
    yield (
        "workers",
        f"{found['queue']['running']} of {found['workers']} busy"
        if (found["queue"] and found["workers"])
        else None,
    )
    yield "disk", _disk(found["disk"])
    for tally in found["notices"] or ():
        if tally["waiting"] or tally["dead"]:
            said = f"{tally['waiting']} waiting, {tally['dead']} given up"
            why = f": {tally['last_error']}" if tally["last_error"] else ""
            yield "notices", f"{tally['target']}: {said}{why}"
    for warning in found["warnings"]:
        yield "warning", warning


def _queue(found: Record, style: Style) -> str:
    queue = found["queue"]
    if queue is None:
        return "unknown: the store cannot be read"
    oldest = queue["oldest"]
    if not oldest:
        return "empty"
    since = render.ago(oldest["created_at"], style)
    return (
        f"{queue['queued']} queued, the oldest of {oldest['task_name']} since {since}"
    )


def _disk(disk: Record) -> str | None:
    if disk["free"] is None:
        return None
    used = f", store {disk['database'] >> 20} MiB" if disk["database"] else ""
    return f"{disk['free'] >> 20} MiB free{used}"


def _lists(found: Record, style: Style) -> Iterator[str]:
    counts = found["queue"] or {}
    head = ("RUN", "TASK", "STATUS", "TRY", "FOR", "WAITS FOR")
    rows = [_running(run, style) for run in found["running"] or ()]
    yield from _table("under way", counts.get("running", 0), head, rows, style)
    head = ("RUN", "TASK", "STATUS", "ENDED", "NEXT TRY", "REASON")
    for name, what in (("failing", "failing tasks"), ("retried", "tried again")):
        rows = [_failing(run, style) for run in found[name] or ()]
        yield from _table(what, counts.get(name, 0), head, rows, style)
    if scheduled := found["scheduled"]:
        times = (_scheduled(task, style) for task in scheduled)
        listed = render.table(("TASK", "CRON", "NEXT CRON"), times, style)
        yield f"next by schedule:\n{listed}"
    if found["refused"]:
        listed = render.deliveries(found["refused"], style)
        yield f"last deliveries refused:\n{listed}"


def _table(
    what: str,
    count: int,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    style: Style,
) -> Iterator[str]:
    if rows:
        yield f"{what}: {count}\n{render.table(head, rows, style)}"


def _running(run: Record, style: Style) -> tuple[object, ...]:
    tries = f"{run['attempt']}/{run['attempts_max']}"
    named = run["id"], run["task_name"], run["status"], tries
    return *named, render.took(run, style), run["waits_for"]


def _scheduled(task: Record, style: Style) -> tuple[object, ...]:
    return task["task_name"], task["cron"], render.until(task["next_cron"], style)


def _failing(run: Record, style: Style) -> tuple[object, ...]:
    named = run["id"], run["task_name"], run["status"], render.when(run["end_time"])
    return *named, render.when(run["next_try"]), run["error_message"]
