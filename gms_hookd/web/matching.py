"""Which tasks a delivery concerns, and why not the others; where tasks are is asked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gms_hookd.forges.base import ANY_HOST, Change, Event
from gms_hookd.git.host_alias import Aliases, gerrit
from gms_hookd.git.pattern import part_of
from gms_hookd.git.refspec import Selection, select
from gms_hookd.model import Task

RepositoryPlace = tuple[str | None, str]
NO_ALIASES = Aliases()


@dataclass(frozen=True, slots=True)
class Directory:
    """Where tasks are found: by source, or by id or name.

    A source is asked for by its host (None: any) and path. `own` are the ids or names
    to which the hook is limited, None if it is not; a pattern stands for all it makes.
    `aliases`: hosts with other names; `nested`: the forge has groups in groups, among
    which `a/` is one like another.
    """

    at: Callable[[str | None, str], Iterable[Task]]
    named: Callable[[int | str], Iterable[Task]]
    own: tuple[int | str, ...] | None = None
    aliases: Aliases = NO_ALIASES
    nested: bool = False
    patterns: Callable[[], Iterable[Task]] = tuple

    def of(self, urls: Iterable[str]) -> list[Task]:
        """Return the tasks with one of these sources, each once."""
        found = places(urls, self.aliases)
        if not self.nested:
            found = tuple(dict.fromkeys(each for one in found for each in _others(one)))
        return _each(task for place in found for task in self.at(*place))


@dataclass(frozen=True, slots=True)
class Match:
    """A task to run, and the one object id that the delivery names for it."""

    task: Task
    hint: str | None


@dataclass(frozen=True, slots=True)
class Covered:
    """A repository that no task has and a pattern covers: what its star stands for."""

    pattern: Task
    part: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a delivery, and the words for what does not."""

    matches: tuple[Match, ...] = ()
    reasons: tuple[str, ...] = ()
    covered: tuple[Covered, ...] = ()


def judge(event: Event, directory: Directory) -> Verdict:
    """Tell which tasks the event concerns."""
    if event.ignored:
        return Verdict(reasons=(event.ignored, *_left_behind(event, directory)))
    found, nothing = _candidates(event, directory)
    if not found:
        return _by_patterns(event, directory) or Verdict(reasons=(nothing,))
    judged = [(task, _against(task, event)) for task in found]
    reasons = [f"{task.name}: {why}" for task, why in judged if why]
    matches = [Match(t, _hint(t, event)) for t, why in judged if not why]
    return Verdict(tuple(matches), tuple(reasons))


def _by_patterns(event: Event, directory: Directory) -> Verdict | None:
    """Tell which patterns cover a repository that no task has; None where none does."""
    if event.tasks or not event.urls:
        return None
    patterns = _within(list(directory.patterns()), _own(directory))
    found = places(event.urls, directory.aliases) if patterns else ()
    parts = ((p, part_of(p.source, found, event.urls)) for p in patterns)
    covering = [(pattern, part) for pattern, part in parts if part is not None]
    if not covering or directory.of(event.urls):
        return None
    judged = [(pattern, part, _against(pattern, event)) for pattern, part in covering]
    reasons = [f"{pattern.name}: {why}" for pattern, _, why in judged if why]
    covered = [Covered(p, part, _hint(p, event)) for p, part, why in judged if not why]
    return Verdict(reasons=tuple(reasons), covered=tuple(covered))


def _own(directory: Directory) -> list[Task] | None:
    if directory.own is None:
        return None
    return _each(t for name in directory.own for t in directory.named(name))


def places(
    urls: Iterable[str], aliases: Aliases = NO_ALIASES
) -> tuple[RepositoryPlace, ...]:
    """Return host and path of each address that is one, each once."""
    return tuple(dict.fromkeys(p for url in urls for p in _places(url, aliases)))


def _places(url: str, aliases: Aliases) -> tuple[RepositoryPlace, ...]:
    if url.startswith(ANY_HOST):
        return ((None, url.removeprefix(ANY_HOST).strip("/").lower()),)
    try:
        return aliases.places(url)
    except ValueError:
        return ()


def _others(place: RepositoryPlace) -> tuple[RepositoryPlace, ...]:
    host, path = place
    return gerrit((host, path)) if host is not None else (place,)


def _candidates(event: Event, directory: Directory) -> tuple[list[Task], str]:
    """Return the tasks in question, or none and why."""
    own = _own(directory)
    among = "" if own is None else " among those of this hook"
    if event.tasks:
        names = ", ".join(map(str, event.tasks))
        found = _each(t for name in event.tasks for t in directory.named(name))
        return _within(found, own), f"no task {names}{among}"
    found = directory.of(event.urls)
    if not found and own and not any(map(_is_surely_address, event.urls)):
        return _that_run(own)
    if places(event.urls):
        why = f"no task has the source {_address_list(event.urls)}{among}"
        return _within(found, own), why
    if event.urls and not own:
        return [], "it names no repository by an address that can be read"
    return _that_run(own or [])


def _that_run(own: list[Task]) -> tuple[list[Task], str]:
    """Return the tasks of a hook without its patterns."""
    why = "it names no repository, and the hook no tasks"
    return [task for task in own if task.most is None], why


def _is_surely_address(text: str) -> bool:
    """Tell an address from a name: `org/app:1.2` looks like ssh's `host:path`."""
    named = "://" in text or "@" in text or text.startswith(ANY_HOST)
    return named and bool(_places(text, NO_ALIASES))


def _each(tasks: Iterable[Task]) -> list[Task]:
    return list({task.id: task for task in tasks}.values())


def _within(found: list[Task], own: list[Task] | None) -> list[Task]:
    ids = None if own is None else {task.id for task in own}
    if ids is None:
        return found
    return [task for task in found if not ids.isdisjoint((task.id, task.pattern_id))]


def _address_list(urls: Iterable[str]) -> str:
    known = [f"{host or '*'}/{path}" for host, path in places(urls)]
    return " or ".join(known[:3]) or "that it names"


def _against(task: Task, event: Event) -> str | None:
    """Say what speaks against running the task, if anything does."""
    if not task.enabled:
        return "disabled"
    if task.most is not None and event.tasks:
        return "a pattern, which never runs"
    if event.everything or _selected(task, event):
        return None
    refs = ", ".join(change.ref for change in event.changes[:3])
    return f"{refs} is not selected" if refs else "no ref has changed"


def _selected(task: Task, event: Event) -> list[Change]:
    selection = _selection(task)
    if selection is None:
        return list(event.changes)
    return [change for change in event.changes if _selects(selection, change.ref)]


def _selection(task: Task) -> Selection | None:
    try:
        return select(task.refspecs, force=task.force)
    except ValueError:
        return None


def _selects(selection: Selection, ref: str) -> bool:
    # The payload does not say which branch HEAD stands for: it may be any.
    if selection.takes_head and ref.startswith("refs/heads/"):
        return True
    return selection.takes(ref)


def _hint(task: Task, event: Event) -> str | None:
    """Return the commit that the task's one changed ref has, if the event says it."""
    selection = _selection(task)
    if event.everything or selection is None or selection.takes_head:
        return None
    changes = _selected(task, event)
    return changes[0].after if len(changes) == 1 else None


def _left_behind(event: Event, directory: Directory) -> list[str]:
    """Warn of the tasks whose source the repository has left."""
    if not event.warning:
        return []
    tasks = ", ".join(f"{t.name} ({t.id})" for t in directory.of(event.former))
    return [f"{event.warning}: {tasks}" if tasks else event.warning]
