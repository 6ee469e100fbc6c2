"""Durations and sizes as people write them: "10m", "1h30m", "25MiB"; times as text.

Also how long a host asks to wait: HTTP's Retry-After.
"""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_NUMBER = "[0-9]{1,12}(?:[.][0-9]{1,9})?"
_PART = re.compile(f"({_NUMBER})({'|'.join(_SECONDS)})")
_DURATION = re.compile(f"(?:{_PART.pattern})+")
_SIZE = re.compile(f"({_NUMBER}) ?([A-Za-z]*)")
_LONGEST = 36500 * 86400
_LARGEST = 2**50


def rfc3339(milliseconds: int) -> str:
    """Return a Unix time as RFC 3339 has it: in UTC, with milliseconds."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def retry_after(text: str, now: float | None) -> float | None:
    """Return the seconds that a Retry-After asks for, None where it says none.

    RFC 9110, 10.2.3: seconds, or a date, which counts from `now` (Unix time).
    """
    try:
        seconds = float(text)
    except ValueError:
        date = unix_time(text)
        return None if date is None or now is None else max(date - now, 0.0)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def unix_time(http_date: str) -> float | None:
    """Return the Unix time that a date of HTTP means, None where it is none."""
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def duration(text: str) -> float:
    """Return the seconds that `text` means, a bare number as well; or ValueError."""
    seconds = _seconds(text)
    if seconds > _LONGEST:
        raise ValueError("longer than a hundred years: use a shorter duration")
    return seconds


def _seconds(text: str) -> float:
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if _DURATION.fullmatch(text):
        parts = _PART.findall(text)
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    usage = 'use a number with ms, s, m, h, d or w, as in "10m"'
    raise ValueError(f"not a duration: {usage}")


def moment(text: str, now: float) -> int:
    """Return the Unix time (ms) that an RFC 3339 time, a date or an age means.

    A date, and a time without an offset, are local ones. ValueError for others.
    """
    if _DURATION.fullmatch(text):
        return int((now - duration(text)) * 1000)
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            "not a time: use 2026-11-28, 2026-11-28T22:50:00Z or an age as in 2h or 7d"
        ) from None


def size(text: str) -> int:
    """Return the bytes that `text` means, a bare number as well; or ValueError."""
    found = _SIZE.fullmatch(text)
    if found is None or found[2].lower() not in _BYTES:
        raise ValueError(
            "not a size: use a number with B, KB, MB, GB, KiB, MiB or GiB,"
            ' as in "25MiB"'
        )
    number = float(found[1]) * _BYTES[found[2].lower()]
    if number > _LARGEST or not number.is_integer():
        raise ValueError("not a whole number of bytes up to 1024 TiB")
    return int(number)
