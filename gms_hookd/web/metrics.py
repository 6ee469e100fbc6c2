"""Metrics as text: values in, the exposition format of Prometheus out.

prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4. No label holds an
address, a URL, a commit or a text of somebody else: hooks are named in the
configuration, tasks by their numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gms_hookd.store.gauges import Gauges
from gms_hookd.workers.counters import Counter, Counters, Distribution, Usage
from gms_hookd.workers.running import DaemonState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "gms_hookd_"


class Sample(NamedTuple):
    """One line: labels and value; `suffix` goes behind the family's name."""

    labels: Sequence[tuple[str, str]]
    value: float
    suffix: str = ""


class Family(NamedTuple):
    """All lines of one name; `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at one time, `at` (ms); `gauges` None: the store did not answer.

    `build` are the labels of what runs here; `busy` counts the workers with a run;
    `targets` are the configured ones.
    """

    at: int
    condition: DaemonState
    gauges: Gauges | None
    busy: int
    build: Sequence[tuple[str, str]]
    targets: frozenset[str] = frozenset()


def counters_text(counters: Counters) -> bytes:
    """Return what is counted, as text."""
    return _text(_counted(counters))


def gauges_text(reading: Reading) -> bytes:
    """Return what was read, as text; a whole answer with that of the counters."""
    families = (
        *_process(reading),
        *_queue(reading),
        *_tasks(reading.gauges),
        *_sizes(reading.condition),
        *_usage(reading.condition.usage),
    )
    return _text(families)


def _text(families: Iterable[Family]) -> bytes:
    return "".join(line for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    name = PREFIX + family.name
    yield f"# HELP {name} {_escaped(family.help)}\n"
    yield f"# TYPE {name} {family.kind}\n"
    for labels, value, suffix in family.samples:
        pairs = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels)
        braces = f"{{{pairs}}}" if pairs else ""
        yield f"{name}{suffix}{braces} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _gauge(name: str, text: str, value: float | None) -> Family:
    """Make a family of one number, of none where it is not known."""
    return Family(name, "gauge", text, [] if value is None else [Sample((), value)])


def _by(
    name: str, kind: str, text: str, label: str, values: Iterable[tuple[str, float]]
) -> Family:
    samples = [Sample([(label, key)], value) for key, value in values]
    return Family(name, kind, text, samples)


def _process(reading: Reading) -> Iterator[Family]:
    condition = reading.condition
    since = None if condition.since is None else condition.since / 1000
    build = [Sample(reading.build, 1)]
    yield Family("build_info", "gauge", "What runs here.", build)
    yield _gauge("start_time_seconds", "When serving began.", since)
    reloaded = int(not condition.refusal)
    yield _gauge("reload_success", "0: the last reload was refused.", reloaded)
    states = ("busy", reading.busy), ("idle", max(condition.workers - reading.busy, 0))
    yield _by("workers", "gauge", "Workers by what they do.", "state", states)


def _counted(found: Counters) -> Iterator[Family]:
    yield _counter("http_requests_total", "Answers.", found.requests, "route", "code")
    text = "Requests to hooks by what became of them."
    yield _counter("deliveries_total", text, found.deliveries, "hook", "result")
    text = "Runs that have ended."
    yield _counter("runs_total", text, found.runs, "status", "trigger")
    text = "How long the last attempt of a run took."
    yield _histogram("run_seconds", text, found.seconds.distribution())
    text = "Commands of git that have ended."
    yield _counter("git_commands_total", text, found.git, "command", "result")
    yield _counter("notices_total", "Notices sent.", found.notices, "target", "result")


def _counter(name: str, text: str, counter: Counter, *names: str) -> Family:
    counts = sorted(counter.counts().items())
    samples = [Sample([*zip(names, labels, strict=True)], n) for labels, n in counts]
    return Family(name, "counter", text, samples)


def _histogram(name: str, text: str, found: Distribution) -> Family:
    buckets = [
        Sample([("le", repr(bound))], count, "_bucket")
        for bound, count in zip(found.bounds, found.at_most, strict=True)
    ]
    whole = [
        Sample([("le", "+Inf")], found.every, "_bucket"),
        Sample((), found.total, "_sum"),
        Sample((), found.every, "_count"),
    ]
    return Family(name, "histogram", text, [*buckets, *whole])


def _queue(reading: Reading) -> Iterator[Family]:
    found = reading.gauges
    if found is None:
        return
    runs = ("queued", found.queued), ("running", found.running)
    yield _by("queue_runs", "gauge", "Runs that have not ended.", "status", runs)
    oldest = reading.at if found.oldest is None else found.oldest
    age = max(reading.at - oldest, 0) / 1000
    yield _gauge("queue_oldest_seconds", "Age of the oldest queued run.", age)
    waiting = {**dict.fromkeys(reading.targets, 0), **found.notices}
    text = "Notices that are not delivered yet."
    yield _by("notices_waiting", "gauge", text, "target", sorted(waiting.items()))


def _tasks(found: Gauges | None) -> Iterator[Family]:
    if found is None:
        return
    yield _by(
        "task_last_success_timestamp_seconds",
        "gauge",
        "When the last run that succeeded ended, 0: none of the last 200.",
        "task",
        [(str(task.task_id), task.last_success / 1000) for task in found.tasks],
    )
    yield _by(
        "task_failures_in_row",
        "gauge",
        "Runs that failed or met a conflict since the last success.",
        "task",
        [(str(task.task_id), task.failures) for task in found.tasks],
    )
    yield _gauge("tasks_not_shown", "Tasks beyond the first 1,000.", found.not_shown)


def _sizes(condition: DaemonState) -> Iterator[Family]:
    yield _gauge("database_bytes", "Size of the store.", condition.database)
    yield _gauge("caches_bytes", "Size of all caches.", condition.caches)
    yield _gauge("disk_free_bytes", "Free where the state is.", condition.disk_free)


def _usage(usage: Usage | None) -> Iterator[Family]:
    if usage is None:
        return
    cpu = [Sample((), usage.cpu)]
    text = "Time of processors used, without git."
    yield Family("process_cpu_seconds_total", "counter", text, cpu)
    for name, text, value in (
        ("resident_memory_bytes", "Memory in use.", usage.resident),
        ("virtual_memory_bytes", "Address space.", usage.virtual),
        ("open_fds", "Open descriptors.", usage.descriptors),
        ("max_fds", "Descriptors at most.", usage.most_descriptors),
        ("start_time_seconds", "When the process began.", usage.started),
    ):
        yield _gauge(f"process_{name}", text, value)
