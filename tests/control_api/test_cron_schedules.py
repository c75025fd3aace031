"""Schedules: what Kubernetes takes and refuses, and when they are due, also across changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.cron import parse_schedule

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DUE = [
    ("* * * * *", "2026-01-02T03:05:00+00:00"),
    ("*/15 * * * *", "2026-01-02T03:15:00+00:00"),
    ("30 2 * * MON-FRI", "2026-01-05T02:30:00+00:00"),
    ("0 0 1,15 * 3", "2026-01-07T00:00:00+00:00"),
    ("0 12 ? * sun", "2026-01-04T12:00:00+00:00"),
    ("0 0 29 FEB *", "2028-02-29T00:00:00+00:00"),
    ("@hourly", "2026-01-02T04:00:00+00:00"),
    ("@yearly", "2027-01-01T00:00:00+00:00"),
    ("@every 1h30m", "2026-01-02T04:34:05+00:00"),
]


@pytest.mark.parametrize(("text", "wanted"), DUE)
def test_due(text: str, wanted: str) -> None:
    found = parse_schedule(text).after(START)
    assert found is not None
    assert found.isoformat() == wanted


REFUSED = [
    "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "x * * * *", "* * * * MON-XYZ", "JAN * * * *", "@never",
    "@every 0s", "@every x", "H * * * *", "R * * * *", "* * L * *", "* * * * 5#2", "*/0 * * * *", "5-1 * * * *x",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_refused_in_the_words_of_kubernetes(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_schedule(text)
    assert str(refused.value) == words


def test_clocks_of_a_zone() -> None:
    nightly = parse_schedule("30 2 * * *")
    found = nightly.after(datetime(2026, 7, 1, 12, tzinfo=UTC), "Europe/Berlin")
    assert found is not None
    assert found.astimezone(UTC) == datetime(2026, 7, 2, 0, 30, tzinfo=UTC)


def _due(text: str, zone: str, start: datetime, count: int) -> list[str]:
    """The next times, as the clocks of the zone show them."""
    found, moment = [], start
    for _ in range(count):
        later = parse_schedule(text).after(moment, zone)
        assert later is not None
        moment = later
        found.append(moment.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("text", "zone", "start", "wanted"),
    [
        ("30 2 * * *", "America/New_York", "2025-03-08T12:00Z", ["2025-03-10T02:30-04:00", "2025-03-11T02:30-04:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-30T02:30+02:00"]),
        ("5 2 * * 0", "Australia/Lord_Howe", "2025-10-04T12:00Z", ["2025-10-12T02:05+11:00"]),
        ("0 0 * * *", "America/Havana", "2025-03-08T12:00Z", ["2025-03-10T00:00-04:00"]),
        ("0 */2 * * *", "America/Santiago", "2025-09-07T03:30Z", ["2025-09-07T02:00-03:00"]),
        ("30 * * * *", "America/New_York", "2025-03-09T06:00Z", ["2025-03-09T01:30-05:00", "2025-03-09T03:30-04:00"]),
        ("*/30 2-3 * * *", "America/New_York", "2025-03-09T06:00Z", ["2025-03-09T03:00-04:00"]),
    ],
)
def test_a_time_that_the_clocks_leap_over_is_no_time(text: str, zone: str, start: str, wanted: list[str]) -> None:
    assert _due(text, zone, datetime.fromisoformat(start), len(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30 1 * * *", ["2025-11-02T01:30-04:00", "2025-11-02T01:30-05:00", "2025-11-03T01:30-05:00"]),
        ("30 2 * * *", ["2025-11-02T02:30-05:00", "2025-11-03T02:30-05:00"]),
        ("0 * * * *", ["2025-11-02T01:00-04:00", "2025-11-02T01:00-05:00", "2025-11-02T02:00-05:00"]),
    ],
)
def test_a_time_that_comes_twice_is_due_twice(text: str, wanted: list[str]) -> None:
    start = datetime(2025, 11, 2, 4, 30, tzinfo=UTC)
    assert _due(text, "America/New_York", start, len(wanted)) == wanted


_SHIFTS = [
    ("America/New_York", "2025-03-09T07:00Z"), ("America/New_York", "2025-11-02T06:00Z"),
    ("Australia/Lord_Howe", "2025-10-04T15:30Z"), ("Australia/Lord_Howe", "2025-04-05T15:00Z"),
    ("America/Havana", "2025-03-09T05:00Z"), ("Africa/Cairo", "2025-10-30T21:00Z"),
    ("Asia/Kolkata", "2025-06-01T00:00Z"),
]  # fmt: skip
_HOURS = ["*", "0", "1", "2", "3", "1-3", "*/2"]


@given(
    shift=st.sampled_from(_SHIFTS),
    minute=st.sampled_from(["0", "5", "30", "*/15", "*/7", "45"]),
    hour=st.sampled_from(_HOURS),
    before=st.integers(-6 * 3600, 26 * 3600),
)
def test_due_is_the_first_minute_whose_clock_fits(shift: tuple[str, str], minute: str, hour: str, before: int) -> None:
    zone = ZoneInfo(shift[0])
    start = datetime.fromisoformat(shift[1]) - timedelta(seconds=before)
    minutes, hours = _numbers(minute, 60), _numbers(hour, 24)
    wanted = start.replace(second=0)
    while True:
        wanted += timedelta(minutes=1)
        clock = wanted.astimezone(zone)
        if clock.minute in minutes and clock.hour in hours:
            break
    found = parse_schedule(f"{minute} {hour} * * *").after(start, shift[0])
    assert found is not None
    assert found.astimezone(UTC) == wanted


def _numbers(field: str, end: int) -> set[int]:
    if field.startswith("*"):
        return set(range(0, end, int(field[2:] or 1)))
    first, _, last = field.partition("-")
    return set(range(int(first), int(last or first) + 1))


def test_a_day_that_never_comes() -> None:
    assert parse_schedule("0 0 31 2 *").after(START) is None
