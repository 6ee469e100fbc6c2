"""What an HTTP host really answered, read from the trace that git can make of it.

git itself tells the status of a failure, and the body only where that is plain text.
"""

import json
import re
from dataclasses import dataclass
from html import unescape
from urllib.parse import urljoin, urlsplit, urlunsplit

from gms_hookd.git.patterns import late_pattern
from gms_hookd.safetext import one_line
from gms_hookd.units import retry_after, unix_time

SERVICE = "/info/refs"
RPC = "/git-"  # upload-pack or receive-pack, asked for by POST
WORDS = 300  # characters

_OF_GIT = late_pattern(r"/(info/refs|git-(upload|receive)-pack)$")
_REQUEST = late_pattern(r"=> Send header: [A-Z]+ (\S+) HTTP/")
_FIELD = late_pattern(r"<= Recv header: (.*)")
_DATA = late_pattern(r"<= Recv data: (.*)")
_STATUS = late_pattern(r"HTTP/[0-9.]+ ([0-9]{3})")
_TITLE = late_pattern(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_HEADING = late_pattern(r"<h1[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
_RETRY_AFTER = late_pattern(r"(?im)^.*<= recv header: *retry-after: *(.+?)\r?$")
_DATE = late_pattern(r"(?im)^.*<= recv header: *date: *(.+?)\r?$")
_UNSEEN = late_pattern(r"<(script|style|head)\b.*?(</\1>|$)", re.IGNORECASE | re.DOTALL)
_TAG = late_pattern(r"<[^>]*>")
_BARE_STATUS = late_pattern(r"[0-9]{3} [A-Z][\w -]+|error [0-9]{3}", re.IGNORECASE)
_STOPS = late_pattern(r"[.]{2,}")  # in the place of line ends and of what is not ASCII
_WORD = late_pattern(r"[A-Za-z]{2}")
_MESSAGES = ("message", "error_description", "error", "detail", "msg", "reason")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer: header fields by names in lower case; of a body its ASCII only."""

    status: int
    fields: dict[str, str]
    parts: list[str]

    @property
    def kind(self) -> str:
        """Return the media type of the body, "" if there is none."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_git(self) -> bool:
        """Return whether it is what a git host answers (gitprotocol-http)."""
        return 200 <= self.status < 300 and self.kind.startswith("application/x-git-")

    @property
    def words(self) -> str:
        """Return what its body says to people, in one line."""
        said = one_line(_STOPS.sub(". ", self._said()), WORDS)
        return "" if _BARE_STATUS.fullmatch(said) or not _WORD.search(said) else said

    def _said(self) -> str:
        if self.fields.get("content-encoding", "identity") != "identity":
            return ""  # it was asked for plain text, and the trace has no other bytes
        body = self._decoded()
        if "json" in self.kind:
            return _message(body)
        if "html" in self.kind or body.lstrip().lower().startswith(("<!doc", "<html")):
            found = _TITLE.search(body) or _HEADING.search(body)
            text = found[1] if found else _UNSEEN.sub(" ", body)
            return unescape(_TAG.sub(" ", text))
        return body if self.kind.startswith("text/") else ""

    def _decoded(self) -> str:
        """Return the body without the sizes of its chunks (RFC 9112, section 7.1).

        The trace has a full stop for each byte that it does not show.
        """
        left, body = "".join(self.parts), ""
        if "chunked" not in self.fields.get("transfer-encoding", ""):
            return left
        while found := re.match(r"([0-9a-fA-F]+)[^.]*\.\.", left):
            size = int(found[1], 16)
            body += left[found.end() : found.end() + size]
            left = left[found.end() + size + 2 :]
        return body

    def moved_to(self, url: str) -> str:
        """Return the URL that a repository has moved to, "" if it has not."""
        where = urlsplit(self._location(url))
        path, found = _OF_GIT.subn("", where.path)
        return urlunsplit((where.scheme, where.netloc, path, "", "")) if found else ""

    def instead_of_git(self, url: str) -> str:
        """Return what to say of it, as lines of errors such as git's own."""
        if there := self.moved_to(url):
            return f"fatal: the repository has moved to {there}: give that URL\n"
        page = f"fatal: the host answers with a page, not with git: {self.page(url)}\n"
        return page + self._as_remote()

    def instead_of_result(self, url: str) -> str:
        """Return the same where the host has just answered as git does."""
        if self.status >= 300:
            return self.instead_of_git(url)
        what = "error: the host answers a request of git's with a page"
        return f"{what}: {self.page(url)}\n{self._as_remote()}"

    def _as_remote(self) -> str:
        return f"remote: {self.words}\n" if self.words else ""

    def page(self, url: str) -> str:
        """Return what there is instead of git: a status, and where that leads to."""
        where = urlsplit(self._location(url))
        if where.path or where.netloc:
            place = urlunsplit((where.scheme, where.netloc, where.path, "", ""))
            return f"{self.status} to {place}"
        return f"{self.status} {self.kind}".rstrip()

    def _location(self, url: str) -> str:
        there = self.fields.get("location", "")
        return urljoin(url, there) if there and 300 <= self.status < 400 else ""


def parse(trace: str, path: str = SERVICE) -> HttpAnswer | None:
    """Return the last answer to a request for a path, in a trace of curl's.

    None where there is none. What git asks for after that is for other protocols.
    """
    asked, last = "", None
    for line in trace.split("\n"):
        if found := _REQUEST.search(line):
            asked = found[1]
        elif path in asked:
            last = _read_on(last, line)
    return last


def _read_on(last: HttpAnswer | None, line: str) -> HttpAnswer | None:
    """Return the answer that a line belongs to, with what the line adds to it."""
    if found := _FIELD.search(line):
        if start := _STATUS.match(found[1]):
            last = HttpAnswer(int(start[1]), {}, [])
        name, colon, value = found[1].partition(":")
        if colon and last:
            last.fields[name.strip().lower()] = value.strip()
    elif last and (found := _DATA.search(line)):
        last.parts.append(found[1])
    return last


def _message(body: str) -> str:
    """Return the message in a JSON body, as forges name it."""
    try:
        found = json.loads(body)
    except ValueError:
        return body
    for name in _MESSAGES:
        said = found.get(name) if isinstance(found, dict) else None
        if isinstance(said, dict):
            said = said.get("message")
        if isinstance(said, str) and said:
            return said
    return body


def asked_to_wait(headers: str, now: float) -> float | None:
    """Return the seconds of the last Retry-After, None where there is none.

    A date counts from the host's own, as it is by its clock, or else from `now`.
    """
    found, dates = _RETRY_AFTER.findall(headers), _DATE.findall(headers)
    sent = unix_time(dates[-1]) if dates else None
    return retry_after(found[-1], now if sent is None else sent) if found else None
