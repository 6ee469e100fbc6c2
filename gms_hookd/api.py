"""The calls of the API, GMS's names where GMS has them: parameters in, data out.

Each call takes the desk and the parameters (a JSON object, or the query's strings) and
gives a future of what stands under `data`. A refusal is an HttpError or a StoreError.
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gms_hookd import views
from gms_hookd.futures import Future, apply, done, started, then
from gms_hookd.git import refspec
from gms_hookd.git import url as giturl
from gms_hookd.git.process import Stop
from gms_hookd.http.message import HttpError
from gms_hookd.model import FINAL, Run, RunStatus, Task
from gms_hookd.runlog import RunLog
from gms_hookd.store import Connection, deliveries, maintenance, runs, tasks
from gms_hookd.sync.job import Engine, SyncJob, SyncResult
from gms_hookd.units import duration
from gms_hookd.workers.running import Context

Params = Mapping[str, Any]
Data = Future[Any]
LIMIT = 50
LARGEST_LIMIT = 1000
LARGEST_ID = 2**63 - 1
LONGEST_TIMEOUT = 7 * 24 * 3600.0
LONGEST_TEXT = 4096
MOST_OPTIONS = 20
_OID = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ATTEMPT = 1 << 32  # an offset holds the attempt above, the position below
_DRAFT = frozenset({"name", "source", "target", "force", "prune", "enabled", "timeout"})
_BRANCHES = frozenset({"source_branch", "target_branch"})
_TASK_KEYS = _DRAFT | _BRANCHES | {"refspecs", "push_options"}
_PUSH_OPTIONS = frozenset({"--force", "--prune", "--no-verify"})
_WHICH = {"id": "id", "key": "key", "task_id": "id", "task_key": "key"}


def list_tasks(desk: Context, params: Params) -> Data:
    """List the tasks, each with its last run."""
    _only(params, ())
    return desk.store.read(_list_tasks)


def _list_tasks(db: Connection) -> list[views.Json]:
    return [views.task(task, runs.last(db, task.id)) for task in tasks.every(db)]


def show_task(desk: Context, params: Params) -> Data:
    """Show the task with this id, key or name."""
    _only(params, ("id", "key", "name"))
    return desk.store.read(_show_task, _which(params, ("id", "key", "name")))


def _show_task(db: Connection, by: Mapping[str, object]) -> views.Json:
    task = tasks.find(db, by)
    return views.task(task, runs.last(db, task.id))


def create_task(desk: Context, params: Params) -> Data:
    """Add a task."""
    _only(params, _TASK_KEYS)
    for key in ("name", "source", "target"):
        if key not in params:
            raise HttpError(400, f"{key}: is missing")
    empty = tasks.Draft(name="", source="", target="", cache="")
    draft = _draft(desk, empty, params)
    added = desk.store.write(tasks.add, draft, desk.now())
    return apply(added, lambda task: views.task(task, None))


def update_task(desk: Context, params: Params) -> Data:
    """Change what is given of the task with this id or key (or, alone, name)."""
    _only(params, _TASK_KEYS | set(_WHICH))
    by = _which(params, ("id", "key", "task_id", "task_key", "name"))
    changes = {k: v for k, v in params.items() if k in _TASK_KEYS and k not in by}
    updated = desk.store.write(_update, by, desk, changes)
    return apply(updated, _ring(desk))


def _update(
    db: Connection, by: Mapping[str, object], desk: Context, changes: Params
) -> views.Json:
    task = tasks.find(db, by)
    draft = _draft(desk, _as_draft(task), changes)
    return views.task(
        tasks.change(db, task.id, draft, desk.now()), runs.last(db, task.id)
    )


def _as_draft(task: Task) -> tasks.Draft:
    return tasks.Draft(
        name=task.name,
        source=task.source,
        target=task.target,
        cache=giturl.cache_key(task.source),
        refspecs=task.refspecs,
        force=task.force,
        prune=task.prune,
        enabled=task.enabled,
        timeout=task.timeout,
        push_options=task.push_options,
    )


def delete_task(desk: Context, params: Params) -> Data:
    """Remove a task; what it is doing is stopped, its history stays."""
    _only(params, (*_WHICH, "name"))
    by = _which(params, (*_WHICH, "name"))
    return apply(desk.store.write(_delete, by, desk.now()), _stop_removed(desk))


def _delete(
    db: Connection, by: Mapping[str, object], now: int
) -> tuple[views.Json, list[Run]]:
    task = tasks.find(db, by)
    shown = views.task(task, runs.last(db, task.id))
    tasks.remove(db, task.id, now)
    return shown, runs.history(db, task.id, RunStatus.RUNNING, 1)


def _stop_removed(
    desk: Context,
) -> Callable[[tuple[views.Json, list[Run]]], views.Json]:
    def stop(removed: tuple[views.Json, list[Run]]) -> views.Json:
        shown, under_way = removed
        for run in under_way:
            desk.live.stop(run.id, "cancelled")
        return shown

    return stop


def run_task(desk: Context, params: Params) -> Data:
    """Queue a run of a task; `confirmed` names deletions that no guard is to hold.

    They are those that `task/plan` shows as `held`; true is all that it would show now.
    They count for one attempt, and a guard holds anything more.
    """
    _only(params, ("task_id", "task_key", "confirmed"))
    by = _which(params, ("task_id", "task_key"))
    confirmed = params.get("confirmed", False)
    if isinstance(confirmed, dict):
        return _queued(desk, by, _deletions(confirmed))
    if not _boolean(params, "confirmed", False):
        return _queued(desk, by, None)
    return then(_outcome(desk, by), lambda found: _queued(desk, by, found[0].held))


def _queued(
    desk: Context, by: Mapping[str, object], confirmed: Mapping[str, str] | None
) -> Data:
    wish = runs.NewRun("manual", confirmed=confirmed, urgent=True)
    return apply(desk.store.write(_order, by, wish, desk.now()), _shown_run(desk))


def _deletions(given: Mapping[str, object]) -> dict[str, str]:
    named = {r: oid for r, oid in given.items() if isinstance(oid, str)}
    if len(named) < len(given) or not all(map(_OID.fullmatch, named.values())):
        raise HttpError(400, "confirmed: an object of refs and their ids is needed")
    return named


def _order(
    db: Connection, by: Mapping[str, object], wish: runs.NewRun, now: int
) -> Run:
    return runs.request(db, tasks.find(db, by).id, wish, now)


def plan_task(desk: Context, params: Params) -> Data:
    """Say what a run would do to each ref, and do nothing."""
    _only(params, ("task_id", "task_key"))
    by = _which(params, ("task_id", "task_key"))
    return apply(_outcome(desk, by), lambda found: views.plan(*found))


def _outcome(desk: Context, by: Mapping[str, object]) -> Future[tuple[SyncResult, str]]:
    found = desk.store.read(_planned, by)
    return then(found, lambda o: started(desk.pool, partial(_plan, desk.engine, o)))


def _planned(db: Connection, by: Mapping[str, object]) -> SyncJob:
    task = tasks.find(db, by)
    return SyncJob(task, runs.tips(db, task.id))


def _plan(engine: Engine, order: SyncJob) -> tuple[SyncResult, str]:
    log = RunLog()
    outcome = engine.plan(order, log, Stop())
    log.close()
    return outcome, log.text()


def history(desk: Context, params: Params) -> Data:
    """List the newest runs first."""
    _only(params, ("task_id", "status", "limit"))
    task_id = _number(params, "task_id") if "task_id" in params else None
    found = desk.store.read(runs.history, task_id, _status(params), _limit(params))
    return apply(found, lambda listed: [views.run(run) for run in listed])


def show_run(desk: Context, params: Params) -> Data:
    """Show a run with its log."""
    _only(params, ("id",))
    found = desk.store.read(runs.get, _number(params, "id"), details=True)
    return apply(found, views.run)


def run_output(desk: Context, params: Params) -> Data:
    """Give what a run under way has said since `offset`, progress included.

    With `wait` (seconds, at most 2) the answer waits for something to be said. An
    offset is what the last answer gave, opaque to the client.
    """
    _only(params, ("id", "offset", "wait"))
    run_id = _number(params, "id")
    offset = _number(params, "offset", least=0) if "offset" in params else 0
    wait = _number(params, "wait", least=0) if "wait" in params else 0
    logged = desk.live.log(run_id)
    if logged is None:
        return _silence(desk, run_id, "", offset)
    said = started(desk.pool, partial(_said, logged, offset, min(wait, 2)))
    return then(said, lambda found: _output(desk, run_id, *found))


def _said(logged: tuple[int, RunLog], offset: int, wait: int) -> tuple[str, int, bool]:
    """Follow the latest attempt: from its beginning if the offset is an older one's."""
    attempt, log = logged
    seen, position = divmod(offset, _ATTEMPT)
    text, position, closed = log.follow(position if seen == attempt else 0, wait)
    return text, attempt * _ATTEMPT + position, closed


def _output(desk: Context, run_id: int, text: str, offset: int, closed: bool) -> Data:
    if not closed:
        return done({"text": text, "offset": offset, "done": False})
    return _silence(desk, run_id, text, offset)


def _silence(desk: Context, run_id: int, text: str, offset: int) -> Data:
    """Nobody speaks now: that is all if the run has ended, else another try follows."""
    found = desk.store.read(runs.get, run_id)
    return apply(
        found,
        lambda run: {"text": text, "offset": offset, "done": run.status in FINAL},
    )


def retry_run(desk: Context, params: Params) -> Data:
    """Queue a new run of the task of an ended run."""
    _only(params, ("id",))
    queued = desk.store.write(runs.retry, _number(params, "id"), desk.now())
    return apply(queued, _shown_run(desk))


def cancel_run(desk: Context, params: Params) -> Data:
    """Cancel a run; one under way is stopped, and shown when it has ended."""
    _only(params, ("id",))
    cancelled = desk.store.write(runs.cancel, _number(params, "id"), desk.now())
    return then(cancelled, lambda run: _stop(desk, run))


def _stop(desk: Context, run: Run) -> Data:
    watch = desk.live.watch(run.id, 30.0)
    if run.status in FINAL:
        desk.live.ended([run.id])
    else:
        desk.live.stop(run.id, "cancelled")
    found = then(watch.future, lambda _: desk.store.read(runs.get, run.id))
    return apply(found, views.run)


def delete_run(desk: Context, params: Params) -> Data:
    """Delete an ended run from the history."""
    _only(params, ("id",))
    return apply(desk.store.write(runs.delete, _number(params, "id")), views.run)


def list_deliveries(desk: Context, params: Params) -> Data:
    """List the newest deliveries first."""
    _only(params, ("hook", "limit"))
    hook = _text(params, "hook") if "hook" in params else None
    # The refused ones are written without anybody waiting: let them in first.
    written = desk.store.write(maintenance.ping)
    limit = _limit(params)
    found = then(written, lambda _: desk.store.read(deliveries.latest, hook, limit))
    return apply(found, lambda listed: [views.delivery(each) for each in listed])


def show_delivery(desk: Context, params: Params) -> Data:
    """Show a delivery."""
    _only(params, ("id",))
    number = _number(params, "id")
    written = desk.store.write(maintenance.ping)
    found = then(written, lambda _: desk.store.read(deliveries.get, number))
    return apply(found, views.delivery)


def show_parcel(desk: Context, params: Params) -> Data:
    """Show what is kept of a delivery's headers and body."""
    _only(params, ("id",))
    found = desk.store.read(deliveries.content, _number(params, "id"))
    return apply(found, views.parcel)


def backup(desk: Context, params: Params) -> Data:
    """Write a consistent copy of the store to a path of this machine."""
    _only(params, ("path",))
    path = _text(params, "path")
    copied = started(
        desk.pool, partial(maintenance.backup, desk.store.path, Path(path))
    )
    return apply(copied, lambda _: {"path": path})


def _ring(desk: Context) -> Callable[[views.Json], views.Json]:
    def ring(shown: views.Json) -> views.Json:
        desk.live.ring()
        return shown

    return ring


def _shown_run(desk: Context) -> Callable[[Run], views.Json]:
    return lambda run: _ring(desk)(views.run(run))


@dataclass(frozen=True, slots=True)
class _PushOptions:
    """GMS's `push_options`, as far as they mean something to a sync."""

    force: bool = False
    prune: bool = False
    passed: tuple[str, ...] = ()


def _draft(desk: Context, before: tasks.Draft, params: Params) -> tasks.Draft:
    """Give `before` with what is given changed, all of it checked."""
    options = _push_options(params)
    draft = before._replace(
        name=tasks.checked_name(_text(params, "name", before.name)),
        source=_url(desk, params, "source", before.source),
        target=_url(desk, params, "target", before.target),
        refspecs=_refspecs(params, before.refspecs),
        force=_boolean(params, "force", before.force or options.force),
        prune=_boolean(params, "prune", before.prune or options.prune),
        enabled=_boolean(params, "enabled", before.enabled),
        timeout=_timeout(params, before.timeout),
        push_options=options.passed
        if "push_options" in params
        else before.push_options,
    )
    if giturl.cache_key(draft.source) == giturl.cache_key(draft.target):
        raise HttpError(400, "target: is the source itself")
    return draft._replace(cache=giturl.cache_key(draft.source))


def _url(desk: Context, params: Params, key: str, before: str) -> str:
    text = _text(params, key, before)
    try:
        giturl.parse(text, desk.protocols)
    except ValueError as error:
        raise HttpError(400, f"{key}: {error}") from None
    return text


def _refspecs(params: Params, before: tuple[str, ...]) -> tuple[str, ...]:
    branch = _branch(params, before)
    given = params.get("refspecs", list(before) if branch is None else [])
    if branch is not None and given:
        raise HttpError(400, "refspecs: not together with source_branch")
    if not isinstance(given, list) or not all(isinstance(s, str) for s in given):
        raise HttpError(400, "refspecs: a list of strings is needed")
    try:
        specs = (refspec.branch(branch),) if branch else tuple(given)
        refspec.select(specs, force=False)
    except ValueError as error:
        raise HttpError(400, f"refspecs: {error}") from None
    return specs


def _branch(params: Params, before: tuple[str, ...]) -> str | None:
    """Complete what is given of the two names by what the task has."""
    source = _text(params, "source_branch", "")
    target = _text(params, "target_branch", "")
    if not source and not target:
        return None
    old_source, old_target = views.one_branch(before)
    if not source and not old_source:
        raise HttpError(400, "target_branch: source_branch is missing")
    # What had one name on both sides keeps one; what was renamed keeps its target.
    kept = old_target if old_target != old_source else source
    return f"{source or old_source}:{target or kept or source}"


def _push_options(params: Params) -> _PushOptions:
    given = params.get("push_options") or []
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise HttpError(400, "push_options: a list of strings is needed")
    prefix = views.PUSH_OPTION
    passed = tuple(w.removeprefix(prefix) for w in words if w.startswith(prefix))
    if len(passed) > MOST_OPTIONS or not all(map(_is_line, passed)):
        raise HttpError(400, "push_options: at most 20 lines of text are passed on")
    for word in words:
        if not word.startswith(prefix) and word not in _PUSH_OPTIONS:
            raise HttpError(400, f"push_options: {word[:100]!r} is not possible here")
    return _PushOptions("--force" in words, "--prune" in words, passed)


def _is_line(text: str) -> bool:
    return 0 < len(text) <= LONGEST_TEXT and text.isprintable()


def _timeout(params: Params, before: float | None) -> float | None:
    given = params.get("timeout", before)
    if isinstance(given, str):
        try:
            given = duration(given)
        except ValueError as error:
            raise HttpError(400, f"timeout: {error}") from None
    if given is None:
        return None
    if type(given) not in {int, float} or not 0 < given <= LONGEST_TIMEOUT:
        raise HttpError(400, "timeout: seconds are needed, more than 0, at most a week")
    return float(given)


def _only(params: Params, known: Container[str]) -> None:
    for key in params:
        if key not in known:
            raise HttpError(400, f"{key[:100]}: unknown parameter")


def _which(params: Params, keys: tuple[str, ...]) -> dict[str, object]:
    """Find out which of the keys names the task: the first that is given."""
    for key in keys:
        if key in params:
            column = _WHICH.get(key, key)
            number = column == "id"
            return {column: _number(params, key) if number else _text(params, key)}
    raise HttpError(400, f"{keys[0]}: is missing")


def _number(params: Params, key: str, least: int = 1) -> int:
    given = params.get(key)
    if isinstance(given, str) and given.isascii() and given.isdecimal():
        given = int(given[:20])
    if type(given) is not int or not least <= given <= LARGEST_ID:
        kind = "a positive integer" if least else "an integer from 0"
        raise HttpError(400, f"{key}: {kind} is needed")
    return given


def _text(params: Params, key: str, default: str | None = None) -> str:
    given = params.get(key, default)
    if not isinstance(given, str):
        raise HttpError(400, f"{key}: a string is needed")
    if given and not _is_line(given):
        raise HttpError(400, f"{key}: printable text is needed, at most 4096 long")
    return given


def _boolean(params: Params, key: str, default: bool) -> bool:
    given = params.get(key, default)
    if not isinstance(given, bool):
        raise HttpError(400, f"{key}: true or false is needed")
    return given


def _status(params: Params) -> RunStatus | None:
    if "status" not in params:
        return None
    try:
        return RunStatus(_text(params, "status"))
    except ValueError:
        words = ", ".join(RunStatus)
        raise HttpError(400, f"status: one of {words} is needed") from None


def _limit(params: Params) -> int:
    if "limit" not in params:
        return LIMIT
    return min(_number(params, "limit"), LARGEST_LIMIT)
