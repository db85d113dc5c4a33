"""`till cron next` against another implementation: Python's zoneinfo for the zones, and a walk over
every minute for the rules. Nothing here knows how Till finds its times."""

import json
import os
import random
import zoneinfo
from datetime import datetime, timedelta, timezone

import pytest

from harness import programs

UTC = timezone.utc
YEAR = int(os.environ.get("CRON_YEAR", "2025"))
BEGIN, END = datetime(YEAR, 1, 1, tzinfo=UTC), datetime(YEAR + 1, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
THREE_HOURS = timedelta(hours=3)


def next_times(expression, zone="UTC", after=BEGIN, count=1, code=0):
    done = programs.run(
        "till", {}, "cron", "next", expression, "--tz", zone, "--from", after.isoformat(), "--count", count
    )
    assert done.returncode == code, done.stderr
    return done.stdout.split()


def offset_changes(zone, begin, end):
    """[(instant, offset before, offset after)], found by looking and halving."""
    offset = lambda at: at.astimezone(zone).utcoffset()
    found = []
    at = begin
    while at < end:
        low, high = at, at + timedelta(hours=12)
        if offset(low) != offset(high):
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if offset(middle) == offset(at) else (low, middle)
            found.append((high, offset(low), offset(high)))
        at += timedelta(hours=12)
    return found


@pytest.fixture(scope="module")
def changes():
    """{zone: its changes of the year} for all zones."""
    names = sorted(zoneinfo.available_timezones() - {"localtime"})
    return {name: offset_changes(zoneinfo.ZoneInfo(name), BEGIN, END) for name in names}


# ---- the rules, as slowly and plainly as can be ----


class Rule:
    """An expression of minutes and hours alone."""

    def __init__(self, text):
        self.text = text
        minute, hour = text.split()[:2]
        self.wild = minute[0] == "*" or hour[0] == "*"
        self.minutes, self.hours = values(minute, 60), values(hour, 24)

    def matches(self, local):
        return local.second == 0 and local.minute in self.minutes and local.hour in self.hours


def values(field, size):
    found = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        low, _, high = ("0", "", str(size - 1)) if span == "*" else span.partition("-")
        found |= set(range(int(low), int(high or low) + 1, int(step or 1)))
    return found


def walk(rule, zone, begin, end):
    """Every instant of [begin, end) at which the rule comes, by looking at every minute."""
    found = []
    shown = {}  # local time: when it was first seen
    at = begin - timedelta(hours=6)
    before = at.astimezone(zone).utcoffset()
    while at < end:
        local = at.astimezone(zone).replace(tzinfo=None)
        offset = at.astimezone(zone).utcoffset()
        hit = rule.matches(local)
        if not rule.wild and hit and local in shown and before_change(shown[local], at, zone):
            hit = False
        if not rule.wild and timedelta(0) < offset - before <= THREE_HOURS:
            skipped = at.astimezone(UTC).replace(tzinfo=None) + before
            hit = hit or any(
                rule.matches(skipped + i * MINUTE) for i in range((offset - before) // MINUTE)
            )
        shown.setdefault(local, at)
        before = offset
        if hit and at >= begin:
            found.append(at)
        at += MINUTE
    return found


def before_change(first, at, zone):
    """Whether the same local time came before by a change of at most three hours."""
    return first.astimezone(zone).utcoffset() - at.astimezone(zone).utcoffset() <= THREE_HOURS


def compare(text, name, begin, end):
    zone = zoneinfo.ZoneInfo(name)
    wanted = [at.astimezone(zone).isoformat() for at in walk(Rule(text), zone, begin, end)]
    found = next_times(text, name, begin - timedelta(seconds=1), len(wanted) + 1)
    assert found[:-1] == wanted, (text, name, begin)
    assert datetime.fromisoformat(found[-1]) >= end


def test_every_zone_of_the_system_has_the_offsets_of_another_implementation(changes):
    """Each day of the year, of some 600 zones."""
    wrong = []
    for name in changes:
        zone = zoneinfo.ZoneInfo(name)
        days = next_times("@every 24h", name, BEGIN, 366)
        wanted = [(BEGIN + timedelta(days=i + 1)).astimezone(zone).isoformat() for i in range(366)]
        if days != wanted:
            wrong.append((name, [pair for pair in zip(days, wanted) if pair[0] != pair[1]][:2]))
    assert len(changes) > 400
    assert not wrong


def test_all_zones_change_their_clocks_as_another_implementation_says(changes):
    """The hours around each change of the year: what falls in a gap, what is repeated."""
    met = set()
    for name, list_of_changes in changes.items():
        for at, before, after in list_of_changes:
            kind = (at.astimezone(zoneinfo.ZoneInfo(name)).isoformat(), before, after)
            # Zones that differ in name alone are walked once by each kind of rule.
            texts = ("30 2 * * *", "*/30 * * * *") if kind in met else (
                "0 0-23 * * *",
                "15,45 0-3,22,23 * * *",
                "0 * * * *",
                "*/20 0-4 * * *",
            )
            met.add(kind)
            for text in texts:
                compare(text, name, at - timedelta(hours=4), at + timedelta(hours=5))
    assert len(met) >= 20


@pytest.mark.parametrize(
    "name, day",
    [
        ("America/New_York", "2024-03-10"),
        ("America/New_York", "2024-11-03"),
        ("Australia/Lord_Howe", "2024-04-06"),
        ("Australia/Lord_Howe", "2024-10-05"),
        ("Antarctica/Troll", "2024-03-31"),
        ("Antarctica/Troll", "2024-10-27"),
        ("Pacific/Chatham", "2024-04-06"),
        ("America/Havana", "2024-03-10"),
        ("America/Havana", "2024-11-03"),
        ("Asia/Beirut", "2024-10-26"),
        ("America/Santiago", "2024-04-07"),
        ("Africa/Cairo", "2024-10-31"),
        ("America/Sao_Paulo", "2018-02-17"),
        ("America/Caracas", "2007-12-09"),
        ("America/Caracas", "2016-05-01"),
        ("Africa/Casablanca", "2025-02-23"),
        ("Europe/Dublin", "2024-10-27"),
        ("Pacific/Apia", "2011-12-30"),
        ("Asia/Pyongyang", "2018-05-04"),
        ("America/Nuuk", "2023-03-26"),
    ],
)
def test_random_expressions_around_a_change_of_the_clock(name, day):
    seed = int(os.environ.get("CRON_SEED", "20261121"))
    chance = random.Random(f"{seed} {name} {day}")
    begin = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(hours=14)
    for _ in range(12):
        text = f"{random_field(chance, 60)} {random_field(chance, 24)} * * *"
        print(text, name, seed)
        compare(text, name, begin, begin + timedelta(hours=44))


def random_field(chance, size):
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(["*", "*/2", "*/7", f"*/{size // 4}"])
    items = []
    for _ in range(chance.randint(1, 3)):
        low = chance.randrange(size)
        high = chance.randrange(low, size)
        step = f"/{chance.randint(1, 9)}" if chance.random() < 0.3 else ""
        items.append(chance.choice([str(low), f"{low}-{high}{step}"]))
    return ",".join(items)


# ---- the verb ----


def test_a_bad_word_ends_with_2_and_names_field_and_reason():
    for arguments, field, reason in (
        (("61 * * * *",), "minute", "0 to 59"),
        (("* * * *",), "expression", "4 fields"),
        (("",), "expression", "empty"),
        (("5/15 * * * *",), "minute", "write 5-59/15"),
        (("0 0 * * *", "--tz", "Europe/Atlantis"), "time zone", "no such zone"),
        (("0 0 * * *", "--tz", "../../../etc/passwd"), "time zone", "no zone"),
        (("0 0 * * *", "--tz", ""), "time zone", "no zone"),
        (("0 0 * * *", "--from", "yesterday"), "from", "RFC 3339"),
        (("0 0 * * *", "--from", "2024-02-30T00:00:00Z"), "from", "RFC 3339"),
        (("0 0 * * *", "--count", "0"), "count", "from 1"),
        (("0 0 * * *", "--count", "many"), "count", "from 1"),
    ):
        done = programs.run("till", {}, "cron", "next", *arguments)
        assert done.returncode == 2, arguments
        assert field in done.stderr and reason in done.stderr, done.stderr
        assert done.stdout == ""
    assert programs.run("till", {}, "cron", "next").returncode == 2
    assert programs.run("till", {}, "cron", "next", "*", "*", "*", "*", "*").returncode == 2


def test_a_date_that_never_comes_ends_with_3():
    assert next_times("0 0 30 2 *", code=3) == []
    assert next_times("0 0 31 4,6,9,11 *", code=3) == []
    assert next_times("*/30 2 8-14 3 */7", "America/New_York", code=3) == []
    assert len(next_times("0 0 29 2 */7", count=20)) == 20


def test_times_are_in_the_zone_and_later_than_from():
    assert next_times("0 12 * * *", "Asia/Kolkata", datetime(2026, 1, 1, tzinfo=UTC)) == [
        "2026-01-01T12:00:00+05:30"
    ]
    after = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert next_times("0 12 * * *", "UTC", after) == ["2026-01-02T12:00:00+00:00"]
    assert next_times("0 12 * * *", "UTC", after - timedelta(microseconds=1)) == [
        "2026-01-01T12:00:00+00:00"
    ]


def test_the_zone_of_the_host_does_not_matter():
    settings = {"TZ": "America/New_York"}
    done = programs.run("till", settings, "cron", "next", "0 12 * * *", "--from", BEGIN.isoformat())
    assert done.stdout == f"{YEAR}-01-01T12:00:00+00:00\n"


def test_json_tells_why_a_day_matched_and_what_the_clock_did():
    def lines(*arguments):
        done = programs.run("till", {}, "cron", "next", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    found, notes = lines("0 0 13 * 5", "--from", "2026-11-10T00:00:00Z", "--count", "2")
    assert [(x["time"], x["day"]) for x in found] == [
        ("2026-11-13T00:00:00+00:00", "both"),
        ("2026-11-20T00:00:00+00:00", "day_of_week"),
    ]
    assert "one of them is enough" in notes
    found, notes = lines("30 2 * * *", "--tz", "Europe/Berlin", "--from", "2024-03-30T12:00:00Z")
    assert found == [
        {
            "time": "2024-03-31T03:00:00+02:00",
            "zone": "Europe/Berlin",
            "day": "every",
            "change": "after_gap",
        }
    ]
    assert "forward at 2024-03-31T03:00:00+02:00" in notes and "back at 2024-10-27" in notes
