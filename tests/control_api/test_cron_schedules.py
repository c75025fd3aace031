"""Schedules: what Kubernetes takes and refuses, and when they are due, also across changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

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
    spring = nightly.after(datetime(2026, 3, 28, 12, tzinfo=UTC), "Europe/Berlin")
    assert spring is not None
    assert (
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC) <= spring.astimezone(UTC) <= datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    )


def test_a_day_that_never_comes() -> None:
    assert parse_schedule("0 0 31 2 *").after(START) is None
