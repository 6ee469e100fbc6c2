"""The page of a delivery: what came, what became of it, and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gms_hookd.model import Delivery, Task
from gms_hookd.pages import parts
from gms_hookd.pages.html import Html, joined, tag
from gms_hookd.pages.texts import Words
from gms_hookd.store.listings import RunPage

BODY = 60 * 1024  # bytes of a body that are shown
TASKS = 50
HEADER = 250  # bytes of its name, and of its value


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery, the tasks that it concerned, the runs that serve it, what is kept.

    `others` are the ids of tasks that its reason names, by their names.
    """

    delivery: Delivery
    tasks: Sequence[Task]
    runs: RunPage
    headers: Mapping[str, str] | None = None
    body: str | None = None
    others: Mapping[str, int] = field(default_factory=dict)


def reasons(delivery: Delivery) -> list[tuple[str, str]]:
    """Return what its reason says, and before it the name that it says it of, or "".

    `accepted for app; lib: refs/heads/x is not selected` are two.
    """
    pairs = [part.partition(": ") for part in delivery.reason.split("; ") if part]
    return [(name, why) if colon else ("", name) for name, colon, why in pairs]


def delivery_page(frame: parts.Frame, view: DeliveryView) -> bytes:
    """Return the page of a delivery."""
    words, delivery = frame.words, view.delivery
    title = f"{words('delivery')} {delivery.id}"
    heading = tag("h1", title, " · ", parts.to_hook(delivery.hook))
    shown = [_facts(frame, view), _became(frame, view), _kept(words, view)]
    return parts.document(frame, title, heading, *shown)


def _facts(frame: parts.Frame, view: DeliveryView) -> Html:
    words, delivery = frame.words, view.delivery
    status = joined(
        [parts.state(words, parts.delivery_outcome(delivery)), delivery.status], " "
    )
    return parts.facts(
        words,
        answer=status,
        came=parts.exact(frame, delivery.received_at),
        client=delivery.client,
        provider=delivery.provider,
        event=delivery.event,
        delivery_key=delivery.delivery_key,
    )


def _became(frame: parts.Frame, view: DeliveryView) -> Html:
    words, delivery = frame.words, view.delivery
    said = [tag("li", _reason(view, *each)) for each in reasons(delivery)]
    concerned = [parts.to_task(task.id, task.name) for task in view.tasks[:TASKS]]
    tasks = [tag("p", f"{words('tasks')}: ", joined(concerned, ", "))]
    runs: list[Html] = [tag("p", words("run_gone" if concerned else "no_task"))]
    if view.runs.rows:
        runs = [tag("h2", words("started")), parts.run_table(frame, view.runs)]
    return tag(
        "section",
        tag("h2", words("matched")),
        tag("ul", *said) if said else None,
        *(tasks if concerned else []),
        *runs,
        parts.commands(
            ("gms-hookd", "delivery", "show", delivery.id), *_remedies(delivery)
        ),
    )


def _reason(view: DeliveryView, name: str, why: str) -> Html:
    if name in view.others:
        return joined([parts.to_task(view.others[name], name), why], ": ")
    return joined([name, why], ": ")


def _remedies(delivery: Delivery) -> list[tuple[str, ...]]:
    """Return the commands that show what should have been, where nothing came of it."""
    if delivery.status == 401:
        return [("gms-hookd", "hook", "list"), ("gms-hookd", "check")]
    if delivery.status >= 400:
        return [("gms-hookd", "check")]
    return [] if delivery.run_ids else [("gms-hookd", "task", "list")]


def _kept(words: Words, view: DeliveryView) -> Html:
    absent = tag("p", words("not_kept"), class_="dim")
    headers = parts.definitions(
        (parts.cut(k, HEADER), parts.cut(v, HEADER))
        for k, v in (view.headers or {}).items()
    )
    return tag(
        "section",
        tag("h2", words("headers")),
        headers if view.headers else absent,
        tag("h2", words("body")),
        *([absent, *_remedy(words)] if view.body is None else _body(words, view.body)),
    )


def _remedy(words: Words) -> list[Html]:
    setting = tag("code", 'retention.bodies = "7d"')
    return [tag("p", words("bodies_remedy"), " ", setting, class_="dim")]


def _body(words: Words, body: str) -> list[Html | None]:
    text = indented(body)
    shown = parts.fitting(text, BODY)
    note = tag("p", words("body_cut")) if len(shown) < len(text) else None
    return [note, tag("pre", shown, tabindex=0)]


def indented(body: str) -> str:
    """Return JSON with a line for each value; what is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(body), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body
