"""The command that takes over the tasks of Git Manage Service."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gms_hookd.cli.api_client import Api, post
from gms_hookd.cli.session import SLOW, Args, Session, api_of
from gms_hookd.errors import Failure
from gms_hookd.gms.credentials import tables
from gms_hookd.gms.meaning import GmsMachine, ImportedTask, Skipped, meaning
from gms_hookd.gms.records import LARGEST, Records, read_documents, read_file
from gms_hookd.gms.remote_url import remote_url
from gms_hookd.safetext import hidden, safe, safe_lines

STDIN = "-"
FILL_IN = """\
# Fill these in and add them to the configuration, then `gms-hookd reload`: GMS keeps
# what it signs in with encrypted. A file is 0640 root:gms-hookd, or 0600 of its user.
"""


class _Result(NamedTuple):
    """What became of one task of GMS, `entry` as the API answers."""

    found: ImportedTask | Skipped
    entry: Mapping[str, Any]

    @property
    def what(self) -> str:
        """Return `created`, `unchanged` or `skipped`."""
        return str(self.entry["result"])


def import_gms(session: Session, args: Args) -> int:
    """Take over the tasks; one line each. 1 if one was skipped."""
    # Before anything else: what root may read, the service's user may not.
    records = _read(args.files)
    with api_of(session) as api:
        machine = _machine(session.environ)
        found = [meaning(task, records, machine) for task in records.tasks]
        results = list(_results(found, _imported(api, found, args.dry_run)))
    for line in _lines(results, dry=args.dry_run):
        session.say(safe(hidden(line)))
    _say_credentials(session, results)
    skipped = sum(result.what == "skipped" for result in results)
    if skipped:
        count = "1 task was" if skipped == 1 else f"{skipped} tasks were"
        raise Failure(f"{count} skipped: the lines above say why")
    return 0


def _read(names: Sequence[str]) -> Records:
    parts = [_read_one(name) for name in names]
    return Records(
        tuple(task for part in parts for task in part.tasks),
        tuple(repo for part in parts for repo in part.repositories),
    )


def _read_one(name: str) -> Records:
    if name == STDIN:
        return read_documents(sys.stdin.buffer.read(LARGEST))
    return read_file(Path(name))


def _machine(environ: Mapping[str, str]) -> GmsMachine:
    """Return what tells of this machine; tasks share remotes, each is asked once."""

    @cache
    def url(path: str, name: str) -> str:
        return remote_url(Path(path), name, environ)

    return GmsMachine(lambda path: os.path.isabs(path) and os.path.isdir(path), url)


def _imported(
    api: Api, found: Iterable[ImportedTask | Skipped], dry: bool
) -> Iterator[Mapping[str, Any]]:
    wanted = [each.fields for each in found if isinstance(each, ImportedTask)]
    body = {"tasks": wanted, "dry_run": dry}
    return iter(post(api, "task/import", body, SLOW) if wanted else ())


def _results(
    found: Iterable[ImportedTask | Skipped], entries: Iterator[Mapping[str, Any]]
) -> Iterator[_Result]:
    for each in found:
        if isinstance(each, ImportedTask):
            yield _Result(each, next(entries))
        else:
            yield _Result(each, {"result": "skipped", "reason": each.reason})


def _lines(results: Sequence[_Result], *, dry: bool) -> Iterator[str]:
    yield from (_line(result, dry=dry) for result in results)
    pairs = [r for r in results if r.entry.get("id") not in (None, r.found.task.id)]
    if pairs:
        yield "ids that are others here (GMS -> here):"
        yield from (f"{r.found.task.id or '-'} -> {r.entry['id']}" for r in pairs)
    count = Counter(result.what for result in results)
    said = "would be imported" if dry else "imported"
    yield (
        f"{count['created']} {said}, {count['unchanged']} here already,"
        f" {count['skipped']} skipped"
    )


def _line(result: _Result, *, dry: bool) -> str:
    found, entry = result.found, result.entry
    begin = f"task {found.task.id or '-'}:"
    if result.what == "skipped" or isinstance(found, Skipped):
        return f"{begin} skipped: {entry['reason']}"
    number = entry["id"] or "a new id"
    if result.what == "unchanged":
        return f"{begin} is here already: {number} {entry['name']}"
    said = "would be imported as" if dry else "imported as"
    return f"{begin} {said} {number} {entry['name']}: {_described(found)}"


def _described(found: ImportedTask) -> str:
    fields = found.fields
    parts = (
        f"{fields['source']} -> {fields['target']} {' '.join(fields['refspecs'])}",
        "prune" if fields["prune"] else "",
        f"cron {fields['cron']}" if fields["cron"] else "",
        "" if fields["enabled"] else "disabled",
        *found.notes,
    )
    return "; ".join(filter(None, parts))


def _say_credentials(session: Session, results: Iterable[_Result]) -> None:
    taken = [r.found for r in results if r.what != "skipped"]
    logins = [each for f in taken if isinstance(f, ImportedTask) for each in f.logins]
    if found := tables(logins):
        text = "\n\n".join(map(safe_lines, found))
        session.say(f"\n{FILL_IN}\n{text}")
