"""What a call is asked with: each reader takes the parameters and the name of one."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gms_hookd.cron import parse
from gms_hookd.git import refspec
from gms_hookd.git import url as giturl
from gms_hookd.git.ownership import untrusted
from gms_hookd.git.pattern import check, filled, is_pattern
from gms_hookd.http.message import HttpError
from gms_hookd.model import LARGEST_ID, Task
from gms_hookd.store import runs, tasks
from gms_hookd.units import duration, moment
from gms_hookd.web import views
from gms_hookd.workers.running import Context

Params = Mapping[str, Any]
_OID = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")
LIMIT = 50
LARGEST_LIMIT = 1000
LONGEST_TIMEOUT = 7 * 24 * 3600.0
LONGEST_TEXT = 4096
MOST_OPTIONS = 20
MOST_NAMES = 1000
MOST_CHILDREN, LARGEST_MOST = 1000, 10_000
_DRAFT = frozenset({"name", "source", "target", "force", "prune", "enabled", "timeout"})
_BRANCHES = frozenset({"source_branch", "target_branch"})
TASK_KEYS = _DRAFT | _BRANCHES | {"refspecs", "push_options", "cron", "max", "create"}
_PUSH_OPTIONS = frozenset({"--force", "--prune", "--no-verify"})
WHICH = {"id": "id", "key": "key", "task_id": "id", "task_key": "key"}


def as_draft(task: Task) -> tasks.Draft:
    """Return the draft that would make this task again."""
    own = {key: getattr(task, key) for key in tasks.Draft._fields if key != "cache"}
    return tasks.Draft(cache=giturl.cache_key(task.source), **own)


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Raise HttpError 400 for a ValueError, its text behind the parameter's name."""
    try:
        yield
    except ValueError as error:
        raise HttpError(400, f"{key}: {error}" if key else str(error)) from None


@dataclass(frozen=True, slots=True)
class PushOptions:
    """GMS's `push_options`, as far as they mean something to a sync."""

    force: bool = False
    prune: bool = False
    passed: tuple[str, ...] = ()


def read_draft(context: Context, before: tasks.Draft, params: Params) -> tasks.Draft:
    """Give `before` with what is given changed, all of it checked."""
    options = read_push_options(params, "push_options")
    draft = before._replace(
        name=_name(read_text(params, "name", before.name)),
        source=_url(context, params, "source", before.source),
        target=_url(context, params, "target", before.target),
        refspecs=_refspecs(params, before.refspecs),
        force=read_boolean(params, "force", before.force or options.force),
        prune=read_boolean(params, "prune", before.prune or options.prune),
        enabled=read_boolean(params, "enabled", before.enabled),
        timeout=read_timeout(params, "timeout", before.timeout),
        push_options=options.passed
        if "push_options" in params
        else before.push_options,
        cron=read_cron(params, "cron", before.cron),
        create=read_boolean(params, "create", before.create),
    )
    draft = draft._replace(most=_most(params, before, draft))
    _refuse_ends(draft)
    _refuse_secrets(context, draft)
    return draft._replace(cache=giturl.cache_key(draft.source))


def _name(text: str) -> str:
    tasks.checked_name(filled(text, "x"))
    return text


def _refuse_ends(draft: tasks.Draft) -> None:
    if giturl.cache_key(draft.source) == giturl.cache_key(draft.target):
        raise HttpError(400, "target: is the source itself")
    if draft.create and not draft.target.startswith(("/", "file:")):
        raise HttpError(400, "create: only a target on this machine is made")


def _most(params: Params, before: tasks.Draft, draft: tasks.Draft) -> int | None:
    """Return how many tasks it may make, None for what is no pattern."""
    ends = draft.name, draft.source, draft.target
    pattern = is_pattern(*ends)
    if before.name and pattern is not (before.most is not None):
        raise HttpError(400, "name: no task becomes a pattern, and no pattern a task")
    if not pattern:
        if "max" in params:
            raise HttpError(400, "max: only a pattern has it, a task with a '*'")
        return None
    with _naming(""):
        check(*ends)
    return _most_children(params, before.most)


def _most_children(params: Params, before: int | None) -> int:
    given = read_number(params, "max") if "max" in params else before
    if given is not None and given > LARGEST_MOST:
        raise HttpError(400, f"max: at most {LARGEST_MOST} is possible")
    return given or MOST_CHILDREN


def _refuse_secrets(context: Context, draft: tasks.Draft) -> None:
    """Refuse what would bring a configured secret into the database and to git."""
    for key in ("name", "source", "target", "refspecs", "push_options"):
        value = getattr(draft, key)
        texts = (value,) if isinstance(value, str) else value
        if any(map(context.mask.holds, texts)):
            raise HttpError(400, f"{key}: holds a secret of the configuration")


def _url(context: Context, params: Params, key: str, before: str) -> str:
    text = read_text(params, key, before)
    with _naming(key):
        url = giturl.parse(filled(text, "x"), context.protocols)
    # What a task has already may have changed its owner: its next run says so.
    given = key in params and url.local
    if given and (why := untrusted(url.path, context.trust_owners)):
        raise HttpError(400, f"{key}: {why}")
    return text


def _refspecs(params: Params, before: tuple[str, ...]) -> tuple[str, ...]:
    branch = _branch(params, before)
    kept = list(before) if branch is None else []
    given = read_strings(params, "refspecs") if "refspecs" in params else kept
    if branch is not None and given:
        raise HttpError(400, "refspecs: not together with source_branch")
    with _naming("refspecs"):
        specs = (refspec.branch(branch),) if branch else tuple(given)
        refspec.select(specs, force=False)
    return specs


def _branch(params: Params, before: tuple[str, ...]) -> str | None:
    """Complete what is given of the two names by what the task has."""
    source = read_text(params, "source_branch", "")
    target = read_text(params, "target_branch", "")
    if not source and not target:
        return None
    old_source, old_target = views.one_branch(before)
    if not source and not old_source:
        raise HttpError(400, "target_branch: source_branch is missing")
    # What had one name on both sides keeps one; what was renamed keeps its target.
    kept = old_target if old_target != old_source else source
    return f"{source or old_source}:{target or kept or source}"


def _words(params: Params, key: str) -> tuple[str, ...]:
    given = params.get(key)
    if given is None or isinstance(given, str):
        given = (given or "").split()
    return tuple(read_strings({key: given}, key))


def read_push_options(params: Params, key: str) -> PushOptions:
    """Return GMS's `push_options`: words of a text, or a list of them."""
    words = _words(params, key)
    prefix = views.PUSH_OPTION
    passed = tuple(w.removeprefix(prefix) for w in words if w.startswith(prefix))
    if len(passed) > MOST_OPTIONS or not all(map(_is_line, passed)):
        raise HttpError(400, f"{key}: at most 20 lines of text are passed on")
    own = (word for word in words if not word.startswith(prefix))
    odd = next((word for word in own if word not in _PUSH_OPTIONS), None)
    if odd is not None:
        raise HttpError(400, f"{key}: {odd[:100]!r} is not possible here")
    return PushOptions("--force" in words, "--prune" in words, passed)


def _is_line(text: str) -> bool:
    return 0 < len(text) <= LONGEST_TEXT and text.isprintable()


def read_timeout(params: Params, key: str, before: float | None = None) -> float | None:
    """Return seconds, None for no limit of its own; a text has units as in 10m."""
    given = params.get(key, before)
    if isinstance(given, str):
        with _naming(key):
            given = duration(given)
    if given is None:
        return None
    if type(given) not in {int, float} or not 0 < given <= LONGEST_TIMEOUT:
        raise HttpError(400, f"{key}: seconds are needed, more than 0, at most a week")
    return float(given)


def read_cron(params: Params, key: str, before: str = "") -> str:
    """Return the schedule; null and "" mean none."""
    if key not in params:
        return before  # also where the machine knows its zone no more
    if params[key] in (None, ""):
        return ""
    text = read_text(params, key)
    with _naming(key):
        parse(text)
    return text


def only(params: Params, known: Container[str]) -> None:
    """Raise HttpError 400 for a parameter that is not known."""
    for key in params:
        if key not in known:
            raise HttpError(400, f"{key[:100]}: unknown parameter")


def which_task(params: Params, keys: tuple[str, ...]) -> dict[str, object]:
    """Find out which of the keys names the task: the first that is given."""
    for key in keys:
        if key in params:
            column = WHICH.get(key, key)
            number = column == "id"
            return {
                column: read_number(params, key) if number else read_text(params, key)
            }
    raise HttpError(400, f"{keys[0]}: is missing")


def read_number(params: Params, key: str, least: int = 1) -> int:
    """Return a whole number of at least `least`."""
    given = params.get(key)
    if type(given) is not int or not least <= given <= LARGEST_ID:
        kind = "a positive integer" if least else "an integer from 0"
        raise HttpError(400, f"{key}: {kind} is needed")
    return given


def as_number(text: str) -> int | str:
    """Return the number that a text of digits is, as it stands in a query."""
    return int(text[:20]) if text.isascii() and text.isdecimal() else text


def read_text(params: Params, key: str, default: str | None = None) -> str:
    """Return one line of text."""
    given = params.get(key, default)
    if not isinstance(given, str):
        raise HttpError(400, f"{key}: a string is needed")
    if given and not _is_line(given):
        raise HttpError(400, f"{key}: printable text is needed, at most 4096 long")
    return given


def read_names(params: Params, key: str) -> list[str] | None:
    """Return a list of names, None where it is not given."""
    given = params.get(key)
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise HttpError(400, f"{key}: a list of strings is needed")
    return [read_text({key: name}, key) for name in names]


def read_strings(params: Params, key: str) -> list[str]:
    """Return a list of strings."""
    given = params.get(key)
    if not isinstance(given, list) or not all(isinstance(s, str) for s in given):
        raise HttpError(400, f"{key}: a list of strings is needed")
    return given


def read_list(params: Params, key: str) -> list[str]:
    """Return a list of some strings, a thousand at most, whatever they hold."""
    given = params.get(key)
    if isinstance(given, list) and 0 < len(given) <= MOST_NAMES:
        return read_strings(params, key)
    raise HttpError(400, f"{key}: a list of 1 to {MOST_NAMES} strings is needed")


def read_objects(params: Params, key: str) -> list[Params]:
    """Return a list of objects."""
    given = params.get(key)
    if not isinstance(given, list) or not all(isinstance(t, dict) for t in given):
        raise HttpError(400, f"{key}: a list of objects is needed")
    return given


def read_deletions(params: Params, key: str) -> bool | dict[str, str]:
    """Return refs with the ids that may be deleted, or true or false."""
    given = params.get(key, False)
    if not isinstance(given, dict):
        return read_boolean(params, key, False)
    named = {r: oid for r, oid in given.items() if isinstance(oid, str)}
    if len(named) < len(given) or not all(map(_OID.fullmatch, named.values())):
        raise HttpError(400, f"{key}: an object of refs and their ids is needed")
    return named


def read_boolean(params: Params, key: str, default: bool) -> bool:
    """Return true or false."""
    given = params.get(key, default)
    if not isinstance(given, bool):
        raise HttpError(400, f"{key}: true or false is needed")
    return given


def read_word(params: Params, key: str, words: Iterable[str]) -> str:
    """Return one of these words."""
    known = tuple(words)
    given = read_text(params, key)
    if given not in known:
        raise HttpError(400, f"{key}: one of {', '.join(known)} is needed")
    return given


def read_since(params: Params, key: str, now: float = 0.0) -> int:
    """Return the time (ms) that is meant at `now`, which is Unix time."""
    with _naming(key):
        return moment(read_text(params, key), now)


def read_page(params: Params, now: float) -> runs.PageRequest:
    """Return which part of a list is asked for; `now` is Unix time."""
    since = read_since(params, "since", now) if "since" in params else 0
    before = read_number(params, "before") if "before" in params else LARGEST_ID
    return runs.PageRequest(read_limit(params), before, since)


def read_limit(params: Params) -> int:
    """Return how many entries a list may have."""
    if "limit" not in params:
        return LIMIT
    return min(read_number(params, "limit"), LARGEST_LIMIT)
