"""Lists as long as wished: asked for and printed page by page."""

import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from gms_hookd.cli.api_client import Api, get
from gms_hookd.cli.session import Args, Session
from gms_hookd.cli.terminal import Style

PAGE = 500  # entries that are asked for at a time
Text = Callable[[list[dict[str, Any]], Style], str]


def show_pages(
    session: Session, args: Args, pages: Iterator[list[dict[str, Any]]], text: Text
) -> int:
    """Print a list as its pages come: one JSON list, or tables below each other."""
    first = next(pages)
    if args.json:
        _print_json(session, chain([first], pages))
        return 0
    session.say(text(first, session.style))
    for page in pages:
        session.say(text(page, session.style).partition("\n")[2])
    return 0


def _print_json(session: Session, pages: Iterator[list[dict[str, Any]]]) -> None:
    entries = (json.dumps(each, indent=2) for page in pages for each in page)
    opening = "["
    for entry in entries:
        session.say(f"{opening}\n  " + entry.replace("\n", "\n  "))
        opening = ","
    session.say("[]" if opening == "[" else "]")


def pages_of(
    api: Api, path: str, args: Args, **query: str | int
) -> Iterator[list[dict[str, Any]]]:
    """Ask for a list page by page; the first may be empty, no other is."""
    for key in ("since", "before", "status", "hook", "target"):
        if getattr(args, key, None) is not None:
            query[key] = getattr(args, key)
    left = args.limit
    while left > 0:
        asked = min(left, PAGE)
        page = get(api, path, **query, limit=asked)
        if page or left == args.limit:
            yield page
        if len(page) < asked:
            return
        left -= asked
        query["before"] = page[-1]["id"]
