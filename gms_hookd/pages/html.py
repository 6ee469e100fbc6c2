"""HTML whose text is escaped by construction: only `tag` makes markup.

html.spec.whatwg.org, 13.1.2 (elements and attributes) and 13.3 (escaping).
"""

from collections.abc import Iterable
from html import escape

from gms_hookd.safetext import safe

VOID = frozenset({"br", "input", "link", "meta"})  # elements without an end tag
_LOCAL = ("/", "?", "#")


class Html(str):
    """Markup that may stand in a page as it is."""

    __slots__ = ()


Child = Html | str | int | None
NOTHING = Html("")


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Return an element: text in it is escaped, what is None is left out.

    An underscore in an attribute's name is a hyphen, one at its end is dropped. Raises
    ValueError for a link that leads elsewhere, and for what would be script or style.
    """
    given = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Iterable[Child], between: str = "") -> Html:
    """Return children one after the other, `between` them what separates them."""
    shown = (_child(each) for each in children if each is not None and each != "")
    return Html(_text(between).join(shown))


def raw(text: str) -> Html:
    """Return markup of our own that `tag` cannot make: the style, the doctype."""
    return Html(text)


def _child(child: Html | str | int) -> str:
    return child if isinstance(child, Html) else _text(str(child))


def _text(text: str) -> str:
    """Return text for between tags and in quotes; what nobody sees as an escape."""
    return escape(safe(text, keep="\n\t"))


def _attribute(key: str, value: str | int | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if name.startswith("on") or name in {"style", "src", "srcdoc", "formaction"}:
        raise ValueError(f"{name}: nothing here runs, loads or styles itself")
    if name in {"href", "action"} and not _is_local(str(value)):
        raise ValueError(f"{name}: a link leads to this service only")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{_text(str(value))}"'


def _is_local(link: str) -> bool:
    return link.startswith(_LOCAL) and not link.startswith(("//", "/\\"))
