"""Schedules mean what robfig/cron v3 makes of them, in every zone and at every step."""

import json
import os
import random
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gms_hookd.cron import next_time, parse

HOUR = 3_600_000  # ms
ROUNDS = int(os.environ.get("CRON_ROUNDS", "60"))
CASES = os.environ.get("GMS_HOOKD_CRON_CASES", "")
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text, zone=None):
    moment = datetime.fromisoformat(text)
    return moment.astimezone(ZoneInfo(zone)) if zone else moment


def following(spec, begin, zone=None):
    found = parse(spec).next_after(at(begin, zone))
    return found and found.isoformat()


@pytest.mark.parametrize(
    ("spec", "begin", "expected"),
    [
        ("0 2 * * *", "2026-01-01T02:00:00+00:00", "2026-01-02T02:00:00+00:00"),
        ("0 2 * * *", "2026-01-01T01:59:59.9+00:00", "2026-01-01T02:00:00+00:00"),
        ("59 23 31 12 *", "2026-12-31T23:59:00+00:00", "2027-12-31T23:59:00+00:00"),
        ("*/20 9-17/4 * * *", "2026-01-01T13:40:00+00:00", "2026-01-01T17:00:00+00:00"),
        ("10/25 * * * *", "2026-01-01T00:36:00+00:00", "2026-01-01T01:10:00+00:00"),
        ("0 0 * * sAt,Tue", "2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00"),
        ("0 0 31 feb-apr *", "2026-01-01T00:00:00+00:00", "2026-03-31T00:00:00+00:00"),
        ("0 0 20 * 1", "2026-01-01T00:00:00+00:00", "2026-01-05T00:00:00+00:00"),
        ("0 0 20,* * 1", "2026-01-01T00:00:00+00:00", "2026-01-05T00:00:00+00:00"),
        ("0 0 ?/3 * 1", "2026-01-02T00:00:00+00:00", "2026-01-04T00:00:00+00:00"),
        ("0 0 1,,15 * *", "2026-01-01T00:00:00+00:00", "2026-01-15T00:00:00+00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ("0 0 29 2 *", "2097-01-01T00:00:00+00:00", None),
        ("0 0 31 6 *", "2026-01-01T00:00:00+00:00", None),
        (", * * * *", "2026-01-01T00:00:00+00:00", None),
        ("@yearly", "2026-06-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("@midnight", "2026-06-01T00:00:00+00:00", "2026-06-02T00:00:00+00:00"),
        ("@every 1h30m", "2026-01-01T00:00:07.5+00:00", "2026-01-01T01:30:07+00:00"),
        ("@every 0", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"),
        ("TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T01:00:00+01:00",
         "2026-01-02T01:00:00+01:00"),
        ("CRON_TZ= 0 9 * * *", "2026-01-01T10:00:00+01:00",
         "2026-01-02T10:00:00+01:00"),
        ("0 0 1 1 *", "9999-06-01T00:00:00+00:00", None),
    ],
)  # fmt: skip
def test_the_next_time_is_the_first_after_the_given_one(spec, begin, expected):
    assert following(spec, begin) == expected


@pytest.mark.parametrize(
    ("spec", "begin", "zone", "expected"),
    [
        # Spring: 02:00 to 03:00 does not exist on 29 March.
        ("30 2 * * *", "2026-03-28T12:00:00+01:00", BERLIN,
         "2026-03-30T02:30:00+02:00"),
        ("0 * * * *", "2026-03-29T01:00:00+01:00", BERLIN, "2026-03-29T03:00:00+02:00"),
        ("@every 24h", "2026-03-28T12:00:00+01:00", BERLIN,
         "2026-03-29T13:00:00+02:00"),
        # Autumn: 02:00 to 03:00 comes twice on 25 October.
        ("15 2 * * *", "2026-10-25T02:15:00+02:00", BERLIN,
         "2026-10-25T02:15:00+01:00"),
        ("0 1 * * *", "2026-11-01T00:30:00-04:00", NEW_YORK,
         "2026-11-01T01:00:00-04:00"),
        # Clocks that are put forward at midnight, by half an hour, and by a whole day.
        ("0 0 * * *", "2018-11-03T12:00:00-03:00", "America/Sao_Paulo",
         "2018-11-05T00:00:00-02:00"),
        ("15 2 * * *", "2026-10-03T12:00:00+10:30", "Australia/Lord_Howe",
         "2026-10-05T02:15:00+11:00"),
        ("0 0 30 12 *", "2011-12-01T00:00:00-10:00", "Pacific/Apia",
         "2012-12-30T00:00:00+14:00"),
        ("0 0 31 12 *", "2011-12-01T00:00:00-10:00", "Pacific/Apia",
         "2011-12-31T00:00:00+14:00"),
    ],
)  # fmt: skip
def test_a_change_of_the_clock_is_met_as_cron_meets_it(spec, begin, zone, expected):
    assert following(spec, begin, zone) == expected


def test_a_time_without_a_zone_is_local_time(monkeypatch):
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    try:
        begin = datetime(2026, 7, 1, 12)  # noqa: DTZ001 - local time is what is tested
        assert parse("0 2 * * *").next_after(begin) == at("2026-07-02T02:00:00+02:00")
        local = parse("TZ=Local 0 2 * * *").next_after(at("2026-07-01T12:00:00+00:00"))
        assert local == at("2026-07-02T02:00:00+02:00")
        # From one side of a change of the clock to the other; twice at half past two.
        begin = datetime(2026, 10, 24, 12)  # noqa: DTZ001
        first = parse("30 2 * * *").next_after(begin)
        assert first.isoformat() == "2026-10-25T02:30:00+02:00"
        second = parse("30 2 * * *").next_after(first)
        assert second.isoformat() == "2026-10-25T02:30:00+01:00"
        now = int(first.timestamp() * 1000)
        assert next_time("30 2 * * *", now + 500) == now + HOUR
        assert next_time("30 2 * * *", now + HOUR) == now + 25 * HOUR
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("0 0 2 * * *", "expected exactly 5 fields, found 6"),
        ("CRON_TZ=UTC", "a schedule is missing after the time zone"),
        ("TZ=UTC ", "expected exactly 5 fields, found 0: []"),
        ("TZ=Mars/Olympus 0 0 * * *", "provided bad location Mars/Olympus"),
        ("TZ=../etc/passwd 0 0 * * *", "provided bad location"),
        ("TZ=/etc/localtime 0 0 * * *", "provided bad location"),
        ("61 * * * *", "end of range (61) above maximum (59): 61 (minute)"),
        ("* * 0-3 * *", "beginning of range (0) below minimum (1): 0-3 (day of month)"),
        ("* * * * sat-sun", "beginning of range (6) beyond end of range (0)"),
        ("* * * * 7", "end of range (7) above maximum (6): 7 (day of week)"),
        ("*/0 * * * *", "step of range should be a positive number"),
        ("1-2-3 * * * *", "too many hyphens"),
        ("1/2/3 * * * *", "too many slashes"),
        ("1_0 * * * *", "failed to parse int from 1_0"),
        ("*/mon * * * *", "failed to parse int from mon"),
        ("\u0661 * * * *", "failed to parse int from \u0661"),
        (f"{'9' * 5000} * * * *", "value out of range"),
        ("*/-3 * * * *", "negative number (-3) not allowed: -3"),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@every", "unrecognized descriptor: @every"),
        ("@daily ", "unrecognized descriptor"),
        ("@every 1d", 'unknown unit "d" in duration "1d"'),
        ("@every 90", 'missing unit in duration "90"'),
        ("@every ", 'invalid duration ""'),
        ("@every 1h-5m", "invalid duration"),
        ("@every 9999999999h", "invalid duration"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(spec, problem):
    with pytest.raises(ValueError, match=r"\w") as refused:
        parse(spec)
    assert problem in str(refused.value)


def numbers(item, least, largest, names):
    """Read one item of a field, as slowly as one likes."""
    span, _, step = item.partition("/")
    low, _, high = span.partition("-")
    value = {name: i for i, name in enumerate(names)}
    if low in ("*", "?"):
        low, high = least, largest
    else:
        low = value.get(low.lower()) if low.lower() in value else int(low)
        if high:
            high = value.get(high.lower()) if high.lower() in value else int(high)
        else:
            high = largest if step else low
    return set(range(low, high + 1, int(step or 1)))


def oracle(spec, begin, zone, days):
    """Go from minute to minute of real time and ask what the clock shows."""
    texts = spec.split()
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    months = [
        "",
        *[
            "jan",
            "feb",
            "mar",
            "apr",
            "may",
            "jun",
            "jul",
            "aug",
            "sep",
            "oct",
            "nov",
            "dec",
        ],
    ]
    weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    names = [[], [], [], months, weekdays]
    minute, hour, day, month, weekday = (
        set().union(*(numbers(i, *b, n) for i in text.split(",")))
        for text, b, n in zip(texts, bounds, names, strict=True)
    )
    star = [
        any(i[0] in "*?" and i.partition("/")[2] in ("", "1") for i in t.split(","))
        for t in texts
    ]
    moment = begin.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(days * 1440):
        moment += timedelta(minutes=1)
        shown = moment.astimezone(zone)
        in_day, in_week = shown.day in day, shown.isoweekday() % 7 in weekday
        either = in_day and in_week if star[2] or star[4] else in_day or in_week
        time_fits = shown.minute in minute and shown.hour in hour
        if time_fits and shown.month in month and either:
            return moment
    return None


def drawn(chance, least, largest, names=()):
    def one():
        value = chance.randint(least, largest)
        return names[value] if names and chance.random() < 0.3 else str(value)

    def span():
        low = chance.randint(least, largest)
        return f"{low}-{chance.randint(low, largest)}"

    item = chance.choice([lambda: "*", lambda: "?", one, one, span])
    items = [item() for _ in range(chance.choice([1, 1, 1, 2]))]
    step = chance.choice(["", "", f"/{chance.randint(1, 7)}"])
    return ",".join(items) + step


ZONES = (
    "UTC",
    BERLIN,
    NEW_YORK,
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
)


def test_a_slow_oracle_agrees_on_what_is_drawn_by_chance():
    chance = random.Random(int(os.environ.get("CRON_SEED", "7")))
    weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    for _ in range(ROUNDS):
        zone = ZoneInfo(chance.choice(ZONES))
        begin = datetime.fromtimestamp(chance.randint(1577836800, 1893456000), zone)
        fields = [drawn(chance, 0, 59), drawn(chance, 0, 23), drawn(chance, 1, 31)]
        spec = " ".join([*fields, drawn(chance, 1, 12), drawn(chance, 0, 6, weekdays)])
        expected = oracle(spec, begin, zone, days=2)
        found = parse(spec).next_after(begin)
        horizon = begin.astimezone(UTC) + timedelta(days=2)
        if expected is None:
            assert found is None or found.astimezone(UTC) > horizon - timedelta(
                minutes=1
            )
        else:
            assert found.astimezone(UTC) == expected, (spec, begin)


@pytest.mark.skipif(not CASES, reason="GMS_HOOKD_CRON_CASES names no file")
def test_the_recorded_cases_agree():
    recorded = json.loads(Path(CASES).read_text())
    for case in recorded["next"]:
        begin = at(case["from"], case["from_tz"])
        found = parse(case["spec"]).next_after(begin)
        expected = case["next"] and at(case["next"])
        assert (found and found.timestamp()) == (expected and expected.timestamp()), (
            case
        )
    for case in recorded["parse_errors"]:
        with pytest.raises(ValueError, match=r"\w"):
            parse(case["spec"])


def test_the_result_is_in_the_zone_of_the_question():
    begin = at("2026-01-01T00:00:00+05:30")
    found = parse("CRON_TZ=UTC 0 0 * * *").next_after(begin)
    assert found.tzinfo == timezone(timedelta(hours=5, minutes=30))
