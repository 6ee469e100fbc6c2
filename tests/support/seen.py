"""What outsiders to a secret may see, and whether it is in it.

The secrets that tests configure hold the canary. What daemons log, what they answer,
what commands print and what stores hold is searched for it: see conftest.
"""

import base64
import html
import json
import os
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote_to_bytes

RUN = 12  # characters in a row that nobody may see
CANARY = "c4n4ry/of+the=suite"
LEAKS: list[str] = []
PACKED = b"\x78"  # so begins what zlib has packed, window of 32 KiB (RFC 1950, 2.2)
LARGE = ("caches", "objects", "hooks")  # folders of git


def rows(path: Path) -> Iterator[bytes]:
    """Give every text and blob of a store, packed ones unpacked too."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.text_factory = bytes
        tables = db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        for (table,) in tables.fetchall():
            for row in db.execute(f"SELECT * FROM {table.decode()}"):
                for field in row:
                    if isinstance(field, bytes):
                        yield field
                        if field.startswith(PACKED):
                            yield from unpacked(field)


def unpacked(field: bytes) -> Iterator[bytes]:
    """Give what is packed in a blob."""
    with suppress(zlib.error):
        yield zlib.decompress(field)


def codes(secret: str) -> Iterator[bytes]:
    """Write a secret in each way that it could be seen in."""
    raw = secret.encode()
    yield raw
    yield from (quote(secret).encode(), quote(secret, safe="").encode())
    yield from (quote_plus(secret).encode(), html.escape(secret).encode())
    yield from (json.dumps(secret)[1:-1].encode(), raw.hex().encode())
    yield from (raw.hex().upper().encode(), raw.decode("latin-1").encode())
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + raw)
        part = whole[(8 * shift + 5) // 6 : 8 * (shift + len(raw)) // 6]
        yield from (part, part.translate(bytes.maketrans(b"+/", b"-_")))


def windows(secrets: Iterable[str]) -> set[bytes]:
    """Return every run of so many characters of every secret in every code."""
    return {
        code[n : n + RUN]
        for secret in secrets
        for code in codes(secret)
        for n in range(len(code) - RUN + 1)
    }


def found(text: bytes, runs: set[bytes]) -> list[bytes]:
    """Name the runs of secrets in a text, also where it is escaped."""
    escapes = re.compile(rb"\\u00([0-9a-f]{2})|\\(.)")
    plain = escapes.sub(lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2], text)
    views = {text, unquote_to_bytes(text), plain, unquote_to_bytes(plain)}
    return [
        view[n : n + RUN]
        for view in views
        for n in range(len(view) - RUN + 1)
        if view[n : n + RUN] in runs
    ]


CANARY_RUNS = sorted(windows([CANARY]))


def look(where: str, text: str | bytes) -> None:
    """Note where the canary is seen."""
    seen = text.encode(errors="replace") if isinstance(text, str) else text
    if any(run in seen for run in CANARY_RUNS):
        LEAKS.append(where)


def search(folder: Path) -> None:
    """Look through the logs and the stores in a folder."""
    for place, folders, files in os.walk(folder):
        folders[:] = [n for n in folders if n not in LARGE and not n.endswith(".git")]
        for path in filter(Path.is_file, (Path(place, name) for name in files)):
            if path.name == "log":
                look(str(path), path.read_bytes())
            if path.suffix == ".db":
                with suppress(sqlite3.Error):
                    look(str(path), b"\n".join(rows(path)))
