"""The tasks that patterns make: of verified deliveries, and of lists of names."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from gms_hookd.forges.base import ANY_HOST
from gms_hookd.futures import Future, apply
from gms_hookd.git import url as giturl
from gms_hookd.git.pattern import filled, part_of, plain
from gms_hookd.http.message import HttpError
from gms_hookd.model import WHOLE, Shard, Task
from gms_hookd.safetext.mask import Mask
from gms_hookd.store import Conflict, Connection, Invalid, patterns, runs, tasks
from gms_hookd.web import params as take
from gms_hookd.web import views
from gms_hookd.web.api import woken
from gms_hookd.web.matching import Match, Verdict, places
from gms_hookd.web.params import Params
from gms_hookd.workers.running import Context


class Maker(NamedTuple):
    """Makes tasks in one transaction; `mask` knows what no task may hold."""

    db: Connection
    now: int
    mask: Mask
    shard: Shard = WHOLE

    def make(self, pattern: Task, part: str) -> Task:
        """Make a pattern's task for a name; ValueError says why there is none."""
        try:
            draft = self._draft(pattern, plain(part))
            made = patterns.add_child(
                self.db, pattern, draft, self.now, shard=self.shard
            )
        except (ValueError, Conflict, Invalid) as error:
            raise ValueError(f"{pattern.name}: {error}") from None
        return made

    def _draft(self, pattern: Task, part: str) -> tasks.Draft:
        texts = (pattern.name, pattern.source, pattern.target)
        name, source, target = (filled(text, part) for text in texts)
        if any(map(self.mask.holds, (name, source, target))):
            raise ValueError("its name holds a secret of the configuration")
        return take.as_draft(pattern)._replace(
            name=tasks.checked_name(name),
            source=source,
            target=target,
            cache=giturl.cache_key(source),
            most=None,
        )


def made_of(verdict: Verdict, maker: Maker) -> Verdict:
    """Return a verdict with the tasks made that it asks for, and why others are not."""
    found, reasons = list(verdict.matches), list(verdict.reasons)
    for each in verdict.covered:
        try:
            found.append(Match(maker.make(each.pattern, each.part), each.hint))
        except ValueError as error:
            reasons.append(str(error))
        else:
            reasons.append(f"made by {each.pattern.name}")
    return Verdict(tuple(found), tuple(reasons))


def expand(context: Context, params: Params) -> Future[list[views.Json]]:
    """Make a pattern's tasks from names, each with its run; say what became of each."""
    by = take.which_task(params, (*take.WHICH, "name"))
    names = take.read_list(params, "names")
    made = context.store.write(_expand, by, context, names)
    return apply(made, partial(woken, context))


def _expand(
    db: Connection, by: dict[str, object], context: Context, names: Sequence[str]
) -> list[views.Json]:
    pattern = tasks.find(db, by)
    if pattern.most is None:
        raise HttpError(409, f"task {pattern.name} is no pattern: it has no '*'")
    if not pattern.enabled:
        raise HttpError(
            409, f"task {pattern.name} is disabled: gms-hookd task enable {pattern.id}"
        )
    maker = Maker(db, context.now(), context.mask, context.shard)
    return [_made(maker, pattern, name) for name in dict.fromkeys(names)]


def _made(maker: Maker, pattern: Task, name: str) -> views.Json:
    shown: views.Json = {
        "name": name[: take.LONGEST_TEXT],
        "result": "refused",
        "task_id": None,
    }
    try:
        part = _part(pattern, name)
        if there := tasks.of_source(maker.db, *_place(pattern, plain(part))):
            found = {"result": "unchanged", "task_id": there[0].id, "run_id": None}
            return shown | found | {"reason": f"task {there[0].name} has it already"}
        task = maker.make(pattern, part)
    except ValueError as error:
        return shown | {"run_id": None, "reason": str(error)}
    new_run = runs.NewRun("manual")
    run_id = runs.trigger(maker.db, task.id, new_run, maker.now)
    made = {"result": "created", "task_id": task.id, "run_id": run_id}
    return shown | made | {"name": task.name, "reason": None}


def _part(pattern: Task, name: str) -> str:
    """Return what a line of a list stands for: a name, a path on a host, or a URL."""
    name = name.removesuffix(".git")
    if "/" not in name:
        return name
    address = name if ":" in name or name.startswith("/") else ANY_HOST + name
    part = part_of(pattern.source, places([address]), [address])
    if part is None:
        raise ValueError(f"{pattern.name}: {pattern.source} does not cover it")
    return part


def _place(pattern: Task, part: str) -> tuple[str, str]:
    return giturl.place(filled(pattern.source, part))
