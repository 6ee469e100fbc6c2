"""Read the part of YAML 1.1 that configuration files use, and refuse the rest.

Accepted: one document of block mappings, block sequences, flow lists and mappings,
plain, 'single' and "double" quoted scalars of one line each, comments. What is accepted
means what PyYAML's safe_load makes of it: types are resolved by YAML 1.1's rules, with
the exceptions that PyYAML makes. Everything else (anchors, tags, block scalars, merge
keys, duplicate keys, tabs, scalars over lines, several documents ...) is a YamlError.

The scanner turns lines into tokens; a scalar with its ":" behind it is one token, so
that the parser never needs more than the next token and its column.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from functools import reduce
from typing import NamedTuple

from gms_hookd.git.patterns import late_pattern


class YamlError(ValueError):
    """Not YAML, or YAML that this reader refuses; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column


def loads(text: str) -> object:
    """Return what the one document in `text` means; YamlError if it is refused."""
    return _Parser(_Scanner(_lines(text)).tokens()).document()


# PyYAML's printable characters, without those which it takes for line breaks (U+0085,
# U+2028, U+2029) or gives no column (U+FEFF).
_UNPRINTABLE = late_pattern(
    "[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd"
    "\U00010000-\U0010ffff]"
)


def _lines(text: str) -> list[str]:
    text = text.replace("\r\n", "\n")
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise YamlError(f"character U+{ord(bad[0]):04X} is refused", line, column)
    return text.split("\n")


# --- scanner: lines into tokens


class _Token(NamedTuple):
    """A token: `kind` is "-", "[", "]", "{", "}", ",", "key", "scalar" or "end".

    `line` and `column` count from 0; `first` says that it begins its line.
    """

    kind: str
    line: int
    column: int
    first: bool
    value: object = None

    def error(self, message: str) -> YamlError:
        return YamlError(message, self.line + 1, max(self.column, 0) + 1)


_MARKER = late_pattern(r"(?:---|\.\.\.)(?: |$)")
_START = late_pattern(r"--- *(?:(?<= )#.*)?$")
_DASH = late_pattern(r"-(?:[ \t]|$)")
_SINGLE = late_pattern(r"'((?:[^'\t]|'')*)'")
_DOUBLE = late_pattern(r'"((?:[^"\\\t]|\\[^\t])*)"')
_BLOCK_PLAIN = late_pattern(
    r"(?:[^ \t\-?:,\[\]{}#&*!|>'\"%@`]|[\-?:](?![ \t]|$))"
    r"(?: *(?:[^ \t:#]|:(?![ \t]|$)|(?<! )#))*"
)
_FLOW_PLAIN = late_pattern(
    r"(?:[^ \t\-?:,\[\]{}#&*!|>'\"%@`]|-(?![ \t]|$))"
    r"(?: *(?:[^ \t:#,?\[\]{}]|:(?![ \t,\[\]{}]|$)|(?<! )#))*"
)
_BLOCK_COLON = late_pattern(r" *:(?=[ \t]|$)")
_FLOW_COLON = late_pattern(r" *:")
_LONGEST_KEY = 1024
_REFUSED = {
    "\t": "tabs are refused: use spaces",
    "&": "anchors are refused: quote the text if it begins with '&'",
    "*": "aliases are refused: quote the text if it begins with '*'",
    "!": "tags are refused: quote the text if it begins with '!'",
    "|": "block scalars are refused: use a quoted text of one line",
    ">": "block scalars are refused: use a quoted text of one line",
    "%": "directives are refused: quote the text if it begins with '%'",
    "'": "a quoted text must end on its line and hold no tab",
    '"': "a quoted text must end on its line and hold no tab",
    "#": "a comment needs a space before it",
}


class _Scanner:
    """Turns lines into tokens; knows only how many brackets are open."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._open = 0
        self._begun = False

    def tokens(self) -> Iterator[_Token]:
        for number, line in enumerate(self._lines):
            if _MARKER.match(line):
                self._marker(number, line)
            else:
                yield from self._line(number, line)
        yield _Token("end", len(self._lines) - 1, -1, first=True)

    def _marker(self, number: int, line: str) -> None:
        if self._begun or not _START.match(line):
            raise YamlError("one document only, after a bare '---'", number + 1, 1)
        self._begun = True

    def _line(self, number: int, line: str) -> Iterator[_Token]:
        at, first = _after_spaces(line, 0), True
        while at < len(line) and not _comment(line, at):
            self._begun = True
            token, end = self._token(line, _Token("", number, at, first))
            yield token
            at, first = _after_spaces(line, end), False

    def _token(self, line: str, here: _Token) -> tuple[_Token, int]:
        char, end = line[here.column], here.column + 1
        if char in "[{" or (self._open and char in "]},"):
            self._open += {"[": 1, "{": 1, ",": 0}.get(char, -1)
            return here._replace(kind=char), end
        if not self._open and _DASH.match(line, here.column):
            return here._replace(kind="-"), end
        return self._scalar(line, here)

    def _scalar(self, line: str, here: _Token) -> tuple[_Token, int]:
        value, end = self._value(line, here)
        colon = (_FLOW_COLON if self._open else _BLOCK_COLON).match(line, end)
        if not colon:
            return here._replace(kind="scalar", value=value), end
        if colon.end() - 1 - here.column > _LONGEST_KEY:
            raise here.error(f"a key may have {_LONGEST_KEY} characters at most")
        return here._replace(kind="key", value=value), colon.end()

    def _value(self, line: str, here: _Token) -> tuple[object, int]:
        at = here.column
        if found := _SINGLE.match(line, at):
            return found[1].replace("''", "'"), found.end()
        if found := _DOUBLE.match(line, at):
            return _unescaped(found[1], here), found.end()
        if found := (_FLOW_PLAIN if self._open else _BLOCK_PLAIN).match(line, at):
            return _resolved(found[0], here), found.end()
        unexpected = f"unexpected {line[at]!r}: quote the text if it is meant"
        raise here.error(_REFUSED.get(line[at], unexpected))


def _after_spaces(line: str, at: int) -> int:
    while at < len(line) and line[at] == " ":
        at += 1
    return at


def _comment(line: str, at: int) -> bool:
    return line[at] == "#" and (at == 0 or line[at - 1] == " ")


_ESCAPE = late_pattern(
    r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))"
)
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f",
    "r": "\r", "e": "\x1b", " ": " ", '"': '"', "\\": "\\", "/": "/", "N": "\x85",
    "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip


def _unescaped(text: str, here: _Token) -> str:
    def character(escape: re.Match[str]) -> str:
        digits = escape[1] or escape[2] or escape[3]
        code = int(digits, 16) if digits else ord(_ESCAPES.get(escape[4], "\ud800"))
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            raise here.error(f"{escape[0]} is no character")
        return chr(code)

    return _ESCAPE.sub(character, text)


# --- plain scalars: YAML 1.1's types


def _spellings(word: str, meaning: object) -> dict[str, object]:
    return dict.fromkeys((word, word.title(), word.upper()), meaning)


_INF = float("inf")
_NAN = -_INF / _INF
_WORDS: dict[str, object] = {
    "~": None, **_spellings("null", None),
    **_spellings("yes", True), **_spellings("no", False),
    **_spellings("true", True), **_spellings("false", False),
    **_spellings("on", True), **_spellings("off", False),
    **_spellings(".inf", _INF), **_spellings("+.inf", _INF),
    **_spellings("-.inf", -_INF), ".nan": _NAN, ".NaN": _NAN, ".NAN": _NAN,
}  # fmt: skip
_NUMERIC = frozenset("+-.0123456789")
_LONGEST_NUMBER = 100


def _resolved(text: str, here: _Token) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if text in ("=", "<<"):
        raise here.error(f"{text!r} is refused: quote it if it is meant as a text")
    if text[0] not in _NUMERIC:
        return text
    for pattern, meaning in _TYPES:
        if found := pattern.fullmatch(text):
            return _number(found, meaning, here)
    return text


def _number(
    found: re.Match[str], meaning: Callable[[re.Match[str]], object], here: _Token
) -> object:
    try:
        if len(found[0]) > _LONGEST_NUMBER:
            raise ValueError
        return meaning(found)
    except (ValueError, OverflowError):
        raise here.error(
            "not a number or date within range: quote it if it is text"
        ) from None


def _integer(found: re.Match[str]) -> int:
    digits = found[0].lstrip("+-").replace("_", "")
    if digits.startswith(("0b", "0x")):
        value = int(digits[2:], 2 if digits[1] == "b" else 16)
    elif digits.startswith("0"):
        value = int(digits, 8)
    else:
        value = reduce(lambda sum_, part: sum_ * 60 + int(part), digits.split(":"), 0)
    # Within 64 bits few integers share a hash: no file can make a mapping slow.
    if value >= 2**63:
        raise OverflowError
    return -value if found[0][0] == "-" else value


def _real(found: re.Match[str]) -> float:
    parts = found[0].lstrip("+-").replace("_", "").split(":")
    # From the right, as PyYAML adds up: the order decides the last bit.
    value = 0.0
    for power, part in enumerate(reversed(parts)):
        value += float(part) * 60**power
    return -value if found[0][0] == "-" else value


def _date(found: re.Match[str]) -> date:
    return date(int(found[1]), int(found[2]), int(found[3]))


def _time(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    micro = int((found[7] or "")[:6].ljust(6, "0"))
    return datetime(year, month, day, hour, minute, second, micro, _zone(found))


def _zone(found: re.Match[str]) -> timezone | None:
    if not found[9]:
        return UTC if found[8] else None
    offset = timedelta(hours=int(found[10]), minutes=int(found[11] or 0))
    return timezone(-offset if found[9] == "-" else offset)


_TYPES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], object]], ...] = (
    (
        late_pattern(
            r"[-+]?(?:0b[01_]+|0x[0-9A-Fa-f_]+|0[0-7_]*"
            r"|[1-9][0-9_]*(?::[0-5]?[0-9])*)"
        ),
        _integer,
    ),
    (
        late_pattern(
            r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?"
            r"|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
            r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
        ),
        _real,
    ),
    (late_pattern("([0-9]{4})-([0-9]{2})-([0-9]{2})"), _date),
    (
        late_pattern(
            "([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]| +)"
            r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
            " *(?:(Z)|([-+])([0-9]{1,2})(?::([0-9]{2}))?)?"
        ),
        _time,
    ),
)
# --- parser: tokens into values

_MAX_DEPTH = 64
_NO_KEY = "expected 'key: value' here (with the space)"


class _Parser:
    """Builds the value by indentation and brackets; reads one token ahead."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self._next = next(tokens)
        self._depth = 0

    def document(self) -> object:
        value = None if self._next.kind == "end" else self._node()
        if self._next.kind != "end":
            raise self._next.error("unexpected text after the end of the value")
        return value

    def _take(self) -> _Token:
        token = self._next
        self._next = next(self._tokens, token)
        return token

    def _node(self) -> object:
        """Read a value that begins with the next token, at whichever column that is."""
        token = self._next
        if token.kind == "scalar":
            return self._take().value
        read = {
            "-": self._sequence, "key": self._mapping,
            "[": self._flow_sequence, "{": self._flow_mapping,
        }.get(token.kind)  # fmt: skip
        if read is None:
            raise token.error("a value is missing here")
        if self._depth == _MAX_DEPTH:
            raise token.error(f"nested deeper than {_MAX_DEPTH} levels")
        self._depth += 1
        value = read(token.column)
        self._depth -= 1
        return value

    def _at(self, column: int) -> bool:
        """Say whether the next line goes on at `column`; False if it ends the block."""
        if not self._next.first:
            raise self._next.error("unexpected text after a value: quote it")
        if self._next.column > column:
            raise self._next.error("wrong indentation, or a text over several lines")
        return self._next.column == column

    def _mapping(self, column: int) -> dict[object, object]:
        mapping: dict[object, object] = {}
        going = True
        while going:
            key = self._take()
            if key.kind != "key":
                raise key.error(_NO_KEY)
            self._put(mapping, key, self._value(column))
            going = self._at(column)
        return mapping

    def _put(self, mapping: dict[object, object], key: _Token, value: object) -> None:
        if key.value in mapping:
            raise key.error(f"duplicate key {key.value!r}")
        mapping[key.value] = value

    def _value(self, column: int) -> object:
        token = self._next
        if not token.first and token.kind in ("-", "key"):
            raise token.error("a block cannot begin behind a key: use a new line")
        if not token.first or token.column > column:
            return self._node()
        if token.kind == "-" and token.column == column:
            return self._node()
        return None

    def _sequence(self, column: int) -> list[object]:
        items: list[object] = []
        going = True
        while going and self._next.kind == "-":
            self._take()
            empty = self._next.first and self._next.column <= column
            items.append(None if empty else self._node())
            going = self._at(column)
        return items

    def _flow_sequence(self, _: int) -> list[object]:
        items: list[object] = []
        opened = self._take()
        while self._inside(opened, "]"):
            if self._next.kind == "key":
                raise self._next.error("'key: value' in a list needs braces")
            items.append(self._node())
            self._comma("]")
        return items

    def _flow_mapping(self, _: int) -> dict[object, object]:
        mapping: dict[object, object] = {}
        opened = self._take()
        while self._inside(opened, "}"):
            key = self._take()
            if key.kind != "key":
                raise key.error(_NO_KEY)
            empty = self._next.kind in (",", "}")
            self._put(mapping, key, None if empty else self._flow_value())
            self._comma("}")
        return mapping

    def _inside(self, opened: _Token, closing: str) -> bool:
        if self._next.kind == "end":
            raise opened.error(f"'{opened.kind}' is never closed")
        inside = self._next.kind != closing
        if not inside:
            self._take()
        return inside

    def _flow_value(self) -> object:
        if self._next.kind == "key":
            raise self._next.error("two colons in one entry: quote the value")
        return self._node()

    def _comma(self, closing: str) -> None:
        if self._next.kind == ",":
            self._take()
        elif self._next.kind not in (closing, "end"):
            raise self._next.error(f"expected ',' or '{closing}'")
