"""The page that stands in for one that cannot be shown."""

from gms_hookd.pages.html import tag
from gms_hookd.pages.parts import TOP, Frame, document, link


def failure_page(frame: Frame, message: str) -> bytes:
    """Return a page that says why there is no other."""
    words = frame.words
    title = words("error")
    back = tag("p", link(TOP, words("back")))
    return document(frame, title, tag("h1", title), tag("p", message), back)
