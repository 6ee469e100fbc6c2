"""Schedules as GMS's users write them: what robfig/cron v3's ParseStandard means.

    minute hour day-of-month month day-of-week     0 2 * * *     */15 8-18 * * mon-fri
    @yearly @monthly @weekly @daily @hourly        @every 90m
    CRON_TZ=Asia/Shanghai 0 2 * * *                TZ= means the same

Source: github.com/robfig/cron at v3.0.1, parser.go and spec.go. Its peculiarities are
kept, since schedules are moved here as they are. `*` or `?`, also as one of a list,
make a field a star unless they have a step over 1. If neither day of month nor day of
week is a star, either is enough. A time that clocks jump over in spring is left out;
one that they show twice in autumn is met twice.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

YEARS = 5  # without a match within so many years, there is none
DAY = 86400
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
           "nov", "dec")  # fmt: skip
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
EVERY = "@every "
# Go's strconv.Atoi: ASCII digits alone, where int() also takes "1_0" and other scripts.
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LARGEST = 2**63 - 1
# Go's unicode.IsSpace, where str.split() also splits at \x1c to \x1f.
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_BLANK = re.compile(f"[{_WHITE}]+")
# Go's time.ParseDuration.
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PART = re.compile(r"([0-9]*)(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Field:
    """The values at which one field holds, and whether it is a star."""

    values: frozenset[int]
    star: bool


@dataclass(frozen=True, slots=True)
class _Bounds:
    name: str
    least: int
    largest: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Bounds("minute", 0, 59),
    _Bounds("hour", 0, 23),
    _Bounds("day of month", 1, 31),
    _Bounds("month", 1, 12, _MONTHS),
    _Bounds("day of week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule: five fields, or a fixed delay; in `zone`, or in that of the time."""

    text: str
    fields: tuple[Field, ...] = ()
    every: timedelta | None = None
    zone: tzinfo | None = None

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, in its zone; None if there is none.

        A `moment` without a zone is local time.
        """
        aware = moment if moment.tzinfo else moment.replace(tzinfo=_Local())
        if self.every:
            # Through UTC: within one zone, Python adds what clocks show.
            later = aware.replace(microsecond=0).astimezone(UTC) + self.every
            return later.astimezone(aware.tzinfo)
        if not all(field.values for field in self.fields):
            return None
        clock = _Clock(self.zone or aware.tzinfo or UTC)
        begin = int(aware.replace(microsecond=0).timestamp()) + 1
        try:
            found = _Search(self.fields, clock, begin).result()
        except (OverflowError, ValueError):  # after the year 9999
            return None
        if found is None:
            return None
        return datetime.fromtimestamp(found, UTC).astimezone(aware.tzinfo)


class _Clock:
    """Seconds since 1970 to what a clock in the zone shows, and back."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def shown(self, second: int) -> datetime:
        """Return what the clock shows, without a zone."""
        return datetime.fromtimestamp(second, self._zone).replace(tzinfo=None)

    def second(self, shown: datetime) -> int:
        """Return when the clock shows it; for none or two such times, as Go's Date."""
        as_utc = int(shown.replace(tzinfo=UTC).timestamp())
        return as_utc - self._offset(as_utc - self._offset(as_utc))

    def _offset(self, second: int) -> int:
        offset = datetime.fromtimestamp(second, self._zone).utcoffset()
        return int((offset or timedelta()).total_seconds())


class _Search:
    """Goes forward from `second` to where month, day, hour and minute hold.

    Whatever is stepped over sets what is smaller to its least value, once. A step ends
    with False where a larger part has changed by it, which has to be looked at again.
    """

    def __init__(self, fields: tuple[Field, ...], clock: _Clock, second: int) -> None:
        self._minute, self._hour, self._day, self._month, self._weekday = fields
        self._clock = clock
        self._second = second
        self._limit = clock.shown(second).year + YEARS
        self._begun = False

    def result(self) -> int | None:
        """Return the first second that holds, None if there is none in YEARS years."""
        steps = (self._to_month, self._to_day, self._to_hour, self._to_minute)
        while self._shown().year <= self._limit:
            if all(step() for step in (*steps, self._to_second)):
                return self._second
        return None

    def _shown(self) -> datetime:
        return self._clock.shown(self._second)

    def _begin(self, **least: int) -> None:
        if not self._begun:
            self._begun = True
            self._second = self._clock.second(_at(self._shown(), least))

    def _to_month(self) -> bool:
        while self._shown().month not in self._month.values:
            self._begin(day=1, hour=0)
            self._second = self._clock.second(_a_month_later(self._shown()))
            if self._shown().month == 1:
                return False
        return True

    def _to_day(self) -> bool:
        while not self._holds_on(self._shown()):
            self._begin(hour=0)
            before = self._second
            self._second = self._clock.second(self._shown() + timedelta(days=1))
            if self._second <= before:
                # Apia had no 30 December 2011: a step of a day on its clock leads back.
                self._second = before + DAY
            self._second += _to_midnight(self._shown().hour)
            if self._shown().day == 1:
                return False
        return True

    def _holds_on(self, shown: datetime) -> bool:
        day = shown.day in self._day.values
        weekday = shown.isoweekday() % 7 in self._weekday.values
        if self._day.star or self._weekday.star:
            return day and weekday
        return day or weekday

    def _to_hour(self) -> bool:
        while self._shown().hour not in self._hour.values:
            self._begin()
            self._second += 3600
            if self._shown().hour == 0:
                return False
        return True

    def _to_minute(self) -> bool:
        while self._shown().minute not in self._minute.values:
            self._second += 60 - (0 if self._begun else self._second % 60)
            self._begun = True
            if self._shown().minute == 0:
                return False
        return True

    def _to_second(self) -> bool:
        self._begun = True
        left = -self._shown().second % 60
        self._second += left
        return left == 0


def _at(shown: datetime, least: dict[str, int]) -> datetime:
    day, hour = least.get("day", shown.day), least.get("hour", shown.hour)
    return shown.replace(day=day, hour=hour, minute=0, second=0)


def _a_month_later(shown: datetime) -> datetime:
    year, month = shown.year + shown.month // 12, shown.month % 12 + 1
    return shown.replace(year=year, month=month, day=1) + timedelta(shown.day - 1)


def _to_midnight(hour: int) -> int:
    """Return the seconds to the midnight that a change of the clock hides."""
    if hour == 0:
        return 0
    return (24 - hour if hour > 12 else -hour) * 3600


def parse(text: str) -> Cron:
    """Return the schedule; ValueError says what is wrong and where."""
    if not text:
        raise ValueError("empty spec string")
    zone, spec = _zone(text)
    if spec.startswith("@"):
        if spec.startswith(EVERY):
            return Cron(text, every=_delay(spec), zone=zone)
        if spec not in DESCRIPTORS:
            raise ValueError(f"unrecognized descriptor: {spec}")
        spec = DESCRIPTORS[spec]
    fields = [field for field in _BLANK.split(spec) if field]
    if len(fields) != len(_FIELDS):
        said = " ".join(fields)
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{said}]")
    pairs = zip(fields, _FIELDS, strict=True)
    return Cron(
        text, tuple(_field(field, bounds) for field, bounds in pairs), zone=zone
    )


def next_time(text: str, now: int) -> int | None:
    """Return the first time after `now` (both Unix ms), in local time; None for none.

    ValueError where the schedule cannot be read.
    """
    found = parse(text).next_after(datetime.fromtimestamp(now // 1000, _Local()))
    return None if found is None else int(found.timestamp()) * 1000


def _zone(text: str) -> tuple[tzinfo | None, str]:
    """Split off a zone; the rest is trimmed only where there is one."""
    if not text.startswith(("TZ=", "CRON_TZ=")):
        return None, text
    head, blank, rest = text.partition(" ")
    name = head.partition("=")[2]
    if not blank:
        raise ValueError(f"a schedule is missing after the time zone: {text}")
    return _zone_of(name), rest.strip(_WHITE)


def _zone_of(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    if name == "Local":
        return _Local()
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(
            f"provided bad location {name}: unknown time zone {name}"
        ) from None


class _Local(tzinfo):
    """The zone of this machine, as it is at the time that is asked for."""

    def fromutc(self, moment: datetime) -> datetime:
        """Return the local time of a time in UTC that bears this zone."""
        second = moment.replace(tzinfo=UTC).timestamp()
        # fromtimestamp() says which of two equal times it is, astimezone() does not.
        return datetime.fromtimestamp(second).replace(tzinfo=self)  # noqa: DTZ006

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return how far local time is ahead of UTC."""
        return moment.replace(tzinfo=None).astimezone().utcoffset() if moment else None

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Return None: only the whole difference is known."""
        return None

    def tzname(self, moment: datetime | None) -> str:
        """Return Go's name for it."""
        return "Local"


def _field(text: str, bounds: _Bounds) -> Field:
    values: set[int] = set()
    star = False
    for item in filter(None, text.split(",")):
        more, is_star = _item(item, bounds)
        values.update(more)
        star = star or is_star
    return Field(frozenset(values), star)


def _item(text: str, bounds: _Bounds) -> tuple[range, bool]:
    span, *steps = text.split("/")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    first, *last = span.split("-")
    star = first in ("*", "?")
    if star:
        least, largest = bounds.least, bounds.largest
    else:
        least, largest = _range(text, first, last, bounds)
    step = _number(steps[0]) if steps else 1
    if steps and not last:
        largest = bounds.largest
    _check(text, least, largest, step, bounds)
    return range(least, largest + 1, step), star and step <= 1


def _range(text: str, first: str, last: list[str], bounds: _Bounds) -> tuple[int, int]:
    least = _named(first, bounds)
    if len(last) > 1:
        raise ValueError(f"too many hyphens: {text}")
    return least, _named(last[0], bounds) if last else least


def _check(text: str, least: int, largest: int, step: int, bounds: _Bounds) -> None:
    where = f"{text} ({bounds.name})"
    if least < bounds.least:
        raise ValueError(
            f"beginning of range ({least}) below minimum ({bounds.least}): {where}"
        )
    if largest > bounds.largest:
        raise ValueError(
            f"end of range ({largest}) above maximum ({bounds.largest}): {where}"
        )
    if least > largest:
        raise ValueError(
            f"beginning of range ({least}) beyond end of range ({largest}): {where}"
        )
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {where}")


def _named(text: str, bounds: _Bounds) -> int:
    name = text.lower()
    return bounds.names.index(name) if name in bounds.names and name else _number(text)


def _number(text: str) -> int:
    said = f'failed to parse int from {text}: strconv.Atoi: parsing "{text}"'
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{said}: invalid syntax")
    if len(text) > 64 or abs(int(text)) > _LARGEST:
        raise ValueError(f"{said}: value out of range")
    if int(text) < 0:
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)


def _delay(spec: str) -> timedelta:
    """Return the delay of `@every`: whole seconds, one at least."""
    text = spec.removeprefix(EVERY)
    try:
        nanoseconds = _duration(text)
    except ValueError as error:
        raise ValueError(f"failed to parse duration {spec}: time: {error}") from None
    return timedelta(seconds=max(nanoseconds // 10**9, 1))


def _duration(text: str) -> int:
    """Return the nanoseconds of Go's time.ParseDuration, e.g. "1h30m", "1.5s", "0"."""
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0
    total = place = 0
    while part := _PART.match(unsigned, place):
        whole, fraction, unit = part[1], part[2] or "", part[3]
        if not whole and fraction in ("", "."):
            break
        digits = fraction[1:]
        parts = int((whole or "0") + digits) * _NANOSECONDS[unit]
        total += parts // 10 ** len(digits)
        place = part.end()
    if not unsigned or place < len(unsigned) or total > _LARGEST:
        raise ValueError(_duration_problem(text, unsigned[place:]))
    return -total if text[:1] == "-" else total


def _duration_problem(text: str, rest: str) -> str:
    if re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", rest):
        return f'missing unit in duration "{text}"'
    if unknown := re.match(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]+)", rest):
        return f'unknown unit "{unknown[1]}" in duration "{text}"'
    return f'invalid duration "{text}"'
