"""The page of a hook: what to enter at the forge, and what came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from gms_hookd.contract import HOOKS
from gms_hookd.pages import parts
from gms_hookd.pages.html import Html, tag
from gms_hookd.pages.texts import Words
from gms_hookd.store.listings import OUTCOMES, DeliveryPage

# As metrics count them, each with its sentence.
_COUNTS = {
    "queued": "queued_count",
    "joined": "joined",
    "repeated": "repeated",
    "nothing": "nothing_count",
    "filtered": "filtered",
    "refused": "refused_count",
}


@dataclass(frozen=True, slots=True)
class HookFacts:
    """What is to be known of a configured hook; `url` is None without a public one.

    `place` says where its secret goes, `tasks` to which tasks it is limited.
    """

    name: str
    provider: str
    url: str | None = None
    place: str = ""
    events: str = ""
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HookView:
    """A hook, None where it is not configured now, and a page of its deliveries."""

    name: str
    facts: HookFacts | None
    counts: Mapping[str, int]
    deliveries: DeliveryPage
    query: Mapping[str, str] = field(default_factory=dict)


def hook_page(frame: parts.Frame, view: HookView) -> bytes:
    """Return the page of a hook."""
    words, path = frame.words, _path(view.name)
    title = f"{words('hook')} {view.name}"
    paging = parts.pager(frame, path, view.query, "before", view.deliveries.older)
    section = tag(
        "section",
        tag("h2", words("deliveries")),
        parts.choices(frame, path, view.query, "outcome", OUTCOMES),
        parts.delivery_table(frame, view.deliveries, named=False),
        paging,
    )
    return parts.document(frame, title, tag("h1", title), _facts(words, view), section)


def _path(name: str) -> str:
    return f"{parts.TOP}/hook/{quote(name, safe='')}"


def _facts(words: Words, view: HookView) -> Html:
    known = view.facts
    if known is None:
        return tag("p", words("not_configured"))
    return tag(
        "section",
        parts.definitions(
            [
                (words("provider"), known.provider),
                (words("url"), known.url or f"?{HOOKS}{known.name}"),
                ("", None if known.url else words("no_url")),
                (words("secret_place"), known.place),
                (words("events"), known.events),
                (words("hook_tasks"), ", ".join(known.tasks or ())),
                (words("counted"), _counts(words, view.counts)),
            ]
        ),
        parts.commands(
            ("gms-hookd", "hook", "test", known.name),
            ("gms-hookd", "delivery", "list", "--hook", known.name),
        ),
    )


def _counts(words: Words, counts: Mapping[str, int]) -> str:
    shown = [
        words(key, count=counts[name])
        for name, key in _COUNTS.items()
        if counts.get(name)
    ]
    return " · ".join(shown) or words("none")
