"""GitLab: project, group and system hooks.

Page: docs.gitlab.com/user/project/integrations/webhook_events.
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import Scheme, StandardWebhooks, TokenHeader
from gms_hookd.forges import gitlab_family
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import ANY_HOST, Change, Event

NAME = "gitlab"
EVENTS = gitlab_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "token": TokenHeader(place="Secret token", header="x-gitlab-token"),
    "signing": StandardWebhooks(place="Signing token"),
}
sample = read.hook_sample("x-gitlab-event", read.gitlab_like)


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = read.header(headers, "x-gitlab-event")
    delivery = read.key(headers, "webhook-id", "idempotency-key", "x-gitlab-event-uuid")
    if read.words(name) != "system":
        return gitlab_family.read(Event(name, delivery), payload)
    kind = read.text(payload, "event_name") or read.text(payload, "object_kind") or name
    event = gitlab_family.located(Event(kind, delivery), payload)
    if kind in MOVES:
        return moved_project(event, headers.get("x-gitlab-instance", ""), payload)
    return SYSTEM.get(read.words(kind), read.ignored(read.NO_CHANGE))(event, payload)


def update(event: Event, payload: object) -> Event:
    """Read a repository's update: several refs in one delivery."""
    return read.several(event, read.at(payload, "changes"), _change)


def _change(value: object) -> Change | None:
    ref = read.text(value, "ref")
    if ref is None or not ref.startswith("refs/"):
        return None
    return read.moved(ref, read.at(value, "before"), read.at(value, "after"))


def moved_project(event: Event, instance: str, payload: object) -> Event:
    """Read a project's rename or transfer, which tells paths only."""
    old = read.text(payload, "old_path_with_namespace")
    new = read.text(payload, "path_with_namespace")
    if old is None or new is None:
        return replace(event, ignored=read.NO_CHANGE)
    former = f"{instance}/{old}" if "://" in instance else f"{ANY_HOST}{old}"
    return read.left(event, old, new, [former])


MOVES = frozenset({"project_rename", "project_transfer"})
SYSTEM: Mapping[str, read.Reader] = {
    **gitlab_family.READERS,
    "repository update": update,
}
