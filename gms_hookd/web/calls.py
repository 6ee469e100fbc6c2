"""The one table of the API's calls: parameters with their kinds, and answers.

By it a request is checked before its call is made, and of it the document of
/api/v1/openapi.json is made: what that says is what is done.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gms_hookd.futures import Future
from gms_hookd.http.message import HttpError
from gms_hookd.web import api, expansion, kinds, task_import
from gms_hookd.web.kinds import ParameterKind
from gms_hookd.web.params import LARGEST_LIMIT, LIMIT, Params, as_number, only
from gms_hookd.workers.running import Context


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a call."""

    name: str
    kind: ParameterKind
    says: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `does` carries it out, and says first what it does.

    `which` are parameters of which one must be given; `answer` names the schema of what
    it answers with, `listed`: with many of these. `command` is the one that makes it,
    where only the control socket may.
    """

    method: str
    path: str
    does: Callable[[Context, Params], Future[Any]]
    answer: str
    parameters: tuple[Parameter, ...] = ()
    which: tuple[str, ...] = ()
    listed: bool = False
    command: str = ""

    @property
    def says(self) -> str:
        """Return what it does, in a sentence."""
        return (self.does.__doc__ or "").partition("\n")[0]

    def read(self, query: Mapping[str, str]) -> Params:
        """Return the parameters of a query, in which each is a text."""
        numbers = {
            p.name for p in self.parameters if p.kind.schema.get("type") == "integer"
        }
        return {k: as_number(v) if k in numbers else v for k, v in query.items()}

    def check(self, params: Params) -> None:
        """Raise HttpError 400 for a parameter that is unknown, missing or wrong."""
        only(params, {each.name for each in self.parameters})
        if self.which and not any(name in params for name in self.which):
            raise HttpError(400, f"{self.which[0]}: is missing")
        for each in self.parameters:
            if each.name in params:
                each.kind.check(params, each.name)
            elif each.required:
                raise HttpError(400, f"{each.name}: is missing")


_ID = Parameter("id", kinds.ID, required=True)
_TASK_ID = Parameter("task_id", kinds.ID, "the task's id")
_TASK_KEY = Parameter("task_key", kinds.TEXT, "the task's key")
_KEY = Parameter("key", kinds.TEXT, "the task's key")
_OF_TASK = "task_id", "task_key"
_WHICH = (Parameter("id", kinds.ID, "the task's id"), _KEY, _TASK_ID, _TASK_KEY)
_LIMIT = Parameter(
    "limit", kinds.ID, f"entries at most; {LIMIT} unless given, up to {LARGEST_LIMIT}"
)
_BEFORE = Parameter("before", kinds.ID, "only those with a smaller id")
_SINCE = Parameter("since", kinds.SINCE, "a time (RFC 3339), a date or an age as in 2h")
_PAGE = (_SINCE, _BEFORE, _LIMIT)
_RUN = Parameter("id", kinds.ID, "the run's id", required=True)
_CHANGES = (
    Parameter("source", kinds.TEXT, "git URL or absolute path"),
    Parameter("target", kinds.TEXT, "git URL or absolute path"),
    Parameter("refspecs", kinds.STRINGS, "git's notation; none: all branches and tags"),
    Parameter("source_branch", kinds.TEXT, "in place of refspecs: one branch"),
    Parameter("target_branch", kinds.TEXT, "its name at the target, if another"),
    Parameter("push_options", kinds.OPTIONS, "--force, --prune, --push-option=..."),
    Parameter("force", kinds.FLAG, "whether it may overwrite"),
    Parameter("prune", kinds.FLAG, "whether it may delete"),
    Parameter("enabled", kinds.FLAG, "whether triggers start it"),
    Parameter("timeout", kinds.TIMEOUT, "seconds, or as in 10m; null: sync.timeout"),
    Parameter("cron", kinds.CRON, 'a schedule as in "0 2 * * *"; null: none'),
    Parameter("max", kinds.ID, "of a pattern: how many tasks it may make"),
    Parameter("create", kinds.FLAG, "whether a target on this machine is made"),
)
_NAME = Parameter(
    "name", kinds.TEXT, "letters, digits, '.', '_', '-' and '/'; in a pattern one '*'"
)
_NEEDED = frozenset({"source", "target"})
_NEW = (
    Parameter(_NAME.name, _NAME.kind, _NAME.says, required=True),
    *(Parameter(p.name, p.kind, p.says, p.name in _NEEDED) for p in _CHANGES),
)
TABLE = (
    Call(
        "GET", "tasks", api.list_tasks, "Task",
        (
            Parameter("after", kinds.ID, "only those with a greater id"),
            Parameter("limit", kinds.ID, "tasks at most; all unless given"),
        ),
        listed=True,
    ),
    Call(
        "GET", "task", api.show_task, "Task",
        (*_WHICH[:2], _NAME), which=("id", "key", "name"),
    ),
    Call("POST", "task/create", api.create_task, "Task", _NEW),
    Call(
        "POST", "task/update", api.update_task, "Task", (*_WHICH, _NAME, *_CHANGES),
        which=("id", "key", "task_id", "task_key", "name"),
    ),
    Call(
        "POST", "task/delete", api.delete_task, "Task", (*_WHICH, _NAME),
        which=("id", "key", "task_id", "task_key", "name"),
    ),
    Call(
        "POST", "task/plan", api.plan_task, "Plan", (_TASK_ID, _TASK_KEY),
        which=_OF_TASK,
    ),
    Call(
        "POST", "task/expand", expansion.expand, "Expanded",
        (
            *_WHICH, _NAME,
            Parameter("names", kinds.LIST, "of repositories", required=True),
        ),
        which=("id", "key", "task_id", "task_key", "name"), listed=True,
    ),
    Call(
        "POST", "task/import", task_import.import_tasks, "Imported",
        (
            Parameter("tasks", kinds.OBJECTS, "with ids and keys", required=True),
            Parameter("dry_run", kinds.FLAG, "say what would be done, and do nothing"),
        ),
        command="import gms", listed=True,
    ),
    Call(
        "POST", "run", api.run_task, "Run",
        (
            _TASK_ID, _TASK_KEY,
            Parameter(
                "confirmed", kinds.CONFIRMED,
                "deletions that no guard is to hold: refs with their ids, true for all",
            ),
            Parameter(
                "updated_at", kinds.TEXT, "the task's, when its plan was shown"
            ),
        ),
        which=_OF_TASK,
    ),
    Call("GET", "run", api.show_run, "Run", (_RUN,)),
    Call(
        "GET", "run/output", api.run_output, "Output",
        (
            _RUN,
            Parameter("offset", kinds.COUNT, "what the last answer gave"),
            Parameter("wait", kinds.COUNT, "seconds to wait for more, at most 2"),
        ),
    ),
    Call("POST", "run/retry", api.retry_run, "Run", (_RUN,)),
    Call("POST", "run/cancel", api.cancel_run, "Run", (_RUN,)),
    Call(
        "POST", "run/undo", api.undo_run, "Run",
        (_RUN, Parameter("refs", kinds.NAMES, "only these; all that it changed")),
    ),
    Call(
        "GET", "history", api.history, "Run",
        (_TASK_ID, Parameter("status", kinds.RUN_STATUS), *_PAGE), listed=True,
    ),
    Call("POST", "history/delete", api.delete_run, "Run", (_RUN,)),
    Call(
        "GET", "deliveries", api.list_deliveries, "Delivery",
        (
            Parameter("hook", kinds.TEXT, "the hook's name"),
            Parameter("status", kinds.HTTP_STATUS, "what it was answered with"), *_PAGE,
        ),
        listed=True,
    ),
    Call("GET", "delivery", api.show_delivery, "Delivery", (_ID,)),
    Call("GET", "delivery/parcel", api.show_content, "Content", (_ID,)),
    Call("GET", "status", api.status, "Status"),
    Call("GET", "check", api.check, "Finding", listed=True, command="check"),
    Call(
        "GET", "notices", api.list_notices, "Notice",
        (
            Parameter("target", kinds.TEXT, "the target's name"),
            Parameter("status", kinds.NOTICE_STATUS),
            Parameter("before", kinds.TEXT, "only those before the one with this id"),
            _LIMIT,
        ),
        listed=True,
    ),
    Call(
        "POST", "notice/resend", api.resend_notice, "Notice",
        (Parameter("id", kinds.TEXT, "the notice's id", required=True),),
    ),
    Call(
        "POST", "notice/test", api.test_notice, "Sent",
        (Parameter("target", kinds.TEXT, "the target's name", required=True),),
    ),
    Call(
        "POST", "backup", api.backup, "Backup",
        (Parameter("path", kinds.TEXT, "of a file to be made", required=True),),
        command="backup FILE",
    ),
    Call("POST", "reload", api.reload, "Reloaded", command="reload"),
)  # fmt: skip
CALLS: Mapping[tuple[str, str], Call] = {(c.method, c.path): c for c in TABLE}
