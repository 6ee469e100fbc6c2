"""Takes secrets out of text before it is logged, stored or shown.

    mask = Mask(secrets)
    mask(text)           a text from outside, whole: cut it afterwards, not before
    mask.line(text)      lines of the log, whose parts were masked already
    mask.answer(content) bytes of JSON that we made: JSON stays JSON
    mask.page(content)   bytes of HTML that we made
    mask.body(content)   the body of a delivery, where its sender puts a secret too

No 12 characters in a row of a configured secret are left, whether they stand there
plainly or in percent, base64, hexadecimal, JSON or HTML: so what was cut by somebody
else is found too.
"""

import base64
import html
import json
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product
from typing import NamedTuple
from urllib.parse import quote, quote_plus, unquote_plus, unquote_to_bytes

from gms_hookd.safetext import shapes

SHORTEST = 4  # masking a shorter secret would mask ordinary words
WINDOW = 12
GRAM = 8  # bytes, compared as one number
STEP = 4
DEPTH = 3  # encodings one inside the other
VIEWS = 8
FORM = b"payload="

_UTF8 = ("utf-8", "surrogatepass")
_Span = tuple[int, int]


class _Decoder(NamedTuple):
    """One way in which texts are escaped; nothing is where its mark is not."""

    mark: bytes
    escape: re.Pattern[bytes]
    meant: Callable[[bytes], bytes]


def _unescaped(escape: bytes) -> bytes:
    kind, digits = escape[1:2], escape[2:]
    if kind not in b"uxU" or not digits:
        return _CONTROLS.get(kind, kind)
    if kind == b"u":
        units = bytes.fromhex(digits.replace(b"\\u", b"").decode())
        return units.decode("utf-16-be", "surrogatepass").encode(*_UTF8)
    return chr(min(int(digits, 16), sys.maxunicode)).encode(*_UTF8)


_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_BACKSLASH = (
    rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"
    rb"|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\U[0-9A-Fa-f]{8}|\\."
)
_ENTITY = rb"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,6});"
_DECODERS = (
    _Decoder(b"%", re.compile(rb"%[0-9A-Fa-f]{2}"), unquote_to_bytes),
    _Decoder(b"\\", re.compile(_BACKSLASH), _unescaped),
    _Decoder(
        b"&",
        re.compile(_ENTITY),
        lambda entity: html.unescape(entity.decode()).encode(*_UTF8),
    ),
)
_PLUS = _Decoder(b"+", re.compile(rb"\+"), lambda _plus: b" ")  # of forms
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*+)"')
_BEGUN_ESCAPE = re.compile(rb"\\u[0-9A-Fa-f]{0,3}\Z")
_CUT_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:u[0-9A-Fa-f]{0,3})?)\Z")


class Mask:
    """The configured secrets, prepared once.

    To look costs little where there is nothing: of any 12 bytes in a row 8 begin at a
    multiple of 4, and these are looked up as one number.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(s for s in secrets if len(s) >= SHORTEST)
        forms = {form for secret in self.secrets for form in _forms(secret)}
        long = {form for form in forms if len(form) >= GRAM + STEP - 1}
        self._short = sorted(forms - long, key=len, reverse=True)
        self._windows = {part for form in long for part in _parts(form, WINDOW)}
        self._widths = sorted({len(part) for part in self._windows})
        grams = (gram for form in long for gram in _parts(form, GRAM))
        self._grams = {int.from_bytes(gram, sys.byteorder) for gram in grams}
        spaced = any(" " in secret for secret in self.secrets)
        self._decoders = (*_DECODERS, _PLUS) if spaced else _DECODERS
        self._signs = (*(decoder.mark for decoder in self._decoders), *self._short)

    def __call__(self, text: str) -> str:
        """Return a text without secrets, and without what looks like one."""
        return shapes.without_tokens(shapes.without_logins(self._known(text)))

    def line(self, text: str) -> str:
        """Return a text of ours without secrets, a hundred times a millisecond."""
        return shapes.without_logins(self._known(text))

    def answer(self, content: bytes) -> bytes:
        """Return JSON without the configured secrets.

        Short ones may be words of our own, and are masked in what comes from outside.
        """
        if not self._spans(content, shorter=False):
            return content
        return _STRING.sub(self._in_string, content)

    def page(self, content: bytes) -> bytes:
        """Return HTML that we made without the configured secrets, short ones aside."""
        return _without(content, self._spans(content, shorter=False))

    def body(self, content: bytes) -> bytes:
        """Return a JSON or form body without secrets, and without fields for them."""
        if not content.startswith(FORM):
            return shapes.without_fields(_without(content, self._spans(content)))
        text = unquote_plus(content[len(FORM) :].decode("utf-8", "replace")).encode()
        safe = shapes.without_fields(_without(text, self._spans(text)))
        return content if safe == text else FORM + quote_plus(safe).encode()

    def _in_string(self, found: re.Match[bytes]) -> bytes:
        text: bytes = found[1]
        return b'"%b"' % _without(text, self._spans(text, shorter=False))

    def holds(self, text: str) -> bool:
        """Return whether a text holds a secret that is too long to be a word of it."""
        return bool(self._spans(text.encode(*_UTF8), shorter=False))

    def plus(self, secrets: Iterable[str]) -> "Mask":
        """Return one that masks these secrets too."""
        more = {secret for secret in secrets if len(secret) >= SHORTEST}
        return self if more <= self.secrets else Mask(self.secrets | more)

    def _known(self, text: str) -> str:
        if not self.secrets:
            return text
        content = text.encode(*_UTF8)
        spans = self._spans(content)
        return _without(content, spans).decode(*_UTF8) if spans else text

    def _spans(self, content: bytes, *, shorter: bool = True) -> list[_Span]:
        """Return where secrets stand, from and to, in whatever encoding."""
        found: list[_Span] = []
        if not self.secrets or self._absent(content):
            return found
        for view, way in _views(content, self._decoders):
            spans = [*self._long(view), *(self._shorter(view) if shorter else ())]
            if spans:
                places = _places(content, way)
                found += [(places[start], places[end]) for start, end in spans]
        return _joined(content, found)

    def _absent(self, content: bytes) -> bool:
        """Return whether there is nothing to look for closely, as nearly always."""
        for sign in self._signs:
            if sign in content:
                return False
        return all(self._grams.isdisjoint(numbers) for _, numbers in _numbers(content))

    def _shorter(self, view: bytes) -> Iterator[_Span]:
        for form in self._short:
            if form in view:
                yield from (m.span() for m in re.finditer(re.escape(form), view))

    def _long(self, view: bytes) -> Iterator[_Span]:
        for offset, numbers in _numbers(view):
            if not self._grams.isdisjoint(numbers):
                hits = (n for n, number in enumerate(numbers) if number in self._grams)
                yield from self._near(view, (offset + GRAM * n for n in hits))

    def _near(self, view: bytes, places: Iterable[int]) -> Iterator[_Span]:
        starts = (range(max(place - STEP, 0), place + 1) for place in places)
        spans = product(chain.from_iterable(starts), self._widths)
        for start, width in spans:
            piece = view[start : start + width]  # shorter at the end
            if piece in self._windows:
                yield start, start + len(piece)


def _numbers(view: bytes) -> list[tuple[int, "array[int]"]]:
    """Return the bytes as numbers of 8 each: from the first on, and from the fifth."""
    length = len(view) // GRAM * GRAM
    later = max(len(view) - STEP, 0) // GRAM * GRAM + STEP
    return [(0, array("Q", view[:length])), (STEP, array("Q", view[STEP:later]))]


def _forms(secret: str) -> Iterator[bytes]:
    """Name the forms that are searched for."""
    raw = secret.encode(*_UTF8)
    yield raw
    if not secret.isascii():  # HTTP reads its bytes as latin-1, some send it so
        yield raw.decode("latin-1").encode()
    if not secret.isascii() and max(secret) < "\u0100":
        yield secret.encode("latin-1")
    # Escapes are undone before; these are for pieces too short without their escapes.
    yield from (quote(raw, safe="").encode(), quote(raw).encode())
    yield json.dumps(secret)[1:-1].encode()
    coded = [raw.hex().encode(), raw.hex().upper().encode()]
    for shift in range(3):  # of what stands before it
        whole = base64.b64encode(bytes(shift) + raw)
        at_end = whole[(8 * shift + 5) // 6 :]
        within = at_end[: 8 * (shift + len(raw)) // 6 - len(whole) or None]
        for own in (within, at_end):
            coded += [own, own.translate(bytes.maketrans(b"+/", b"-_"))]
    yield from (form for form in coded if len(form) >= GRAM)


def _parts(form: bytes, size: int) -> Iterator[bytes]:
    return (form[n : n + size] for n in range(max(len(form) - size, 0) + 1))


_View = tuple[bytes, tuple[_Decoder, ...]]


def _views(content: bytes, decoders: tuple[_Decoder, ...]) -> Iterator[_View]:
    """Give the content, and what it says to whoever undoes its escapes."""
    seen = {content}
    views: list[_View] = [(content, ())]
    for view, way in views:  # which grows meanwhile
        yield view, way
        for decoder in decoders if len(way) < DEPTH else ():
            decoded = _decoded(view, decoder)
            if decoded not in seen and len(seen) < VIEWS:
                seen.add(decoded)
                views.append((decoded, (*way, decoder)))


def _decoded(view: bytes, decoder: _Decoder) -> bytes:
    if decoder.mark not in view:
        return view
    return decoder.escape.sub(lambda found: decoder.meant(found[0]), view)


def _places(content: bytes, way: tuple[_Decoder, ...]) -> list[int] | range:
    """Return for each byte of a view, and for its end, where it is in the content."""
    places: list[int] | range = range(len(content) + 1)
    view = content
    for decoder in way:
        inner = list(_origins(view, decoder))
        places = [places[n] for n in inner]
        view = _decoded(view, decoder)
    return places


def _origins(view: bytes, decoder: _Decoder) -> Iterator[int]:
    end = 0
    for found in decoder.escape.finditer(view):
        yield from range(end, found.start())
        yield from [found.start()] * len(decoder.meant(found[0]))
        end = found.end()
    yield from range(end, len(view) + 1)


def _joined(content: bytes, found: list[_Span]) -> list[_Span]:
    """Join spans that touch, each grown to whole characters and whole escapes."""
    joined: list[_Span] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return [_grown(content, start, end) for start, end in joined]


def _grown(content: bytes, start: int, end: int) -> _Span:
    if begun := _BEGUN_ESCAPE.search(content, max(start - 5, 0), start):
        start = begun.start()
    while start and (0x80 <= content[start] < 0xC0 or content[start - 1] == 0x5C):
        start -= 1
    if cut := _CUT_ESCAPE.search(content, start, end):
        end = cut.start(1) + (6 if cut[1][1:] else 2)
    while end < len(content) and 0x80 <= content[end] < 0xC0:
        end += 1
    return start, min(end, len(content))


def _without(content: bytes, spans: list[_Span]) -> bytes:
    if not spans:
        return content
    pieces, after = [], 0
    for start, end in spans:
        pieces += [content[after:start], shapes.HIDDEN]
        after = end
    return b"".join([*pieces, content[after:]])
