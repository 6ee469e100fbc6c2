"""The calls of the API, GMS's names where GMS has them: parameters in, data out.

Each call takes the context and the parameters (a JSON object, or the query's strings)
and gives a future of what stands under `data`. A refusal is an HttpError or a
StoreError.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gms_hookd.errors import Conflict, NotFound, StoreError
from gms_hookd.futures import Future, apply, done, recover, then
from gms_hookd.model import FINAL, LARGEST_ID, Run, RunStatus, Task
from gms_hookd.runlog import RunLog
from gms_hookd.store import deliveries, maintenance, notices, runs, tasks, undo
from gms_hookd.store.dbthread import Connection
from gms_hookd.store.overview import Overview, overview
from gms_hookd.sync.job import SyncJob, SyncResult
from gms_hookd.units import rfc3339
from gms_hookd.web import params as take
from gms_hookd.web import views
from gms_hookd.web.params import Params
from gms_hookd.workers.running import Context, DaemonState, Inspected

Data = Future[Any]
T = TypeVar("T")
LONGEST_LOOK = 60.0  # seconds to find out what a cache has
LONGEST_PLAN = 300.0  # seconds from the question on; an answer may take 330
_ATTEMPT = 1 << 32  # an offset holds the attempt above, the position below


def list_tasks(context: Context, params: Params) -> Data:
    """List the tasks, each with its last run."""
    after = take.read_number(params, "after") if "after" in params else 0
    limit = take.read_number(params, "limit") if "limit" in params else LARGEST_ID
    limit = min(limit, LARGEST_ID - 1)  # and one more is looked for
    listed = context.store.read(_list_tasks, context, after, limit + 1)
    return apply(listed, lambda items: _page(items, limit, "after"))


def _list_tasks(
    db: Connection, context: Context, after: int, limit: int
) -> list[views.Json]:
    listed = tasks.following(db, after, limit)
    return [_shown_task(db, context, task) for task in listed]


def _shown_task(db: Connection, context: Context, task: Task) -> views.Json:
    last = runs.last(db, task.id)
    run = context.awaiting(db, last) if last else None
    return views.task(task, run, context.attempts)


def show_task(context: Context, params: Params) -> Data:
    """Show the task with this id, key or name."""
    by = take.which_task(params, ("id", "key", "name"))
    return context.store.read(_show_task, by, context)


def _show_task(
    db: Connection, by: Mapping[str, object], context: Context
) -> views.Json:
    return _shown_task(db, context, tasks.find(db, by))


def create_task(context: Context, params: Params) -> Data:
    """Add a task."""
    empty = tasks.Draft(name="", source="", target="", cache="")
    draft = take.read_draft(context, empty, params)
    added = context.store.write(tasks.add, draft, context.now(), shard=context.shard)
    return apply(added, lambda task: views.task(task, None, context.attempts))


def update_task(context: Context, params: Params) -> Data:
    """Change what is given of the task with this id or key (or, alone, name)."""
    by = take.which_task(params, ("id", "key", "task_id", "task_key", "name"))
    changes = {k: v for k, v in params.items() if k in take.TASK_KEYS and k not in by}
    updated = context.store.write(_update, by, context, changes)
    return apply(apply(updated, partial(_tell_ended, context)), partial(woken, context))


def _update(
    db: Connection, by: Mapping[str, object], context: Context, changes: Params
) -> tuple[views.Json, list[Run]]:
    task = tasks.find(db, by)
    draft = take.read_draft(context, take.as_draft(task), changes)
    queued = runs.history(db, task.id, RunStatus.QUEUED, 1)
    changed = tasks.change(db, task.id, draft, context.now())
    return _shown_task(db, context, changed), _ended(db, queued)


def _ended(db: Connection, before: list[Run]) -> list[Run]:
    """Return those of these runs that have ended by now."""
    now = (runs.get(db, run.id) for run in before)
    return [run for run in now if run.status in FINAL]


def _tell_ended(context: Context, changed: tuple[T, list[Run]]) -> T:
    """Count the runs that a change has ended, and wake who waits for them."""
    shown, ended = changed
    context.tell_ended(ended)
    return shown


def delete_task(context: Context, params: Params) -> Data:
    """Remove a task; what it is doing is stopped, its history stays."""
    by = take.which_task(params, (*take.WHICH, "name"))
    removed = context.store.write(_delete, by, context)
    ended = apply(removed, partial(_tell_ended, context))
    return apply(ended, partial(_stop_removed, context))


def _delete(
    db: Connection, by: Mapping[str, object], context: Context
) -> tuple[tuple[views.Json, list[Run]], list[Run]]:
    task = tasks.find(db, by)
    shown = _shown_task(db, context, task)
    queued = runs.history(db, task.id, RunStatus.QUEUED, 1)
    tasks.remove(db, task.id, context.now())
    under_way = runs.history(db, task.id, RunStatus.RUNNING, 1)
    return (shown, under_way), _ended(db, queued)


def _stop_removed(
    context: Context, removed: tuple[views.Json, list[Run]]
) -> views.Json:
    shown, under_way = removed
    for run in under_way:
        context.running.stop(run.id, "cancelled")
    return shown


def run_task(context: Context, params: Params) -> Data:
    """Queue a run of a task; `confirmed` names deletions that no guard is to hold.

    They are those that `task/plan` shows as `held`; true is all that it would show now.
    They count for one attempt, and a guard holds anything more. A task that is not as
    it was at `updated_at`, or when that was found out, is a Conflict.
    """
    by = take.which_task(params, ("task_id", "task_key"))
    confirmed = take.read_deletions(params, "confirmed")
    seen = take.read_text(params, "updated_at") if "updated_at" in params else None
    if confirmed is not True:
        held = confirmed if isinstance(confirmed, dict) else None
        return _queued(context, by, seen, held)
    return then(
        context.store.read(_planned, by),
        lambda job: then(
            _looked(context, job),
            lambda found: _queued(
                context, by, seen or rfc3339(job.task.updated_at), found[0].held
            ),
        ),
    )


def _queued(
    context: Context,
    by: Mapping[str, object],
    seen: str | None,
    confirmed: Mapping[str, str] | None,
) -> Data:
    new_run = runs.NewRun("manual", confirmed=confirmed, urgent=True)
    ordered = context.store.write(_order, by, seen, new_run, context)
    return apply(ordered, partial(_shown_run, context))


def _order(
    db: Connection,
    by: Mapping[str, object],
    seen: str | None,
    new_run: runs.NewRun,
    context: Context,
) -> Run:
    task = tasks.find(db, by)
    if seen not in (None, rfc3339(task.updated_at)):
        raise Conflict(
            f"task {task.name} was changed meanwhile: look at its plan again"
        )
    return context.awaiting(db, runs.request(db, task.id, new_run, context.now()))


def plan_task(context: Context, params: Params) -> Data:
    """Say what a run would do to each ref, and do nothing."""
    by = take.which_task(params, ("task_id", "task_key"))
    return apply(_outcome(context, by), lambda found: views.plan(*found))


def _outcome(
    context: Context, by: Mapping[str, object]
) -> Future[tuple[SyncResult, str]]:
    return then(context.store.read(_planned, by), partial(_looked, context))


def _looked(context: Context, job: SyncJob) -> Future[tuple[SyncResult, str]]:
    until = context.monotonic() + LONGEST_PLAN
    return context.plans.do(partial(_plan, context, job, until))


def _planned(db: Connection, by: Mapping[str, object]) -> SyncJob:
    task = tasks.find(db, by)
    if task.most is not None:
        raise Conflict(f"task {task.name} is a pattern, which never runs")
    return SyncJob(task, runs.tips(db, task.id), by_hand=True)


def _plan(context: Context, job: SyncJob, until: float) -> tuple[SyncResult, str]:
    log = RunLog()
    own = job.task.timeout or context.timeout
    left = max(min(own, until - context.monotonic()), 1.0)
    limited = job._replace(task=replace(job.task, timeout=left))
    outcome = context.engine.plan(limited, log, context.ending)
    log.close()
    return outcome, log.text()


class Listed(NamedTuple):
    """One page of a list; `more` is what the next one is asked with, if there is."""

    items: list[views.Json]
    more: tuple[str, int | str] | None


def _page(items: list[views.Json], limit: int, key: str = "before") -> Listed:
    """Return a page out of what was found, with one more if there is more."""
    more = len(items) > limit
    return Listed(items[:limit], (key, items[limit - 1]["id"]) if more else None)


def history(context: Context, params: Params) -> Data:
    """List the newest runs first."""
    task_id = take.read_number(params, "task_id") if "task_id" in params else None
    wanted = take.read_page(params, context.clock())
    status = RunStatus(params["status"]) if "status" in params else None
    found = context.store.read(_history, context, task_id, status, wanted)
    return apply(found, lambda items: _page(items, wanted.limit))


def _history(
    db: Connection,
    context: Context,
    task_id: int | None,
    status: RunStatus | None,
    wanted: runs.PageRequest,
) -> list[views.Json]:
    one_more = wanted._replace(limit=wanted.limit + 1)
    listed = runs.history(db, task_id, status, one_more)
    if not listed and task_id is not None and not runs.last(db, task_id):
        tasks.get(db, task_id)  # NotFound, unless it is there and has never run
    return [views.run(context.awaiting(db, run), context.attempts) for run in listed]


def show_run(context: Context, params: Params) -> Data:
    """Show a run with its log."""
    return context.store.read(_show_run, take.read_number(params, "id"), context)


def _show_run(
    db: Connection, run_id: int, context: Context, *, details: bool = True
) -> views.Json:
    run = runs.get(db, run_id, details)
    return views.run(context.awaiting(db, run), context.attempts)


def run_output(context: Context, params: Params) -> Data:
    """Give what a run under way has said since `offset`, progress included.

    With `wait` (seconds, at most 2) the answer waits for something to be said. An
    offset is what the last answer gave, opaque to the client.
    """
    run_id = take.read_number(params, "id")
    offset = take.read_number(params, "offset", least=0) if "offset" in params else 0
    wait = take.read_number(params, "wait", least=0) if "wait" in params else 0
    logged = context.running.log(run_id)
    if logged is None:
        return _silence(context, run_id, "", offset)
    attempt, log = logged
    seen, position = divmod(offset, _ATTEMPT)
    # From the beginning of the latest attempt if the offset is an older one's.
    position = position if seen == attempt else 0

    def output(_: bool) -> Data:
        return _output(context, run_id, attempt, log.follow(position))

    return then(_more(context, run_id, log, position, min(wait, 2)), output)


def _more(
    context: Context, run_id: int, log: RunLog, position: int, wait: float
) -> Future[bool]:
    """Wait for something to be said, at most `wait` seconds; it costs no thread."""
    if not wait:
        return done(False)
    watch = context.running.watch(run_id, wait)
    call = partial(context.running.unwatch, watch)
    watch.future.add_done_callback(lambda _: log.forget(call))
    log.call(position, call)
    return watch.future


def _output(
    context: Context, run_id: int, attempt: int, said: tuple[str, int, bool]
) -> Data:
    text, position, closed = said
    offset = attempt * _ATTEMPT + position
    if not closed:
        return done({"text": text, "offset": offset, "done": False})
    return _silence(context, run_id, text, offset)


def _silence(context: Context, run_id: int, text: str, offset: int) -> Data:
    """Nobody speaks now: that is all if the run has ended, else another try follows."""
    found = context.store.read(runs.get, run_id)
    return apply(
        found, lambda run: {"text": text, "offset": offset, "done": run.status in FINAL}
    )


def retry_run(context: Context, params: Params) -> Data:
    """Queue a new run of the task of an ended run."""
    queued = context.store.write(_retry, take.read_number(params, "id"), context)
    return apply(queued, partial(_shown_run, context))


def _retry(db: Connection, run_id: int, context: Context) -> Run:
    return context.awaiting(db, runs.retry(db, run_id, context.now()))


def undo_run(context: Context, params: Params) -> Data:
    """Queue a run that puts back what a run did; their task is disabled with it."""
    which = take.read_number(params, "id"), take.read_names(params, "refs")
    found = context.store.read(undo.find, *which)
    # Not behind dry runs: who undoes something is in a hurry.
    looked = then(found, lambda w: context.looks.do(partial(_check_kept, context, w)))
    ordered = then(looked, lambda _: context.store.write(_undo, context, *which))
    noted = apply(ordered, partial(_tell_ended, context))
    return apply(noted, partial(_shown_run, context))


def _undo(
    db: Connection, context: Context, run_id: int, names: list[str] | None
) -> tuple[Run, list[Run]]:
    queued = runs.history(db, runs.get(db, run_id).task_id, RunStatus.QUEUED, 1)
    return undo.order(db, run_id, names, context.now()), _ended(db, queued)


def _check_kept(context: Context, asked: undo.UndoRequest) -> None:
    """Raise Conflict where the cache no longer has what is to be put back."""
    task = replace(asked.task, timeout=LONGEST_LOOK)
    job = SyncJob(task, undo=asked.undo)
    looked = context.engine.dropped(job, RunLog(), context.ending)
    if looked.status is not RunStatus.SUCCESS:
        raise Conflict(f"run {asked.run.id} cannot be undone: {looked.error_message}")
    for ref, oid in (looked.held or {}).items():
        lost = _lost_tip(context, asked.run, oid)
        raise Conflict(f"run {asked.run.id} cannot be undone: {ref}: {lost}")


def _lost_tip(context: Context, run: Run, oid: str) -> str:
    until = (run.end_time or 0) + int(context.backups * 1000)
    kept = "was kept until" if until <= context.now() else "is lost; kept until"
    date = rfc3339(until)[:16].replace("T", " ")
    return f"the old tip {oid[:10]} {kept} {date} UTC (retention.backups)"


def cancel_run(context: Context, params: Params) -> Data:
    """Cancel a run; one under way is stopped, and shown when it has ended."""
    cancelled = context.store.write(
        runs.cancel, take.read_number(params, "id"), context.now()
    )
    return then(cancelled, lambda run: _stop(context, run))


def _stop(context: Context, run: Run) -> Data:
    watch = context.running.watch(run.id, 30.0)
    if run.status in FINAL:
        context.tell_ended([run])
    else:
        context.running.stop(run.id, "cancelled")
    return then(
        watch.future,
        lambda _: context.store.read(_show_run, run.id, context, details=False),
    )


def delete_run(context: Context, params: Params) -> Data:
    """Delete an ended run from the history."""
    deleted = context.store.write(runs.delete, take.read_number(params, "id"))
    return apply(deleted, lambda run: views.run(run, context.attempts))


def list_deliveries(context: Context, params: Params) -> Data:
    """List the newest deliveries first."""
    hook = take.read_text(params, "hook") if "hook" in params else None
    status = take.read_number(params, "status", 100) if "status" in params else None
    wanted = take.read_page(params, context.clock())
    # The refused ones are written without anybody waiting: let them in first.
    context.refusals.flush(now=True)
    written = context.store.write(maintenance.ping)
    which = hook, status, wanted
    found = then(written, lambda _: context.store.read(_deliveries, context, *which))
    return apply(found, lambda items: _page(items, wanted.limit))


def _deliveries(
    db: Connection,
    context: Context,
    hook: str | None,
    status: int | None,
    wanted: runs.PageRequest,
) -> list[views.Json]:
    limit, before, since = wanted
    listed = deliveries.latest(
        db, hook, limit + 1, status=status, before=before, since=since
    )
    _check_hook(db, context, hook)
    return [views.delivery(each) for each in listed]


def _check_hook(db: Connection, context: Context, hook: str | None) -> None:
    known = hook in (None, *context.hooks) or (hook and deliveries.is_known(db, hook))
    if not known:
        names = ", ".join(sorted(context.hooks))
        raise NotFound(f"no hook {hook!r}: there are {names}")


def show_delivery(context: Context, params: Params) -> Data:
    """Show a delivery."""
    number = take.read_number(params, "id")
    context.refusals.flush(now=True)
    written = context.store.write(maintenance.ping)
    found = then(written, lambda _: context.store.read(deliveries.get, number))
    return apply(found, views.delivery)


def show_content(context: Context, params: Params) -> Data:
    """Show what is kept of a delivery's headers and body."""
    found = context.store.read(deliveries.content, take.read_number(params, "id"))
    return apply(found, views.delivery_content)


def list_notices(context: Context, params: Params) -> Data:
    """List the newest notices first."""
    target = take.read_text(params, "target") if "target" in params else None
    before = take.read_text(params, "before") if "before" in params else None
    status = take.read_text(params, "status") if "status" in params else None
    which, limit = notices.Which(target, status, before), take.read_limit(params)
    found = context.store.read(_notices, context, which, limit)
    return apply(found, lambda items: _page(items, limit))


def _notices(
    db: Connection, context: Context, which: notices.Which, limit: int
) -> list[views.Json]:
    listed = notices.latest(db, which, limit + 1)
    if not listed and which.target not in (None, *context.targets):
        names = ", ".join(sorted(context.targets)) or "none is configured"
        raise NotFound(f"no target {which.target!r} of notices: there are {names}")
    return [views.notice(each) for each in listed]


def resend_notice(context: Context, params: Params) -> Data:
    """Have a notice sent again, with the same id."""
    key = take.read_text(params, "id")
    sent = context.store.write(notices.resend, key, context.targets, context.now())
    return apply(sent, views.notice)


def test_notice(context: Context, params: Params) -> Data:
    """Send a target a message now, and say what it answered."""
    tested = context.test_notice(take.read_text(params, "target"))
    return apply(tested, lambda each: {"sent": each.sent, "answer": each.said})


def backup(context: Context, params: Params) -> Data:
    """Write a consistent copy of the store to a path of this machine."""
    path = take.read_text(params, "path")
    copied = context.copies.do(partial(context.store.backup, Path(path)))
    return apply(copied, lambda _: {"path": path})


def status(context: Context, params: Params) -> Data:
    """Say how the daemon fares and what needs hands; also while the store does not."""
    context.refusals.flush(now=True)
    return then(context.condition(), partial(_with_overview, context))


def _with_overview(context: Context, condition: DaemonState) -> Data:
    looked = apply(context.store.read(overview), partial(_of_targets, context))
    return recover(
        apply(looked, lambda queue: views.status(condition, queue, context.attempts)),
        partial(_without_store, context, condition),
    )


def _without_store(
    context: Context, condition: DaemonState, error: BaseException
) -> views.Json:
    if not isinstance(error, StoreError):
        raise error
    return views.status(condition, None, context.attempts, str(error))


def _of_targets(context: Context, queue: Overview) -> Overview:
    """Leave out targets that are no longer configured: nobody is to see to them."""
    known = {name: queue.notices.get(name) for name in context.targets}
    return queue._replace(notices={n: tally for n, tally in known.items() if tally})


def check(context: Context, params: Params) -> Data:
    """Have the daemon judge what it can read, write and reach itself."""
    return then(context.condition(), partial(_with_known, context))


def _with_known(context: Context, condition: DaemonState) -> Data:
    """Inspect with what the store knows, or with why it cannot be read."""
    looked = context.store.read(_inspected, condition)
    known = recover(looked, lambda error: Inspected(condition, problem=str(error)))
    return then(known, context.inspect)


def _inspected(db: Connection, condition: DaemonState) -> Inspected:
    latest = deliveries.latest_of_hooks(db)
    every = [task for task in tasks.every(db) if task.most is None]
    return Inspected(condition, every, latest, notices.tallies(db))


def reload(context: Context, params: Params) -> Data:
    """Have the configuration read again: what needs a restart; a refusal says why."""
    return apply(context.reload(), lambda keys: {"restart_for": keys})


def woken(context: Context, shown: T) -> T:
    """Wake a worker for what was queued; return what is shown of it."""
    context.running.wake()
    return shown


def _shown_run(context: Context, run: Run) -> views.Json:
    return woken(context, views.run(run, context.attempts))
